"""A command by itself: no variable ties it to another repository, and no child of it gets a key by the environment."""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
from collections.abc import Callable

from fluxguard.model import Secret

_KEY = re.compile(r"flux_[a-z]{2,8}_[0-9A-Za-z]{16}")  # under whatever name
Action = Callable[[argparse.Namespace], int]


def alone(run: Action) -> Action:
    """The action, with `args.environment` as the person gave it, and os.environ, which children get, without what they are not to have."""

    @functools.wraps(run)
    def by_itself(args: argparse.Namespace) -> int:
        from fluxguard.platform.credentials import NAMES
        from fluxguard.repo.run import LOCAL

        args.environment = dict(os.environ)
        bound = [name for name in LOCAL if os.environ.pop(name, None) is not None]
        if hasattr(args, "repo") and {"GIT_DIR", "GIT_WORK_TREE"} & set(bound):
            print(
                "fluxguard: the repository is that of --repo or of this folder; GIT_DIR and its like are not followed.",
                file=sys.stderr,
            )
        for name, value in args.environment.items():
            if name in NAMES or _KEY.search(value):
                os.environ.pop(name, None)
        return run(args)

    return by_itself


def keep_back(*secrets: Secret | None) -> None:
    """Takes every variable that holds one of these keys out of what children get, whatever it is called."""
    keys = [one.reveal() for one in secrets if one is not None]
    for name, value in list(os.environ.items()):
        if any(key in os.fsencode(value) for key in keys):
            del os.environ[name]
