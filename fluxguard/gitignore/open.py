"""What one working tree leaves open, and nothing else: of the whole in `check` the part that an audit tells as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fluxguard.errors import GitError
from fluxguard.gitignore.survey import Gap, survey
from fluxguard.model import Uncovered
from fluxguard.repo import holdings, plain
from fluxguard.repo.gitdir import GitDir
from fluxguard.secretpaths import listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.config import Config


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look. tree: the working tree; None for a bare repository. isolated: forget what a surrounding hook is bound to."""

    git: GitDir
    tree: str | None
    isolated: bool = True


def gaps(place: Place, config: Config | None) -> tuple[Uncovered, ...]:
    """What is uncovered in one working tree (or at HEAD of a bare repository), and nothing else. Raises GitError.

    config: None where nothing is configured.
    """
    known = listed(config.secret_paths, config.no_secrets) if config is not None else listed()
    return tuple(grouped(survey(held_by(place), known, config).gaps))


def held_by(place: Place) -> holdings.Holdings:
    """What there is. Raises GitError where git would read a pipe or a device in place of a file of its own, for ever."""
    odd = plain.obstacles(place.git.path, place.git.common)
    if odd:
        name, wrong = odd[0]
        raise GitError(
            f"git can't be asked here, for the file {name} of git's: {wrong}.",
            "Mend that file of git's, and try again.",
        )
    if place.tree is None:
        return holdings.of_bare(place.git.common)
    return holdings.of_tree(place.tree, place.isolated)


def grouped(found: Iterable[Gap]) -> Iterator[Uncovered]:
    """Gaps that differ in their path alone, together. Of an expected one that is open everywhere, only the topmost place."""
    gaps = [*found]
    at_top = {
        gap.path
        for gap in gaps
        if gap.kind == "expected" and gap.reopened is None and gap.path in gap.entry.examples
    }
    groups: dict[object, list[Gap]] = {}
    for gap in gaps:
        if (
            gap.kind == "expected"
            and gap.reopened is None
            and gap.path not in at_top
            and _repeats(gap, at_top)
        ):
            continue
        key = (gap.kind, gap.level, gap.entry.id, gap.reopened, gap.open, gap.personal, gap.accepted)
        groups.setdefault(key, []).append(gap)
    for group in groups.values():
        gap = group[0]
        decider = gap.reopened
        yield Uncovered(
            gap.kind,
            gap.level,
            gap.entry.id,
            gap.entry.reason,
            tuple(gap.path for gap in group),
            (decider.file, decider.line, decider.pattern) if decider else None,
            not gap.open,
            gap.personal,
            gap.accepted,
        )


def _repeats(gap: Gap, at_top: set[bytes]) -> bool:
    return any(gap.path.endswith(b"/" + example) for example in gap.entry.examples if example in at_top)
