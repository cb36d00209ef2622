"""The text of a hook that `fluxguard install` writes, and how it is known again.

A hook says of itself what it is, and holds a digest of its own text: so whatever was changed in it since is not ours to
delete. It looks for fluxguard where it was when the hook was written, then on PATH, then as a module of python3; where
there is none, it refuses.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex

LOOKS = ("pre-commit", "pre-merge-commit", "pre-applypatch", "commit-msg", "pre-push")
NOTES = ("post-commit", "post-merge", "post-applypatch")  # note down what the ones above have seen
SERVER = ("pre-receive",)
REFS = ("reference-transaction",)
ALL = (*LOOKS, *NOTES, *SERVER, *REFS)
KEPT = ".before-fluxguard"  # behind the name of a hook that was there before
_READS_INPUT = ("pre-push", "pre-receive", "reference-transaction")
_HEAD = re.compile(
    rb"#!/bin/sh\n# fluxguard hook ([a-z-]+), made by `fluxguard install`; `fluxguard uninstall` takes it out\.\n"
    rb"# sha256 of what follows: ([0-9a-f]{64})\n"
)


def text(kind: str, recorded: str) -> bytes:
    """The whole hook. recorded: where fluxguard is now, an absolute path."""
    if kind in NOTES:
        body = _kept(kind) + _NOTE
    else:
        # No braces of the shell's go through `format` but those in _LOOK.
        body = _kept(kind) + (_ONLY_NEWS if kind in REFS else "") + _LOOK.format(
            kind=kind, recorded=shlex.quote(recorded), refused=_refused(kind)
        )  # fmt: skip
    raw = body.encode("utf-8", "surrogateescape")
    head = (
        f"#!/bin/sh\n# fluxguard hook {kind}, made by `fluxguard install`; `fluxguard uninstall` takes it out.\n"
        f"# sha256 of what follows: {hashlib.sha256(raw).hexdigest()}\n"
    )
    return head.encode() + raw


def shipped() -> str:
    """Where the scripts of `hooks/` lie: in the package, or beside it in a clone."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "hooks")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "hooks")


def is_ours(content: bytes) -> bool:
    """Whether a hook says that it is ours, be it changed or not."""
    return _HEAD.match(content) is not None


def is_intact(content: bytes) -> bool:
    """Whether a hook of ours is as it was written, by whatever version."""
    head = _HEAD.match(content)
    return head is not None and hashlib.sha256(content[head.end() :]).hexdigest().encode() == head[2]


def is_plain(content: bytes, kind: str) -> bool:
    """Whether it is one of the scripts in `hooks/`, which call fluxguard as they stand."""
    return (
        content.startswith(b"#!/bin/sh\n# fluxguard: ")
        and b"\n    fluxguard hook %s" % kind.encode() in content
    )


def recorded_in(content: bytes) -> str:
    """Where fluxguard was when a hook of ours was written, "" for one that needs none."""
    match = re.search(rb"^recorded=(.*(?:\n.*)*?)\nbroken=$", content, re.MULTILINE)
    return "".join(shlex.split(match[1].decode("utf-8", "surrogateescape"))) if match else ""


def asks_for_its_name(content: bytes) -> bool:
    """Whether a hook may do what its own name says, so that it can't be kept under another one."""
    return bool(re.search(rb"basename[^\n]{0,20}\$\{?0|\$\{0##|argv\[0\]|\$PROGRAM_NAME", content))


def _refused(kind: str) -> str:
    if kind in REFS:
        return "the refs stay as they were"
    return "the push is refused" if kind in ("pre-push", *SERVER) else "the commit is refused"


def _kept(kind: str) -> str:
    """Runs the hook that was there before, with the same arguments and the same standard input."""
    held = _HOLD if kind in _READS_INPUT else _AS_IT_IS
    if kind in REFS:
        held = _ONLY_PREPARED + held
    ending = 'feed "$before" "$@"' if kind in NOTES else 'feed "$before" "$@" || exit'
    return f'{held}before=${{0%/*}}/{kind}{KEPT}\nif [ -x "$before" ]; then\n    {ending}\nfi\n'


_HOLD = """\
input=$(cat && echo .) || exit 1
input=${input%.}
feed() { printf %s "$input" | "$@"; }
"""
_AS_IT_IS = """\
feed() { "$@"; }
"""
_LOOK = """\
FLUXGUARD_GIT=$PPID
export FLUXGUARD_GIT
recorded={recorded}
broken=
look() {{
    if [ -x "$1" ]; then
        feed "$@"
        code=$?
        # 126 and 127 come from the shell: it is there, but does not start.
        case $code in 126 | 127) broken="$broken $1" ;; *) exit "$code" ;; esac
    fi
}}
look "$recorded" hook {kind} "$@"
found=$(command -v fluxguard)
case $found in /*) look "$found" hook {kind} "$@" ;; esac
# -P: whatever lies in this repository is not fluxguard.
if python3 -P -c 'import fluxguard' </dev/null >/dev/null 2>&1; then
    look "$(command -v python3)" -P -m fluxguard hook {kind} "$@"
fi
{{
    echo "fluxguard is gone, so nothing looked for keys, and {refused}."
    echo "  It was here when this hook was made: $recorded"
    if [ -n "$broken" ]; then echo "  There, but does not start:$broken"; fi
    echo "  Install it anew, then update the hook: pipx install --force fluxguard && fluxguard install"
    echo "  No longer wanted? This hook is a file: $0"
}} >&2
exit 1
"""
# Builtins of the shell alone: whoever commits pays for no process but the shell.
_NOTE = """\
git=${GIT_DIR:-.git}
if [ -f "$git" ]; then
    IFS= read -r line <"$git"
    git=${line#gitdir: }
fi
if [ -r "$git/fluxguard/passed" ] && IFS= read -r passed <"$git/fluxguard/passed" && [ "$passed" = "$PPID" ]; then
    common=$git
    if [ -r "$git/commondir" ]; then
        IFS= read -r line <"$git/commondir"
        case $line in /*) common=$line ;; *) common=$git/$line ;; esac
    fi
    IFS= read -r head <"$git/HEAD"
    case $head in
        "ref: "*) if [ -r "$common/${head#ref: }" ]; then IFS= read -r head <"$common/${head#ref: }"; fi ;;
    esac
    case $head in
        *[!0-9a-f]*) ;;
        *) if [ -f "$common/fluxguard/checked" ] && [ ! -L "$common/fluxguard/checked" ]; then printf '%s\\n' "$head" >>"$common/fluxguard/checked"; fi ;;
    esac
fi
exit 0
"""
# git asks three times for each change of refs, and more often for each commit: most of it is none of our business.
_ONLY_PREPARED = """\
if [ "$1" != prepared ] && [ ! -x "${0%/*}/reference-transaction.before-fluxguard" ]; then exit 0; fi
"""
_ONLY_NEWS = """\
if [ "$1" != prepared ]; then exit 0; fi
case $input in
    *" refs/heads/"* | *" refs/tags/"* | *" refs/notes/"* | *" refs/stash"*) ;;
    *) exit 0 ;;
esac
# A commit that a hook has just let pass.
git=${GIT_DIR:-.git}
if [ -r "$git/fluxguard/passed" ] && IFS= read -r passed <"$git/fluxguard/passed" && [ "$passed" = "$PPID" ]; then exit 0; fi
"""
