"""The history's lane: a private mirror rewritten, pushed and proved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.respond import cleanup, mirror, pushing, remaining
from fluxguard.respond.course import Data, Overtaken, Run, Waiting, run_safe
from fluxguard.respond.veil import shown


def rewrite(run: Run) -> Data:
    """A mirror of its own is rewritten and audited until the key stands nowhere in it."""
    folder = run.incident.folder / "mirror"
    source = mirror.source_of(run.repository)
    run.say("fetching everything into a private mirror")
    mirror.mirror(source, folder, run.repository)
    done = cleanup.rewrite(folder, run.old, run.say)
    if done.unexpected:
        raise FluxguardError(
            f"The rewrite changed {len(done.unexpected)} paths in which no key was: {', '.join(done.unexpected[:3])}.",
            "Nothing was pushed. This is a defect; report it.",
        )
    run.vault.put(names=_sealed(done.names))
    return {
        "changed": {run_safe(run, name.encode("utf-8", "surrogateescape")): pair for name, pair in done.changed.items()},
        "counts": dict(done.counts), "banned": list(done.banned), "left": list(done.left), "read": dict(done.read),
        "unread": list(done.unread), "notes": done.notes, "submodules": list(done.submodules),
        "apart": [shown(name, run.old) for name in done.apart], "signatures": done.signatures, "refs_before": len(done.before), "refs_after": len(done.after),
    }  # fmt: skip


def _sealed(names: Mapping[bytes, bytes]) -> bytes:
    """Names for the vault: the old ones hold the key."""
    return json.dumps({old.hex(): new.hex() for old, new in names.items()}).encode()


def push(run: Run) -> Data:
    """Each changed ref, only if the remote still has what it had, and only after the person's word."""
    folder = run.incident.folder / "mirror"
    known = run.known("rewrite")
    if known.get("left"):
        raise FluxguardError(
            "The rewritten mirror still holds the key; nothing is pushed.", "; ".join(known["left"][:5])
        )
    name = run.repository.name
    if not run.agree(
        f"This rewrites {len(known['changed'])} refs of the remote for everybody. Type {name} to go on", name
    ):
        raise Waiting("the push was not agreed to; resume, and type the repository's name")
    changed = _changed_now(run, folder, known)
    try:
        outcome = pushing.push(folder, changed, run.old, run.say)
    except mirror.Moved as error:
        raise Overtaken(error.what, error.hint, "rewrite") from None
    return {
        "refs": {
            run_safe(run, name.encode("utf-8", "surrogateescape")): what for name, what in outcome.items()
        }
    }


def _changed_now(run: Run, folder: Path, known: Data) -> dict[str, tuple[str, str]]:
    """What is to be pushed, with real names: in the journal those that held the key are masked."""
    after, there = mirror.refs(folder), mirror.remote_refs(folder)
    shown = {run_safe(run, name.encode("utf-8", "surrogateescape")): name for name in {*after, *there}}
    pairs = {shown.get(name, name): (pair[0], pair[1]) for name, pair in known["changed"].items()}
    return {name: pair for name, pair in pairs.items() if name in after or name in there}


def prove(run: Run) -> Data:
    """A new mirror of the remote, audited: what is still there can't be cleaned from here, and is named."""
    source = mirror.source_of(run.repository)
    left, unread, read = remaining.still_there(source, run.incident.folder / "proof", run.repository, run.old)
    return {"left": left, "unread": unread, "read": read}
