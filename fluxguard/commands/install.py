"""Puts the hooks into a repository, or into all that will be made."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator

from fluxguard import ci, display
from fluxguard.commands import recipes
from fluxguard.errors import ExitCode, FluxguardError, UsageError
from fluxguard.guard import managers, place, plan, script, template
from fluxguard.guard.managers import Manager
from fluxguard.guard.place import Place
from fluxguard.guard.plan import Step
from fluxguard.repo import gitdir, seen
from fluxguard.repo.plain import small_file
from fluxguard.reports import text
from fluxguard.reports.text import Line

HELP = "put the git hooks into a repository"
_DONE = {
    plan.WRITE: "written",
    plan.UPDATE: "brought up to date",
    plan.KEEP: "written; the hook that was there is run first",
    plan.NONE: "there already",
}
_TO_DO = {**_DONE, plan.WRITE: "would be written", plan.UPDATE: "would be brought up to date",
          plan.KEEP: "would be written; the hook that is there would be run first"}  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard install` takes."""
    parser.add_argument(
        "repo", metavar="REPO", nargs="?", default=".", help="the repository (default: the one around here)"
    )
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--global", dest="everywhere", action="store_true",
                        help="into git's template directory, for all repositories that will be made or cloned")  # fmt: skip
    parser.add_argument(
        "--server", action="store_true", help="pre-receive, into a repository that others push to"
    )
    parser.add_argument("--shared", action="store_true",
                        help="also where core.hooksPath leads to a folder that is not this repository's alone")  # fmt: skip
    parser.add_argument("--chain", action="store_true",
                        help="also where husky, lefthook or the pre-commit framework manage the hooks")  # fmt: skip
    parser.add_argument("--reference-transaction", action="store_true",
                        help="also the hook that sees every change of a ref, --no-verify or not; see docs/hooks.md")  # fmt: skip
    parser.add_argument(
        "--ci", choices=ci.SYSTEMS, help="write the recipe for a CI system instead; see docs/ci.md"
    )


def run(args: argparse.Namespace) -> int:
    """Plans, does, checks."""
    if args.everywhere:
        return _into_template(args)
    where = place.of(args.repo)
    if args.ci:
        return recipes.put(args.ci, _top(args.repo), args.plan)
    if _is_shipped(where):
        text.write_lines(
            [("green", "core.hooksPath leads to fluxguard's own scripts: there is nothing to install.")],
            sys.stdout,
        )
        return ExitCode.CLEAN
    kinds = _kinds(args, where)
    manager = None if args.chain or args.server else managers.found(where)
    if manager is not None:
        kinds = _left(kinds, manager)
    refuse_foreign_folder(where, args.shared)
    steps = plan.to_install(where.folder, kinds, recorded())
    lines = list(_whose(where)) if kinds else []
    if not args.plan:
        _apply(steps)
        if any(kind in script.NOTES for kind in kinds):
            seen.begin(where.common, seen.tips(where.common))
    lines += _told(steps, args.plan)
    lines += _managed(manager) if manager else _next(where, args)
    text.write_lines(lines, sys.stdout)
    return ExitCode.FOUND if manager is not None and manager.lacks else ExitCode.CLEAN


def _is_shipped(where: Place) -> bool:
    """Whether core.hooksPath leads to fluxguard's own scripts, of this installation or in a checkout beside it."""
    shipped = script.shipped()
    if os.path.realpath(where.folder) == os.path.realpath(shipped):
        return True
    return bool(where.configured) and all(
        small_file(os.path.join(where.folder, name), managers.LARGEST)
        == small_file(os.path.join(shipped, name), managers.LARGEST)
        for name in os.listdir(shipped)
    )


def _top(repo: str) -> str:
    """The top of the working tree. Raises UsageError where there is none."""
    located = gitdir.locate(repo)
    if not located.tree:
        raise UsageError(
            "This repository is bare: a recipe is a file in a working tree.", "Run it in a clone."
        )
    return located.tree


def _kinds(args: argparse.Namespace, where: Place) -> tuple[str, ...]:
    if args.server:
        return script.SERVER
    if where.bare:
        raise UsageError(
            "This repository is bare: nobody commits in it.", "A server's hook: fluxguard install --server"
        )
    return (*script.LOOKS, *script.NOTES, *(script.REFS if args.reference_transaction else ()))


def _left(kinds: tuple[str, ...], manager: Manager) -> tuple[str, ...]:
    """The hooks that a manager knows nothing of. Notes are made for our own hooks only."""
    return tuple(kind for kind in kinds if kind not in manager.kinds and kind not in script.NOTES)


def refuse_foreign_folder(where: Place, allowed: bool) -> None:
    """Raises UsageError for a folder that is not this repository's alone, unless that is `allowed`."""
    if allowed or where.whose not in (place.OUTSIDE, place.SHARED):
        return
    alone = "git config core.hooksPath .git/hooks && fluxguard install"
    if where.whose == place.SHARED:
        raise UsageError(
            f"core.hooksPath is set for all repositories ({where.scope}): hooks in {where.folder} run in every one of them.",
            f"That is what you want? fluxguard install --shared. For this repository alone: {alone}",
        )
    raise UsageError(
        f"The hooks of this repository lie outside of it, in {os.path.realpath(where.folder)}: it says so itself.",
        f"Do you know that folder? fluxguard install --shared. Otherwise: {alone}",
    )


def recorded() -> str:
    """Where this fluxguard is, for a hook to find it there."""
    called = os.path.abspath(sys.argv[0])
    beside = os.path.join(os.path.dirname(sys.executable), "fluxguard")
    for path in (called, beside, shutil.which("fluxguard") or ""):
        if os.path.basename(path) == "fluxguard" and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise UsageError(
        "There is no command `fluxguard` that a hook could call.",
        "Install it so that there is: pipx install fluxguard",
    )


def _apply(steps: list[Step]) -> None:
    for step in steps:
        try:
            plan.do(step)
        except OSError as error:
            raise FluxguardError(
                f"{step.path} could not be written: {error.strerror}.",
                "Mend that, and run it again: it goes on from here.",
            ) from None
    for step in steps:
        if not plan.holds(step):
            raise FluxguardError(
                f"{step.path} is not what was just written to it.",
                "Does anything else write there? Run it again.",
            )


# --- words -----------------------------------------------------------------------------------------------------------


def _whose(where: Place) -> Iterator[Line]:
    folder = display.safe(where.folder)
    if where.whose == place.TREE:
        yield text.ORANGE, f"core.hooksPath says that the hooks lie in the working tree, in {folder}."
        yield text.ORANGE, "They are files like others there: commit them, or keep them out of your commits."
    elif where.whose == place.SHARED:
        yield text.ORANGE, f"The hooks in {folder} run in all repositories."
    elif where.whose == place.OUTSIDE:
        yield (
            text.ORANGE,
            f"The hooks lie outside of the repository, in {display.safe(os.path.realpath(where.folder))}.",
        )
    else:
        yield "", f"Hooks in {folder}"


def _told(steps: list[Step], planned: bool) -> Iterator[Line]:
    for step in steps:
        yield "", f"  {step.kind:22} {(_TO_DO if planned else _DONE)[step.how]}"
        if step.how == plan.KEEP:
            yield "dim", f"  {'':22} kept as {os.path.basename(step.kept)}"


def _next(where: Place, args: argparse.Namespace) -> Iterator[Line]:
    if args.plan:
        return
    yield "", ""
    if args.server:
        yield "", "From now on, a push that brings a key is refused. How long a look may take (4 seconds):"
        yield "bold", f"  git -C {display.safe(where.common)} config fluxguard.timeout SECONDS"
        return
    yield "", "What was committed before is not looked at by hooks. To look at it:"
    yield "bold", "  fluxguard audit"
    yield "", "To take the hooks out again:"
    yield "bold", "  fluxguard uninstall"


def _managed(manager: Manager) -> Iterator[Line]:
    if not manager.lacks:
        yield (
            "green",
            f"{manager.name} runs the hooks here, and calls fluxguard in all that it can ({manager.file}).",
        )
    else:
        yield (
            f"bold {text.ORANGE}",
            f"{manager.name} manages the hooks of this repository, so fluxguard leaves them alone.",
        )
        yield (
            "",
            f"Not yet called in: {', '.join(manager.lacks)}. "
            + ("Run:" if manager.name == "husky" else f"Add to {manager.file}:"),
        )
        yield "", ""
        for line in manager.to_add:
            yield "bold", line if manager.name != "husky" else f"  {line}"
    if manager.lacks and manager.then:
        yield "", ""
        yield "", "Then:"
    for line in manager.then if manager.lacks else ():
        yield "bold", f"  {line}"
    if manager.name == "the pre-commit framework":
        yield "", ""
        for line in text.wrapped(
            "The framework hands over one ref of a push, so a second branch or a tag in the same push is not looked at. "
            "A hook of fluxguard's own in front of the framework's looks at all of them: fluxguard install --chain",
            "",
        ):
            yield "", line


# --- for all repositories to come -------------------------------------------------------------------------------------


def _into_template(args: argparse.Namespace) -> int:
    found = template.find()
    kinds = (*script.LOOKS, *script.NOTES)
    lines: list[Line] = [
        ("", f"Template directory: {display.safe(found.folder)}" + ("" if found.ours else " (yours)"))
    ]
    if not args.plan:
        try:
            template.prepare(found)
        except OSError as error:
            raise FluxguardError(
                f"{found.folder} could not be made: {error.strerror}.", "Mend that, and run it again."
            ) from None
    steps = plan.to_install(found.hooks, kinds, recorded())
    if not args.plan:
        _apply(steps)
        template.configure(found)
    lines += _told(steps, args.plan)
    if not args.plan:
        lines += [
            ("", ""),
            (
                "",
                "git init and git clone put them into every repository from now on. In one that exists already:",
            ),
            ("bold", "  fluxguard install"),
        ]
    text.write_lines(lines, sys.stdout)
    return ExitCode.CLEAN
