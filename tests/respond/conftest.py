"""A real platform for all stories, and a leak for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Mint

from tests.respond.story import Story, user
from tests.server.real import Server


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real server, set up and started."""
    made = Server(tmp_path_factory.mktemp("platform"))
    made.init()
    made.raise_limits()
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture
def untold(platform: Server, tmp_path: Path, mint: Mint, environment: dict[str, str]) -> Story:
    """A story that has not begun: there is no key yet."""
    mint.keys.append(platform.key)
    return Story(tmp_path, platform, mint, user(tmp_path, platform, environment))


@pytest.fixture
def story(untold: Story) -> Story:
    """A development key that was pushed."""
    untold.create()
    untold.leak()
    return untold


@pytest.fixture
def leaked(untold: Story) -> Callable[..., Story]:
    """A key of another kind that was pushed."""

    def leak(environment: str = "dev", *options: str, **more: str) -> Story:
        untold.create(environment, **more)
        untold.leak(*options)
        return untold

    return leak
