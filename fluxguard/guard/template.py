"""The template directory, from which `git init` and `git clone` take the hooks of every repository to come."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from fluxguard.errors import UsageError
from fluxguard.repo import run

_NAME = "init.templateDir"


@dataclass(frozen=True, slots=True)
class Template:
    """folder: the template directory. ours: it is the one that fluxguard makes. configured: git knows of it."""

    folder: str
    ours: bool
    configured: bool

    @property
    def hooks(self) -> str:
        """Where its hooks lie."""
        return os.path.join(self.folder, "hooks")


def find() -> Template:
    """The one that git is configured to use, else the one that fluxguard would make."""
    raw = run.try_output("config", "--global", "--path", "-z", "--get", _NAME) or b""
    configured = os.fsdecode(raw.rstrip(b"\0"))
    own = _own()
    if configured:
        return Template(configured, os.path.realpath(configured) == os.path.realpath(own), True)
    return Template(own, True, False)


def _own() -> str:
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(base, "fluxguard", "template")


def prepare(template: Template) -> None:
    """Makes our own template directory, with what git's own has in it, for that is not used any more.

    Raises UsageError where git could not be told of it.
    """
    _must_be_a_file()
    if not template.ours or os.path.isdir(template.folder):
        return
    begun = f"{template.folder}.new"
    shutil.rmtree(begun, ignore_errors=True)
    source = _of_git()
    if source:
        shutil.copytree(source, begun, symlinks=True)
    os.makedirs(os.path.join(begun, "hooks"), exist_ok=True)
    os.rename(begun, template.folder)


def _of_git() -> str:
    """git's own template directory, "" where it is not where it usually is."""
    told = os.fsdecode((run.try_output("--exec-path") or b"").strip())
    for above in (os.path.join(told, "..", ".."), "/usr"):
        folder = os.path.realpath(os.path.join(above, "share", "git-core", "templates"))
        if told and os.path.isdir(folder):
            return folder
    return ""


def configure(template: Template) -> None:
    """Tells git of it."""
    if not template.configured:
        run.output("config", "--global", _NAME, template.folder)


def forget(template: Template) -> None:
    """Takes our own template directory away, and tells git. Raises UsageError where that can't be done."""
    if template.ours:
        if template.configured:
            _must_be_a_file()
            run.output("config", "--global", "--unset-all", _NAME)
        shutil.rmtree(template.folder, ignore_errors=True)


def _must_be_a_file() -> None:
    """git puts a new file in the place of the one that it changes: with a device such as /dev/null root must not let it."""
    name = os.environ.get("GIT_CONFIG_GLOBAL")
    if name is not None and (not name or (os.path.exists(name) and not os.path.isfile(name))):
        raise UsageError(
            "GIT_CONFIG_GLOBAL names no file in which git could keep a setting of yours.",
            "Leave it out for this command: env -u GIT_CONFIG_GLOBAL fluxguard ...",
        )
