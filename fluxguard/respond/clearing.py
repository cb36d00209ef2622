"""The history's lane: a private mirror rewritten, pushed and proved."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from fluxguard.audit import run as auditing
from fluxguard.config import Config
from fluxguard.errors import FluxguardError
from fluxguard.respond import cleanup, holding, mirror, pushing, remaining, remotes
from fluxguard.respond.course import Data, Overtaken, Run, StillThere, Waiting, run_safe
from fluxguard.respond.ownclone import steps as ownclone
from fluxguard.respond.ownclone.backup import ORIGINALS
from fluxguard.respond.veil import shown
from fluxguard.words import count


def rewrite(run: Run) -> Data:
    """A mirror of its own is rewritten and audited until the key stands nowhere in it."""
    folder = run.incident.folder / "mirror"
    wishes = run.incident.wishes
    source = _remote(run) if wishes.push else remotes.source(run.repository, wishes.remote)
    run.say("fetching everything into a private mirror")
    mirror.mirror(source, folder, run.repository)
    originals = run.incident.folder / ORIGINALS if wishes.push else None
    done = cleanup.rewrite(folder, run.old, run.say, originals=originals)
    if not done.changed and not run.banned:
        _must_be_the_one(run)
    if done.unexpected:
        raise FluxguardError(
            f"The rewrite changed {len(done.unexpected)} paths in which no key was: {', '.join(done.unexpected[:3])}.",
            "Nothing was pushed. This is a defect; report it.",
        )
    run.vault.put(names=_sealed(done.names))
    return {
        "changed": {run_safe(run, name.encode("utf-8", "surrogateescape")): pair for name, pair in done.changed.items()},
        "counts": dict(done.counts), "banned": list(done.banned), "left": list(done.left), "read": dict(done.read),
        "unread": list(done.unread), "notes": done.notes,
        "apart": [shown(name, run.old) for name in done.apart], "signatures": done.signatures, "refs_before": len(done.before), "refs_after": len(done.after),
        "refs_changed": sum(one in done.before for one in done.changed), "whole": list(done.whole), "headers": dict(done.headers), "anew": dict(done.anew),
        "originals": str(originals) if originals and (done.whole or any(done.anew.values())) else "",
    }  # fmt: skip


def _must_be_the_one(run: Run) -> None:
    """Of a remote in which there was nothing to clean: that its address is that of start. Raises: FluxguardError."""
    name = run.incident.wishes.remote
    if run.known("assess").get("remote", "") not in ("", remotes.mark(run.repository, name)):
        raise FluxguardError(
            f"Remote {shown(name, run.old)} has another address than when this incident was opened, and the key stands nowhere there.",
            "Is it the one that leaked? Set the address back (git remote set-url), then resume.",
        )


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
    _remote(run)
    if remotes.leads_home(remotes.source(folder, remotes.USUAL), run.repository):
        raise Overtaken(
            "The mirror was made of your own clone, not of the remote; nothing is pushed.",
            "Resume: it starts with the remote.", "rewrite",
        )  # fmt: skip
    if not run.agree(f"{_question(known)} Type {run.word} to go on", run.word):
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


def _remote(run: Run) -> str:
    """The remote's URL. Raises: FluxguardError where there is none any more, and the user's own branches would be taken for it."""
    source = remotes.source(run.repository, run.incident.wishes.remote)
    if remotes.leads_home(source, run.repository):
        raise FluxguardError(
            "The remote that was to be cleaned is no longer configured.",
            "Set it again (git remote add), then resume; or end it: fluxguard respond abort",
        )
    return source


def _question(known: Data) -> str:
    lines = [f"This rewrites {count(len(known['changed']), 'ref')} of the remote for everybody."]
    if known.get("whole"):
        lines.append("The key can't be cut out of these files; a note takes their place, and they are kept:")
        lines += _first(known["whole"])
    if broken := [one for one, what in known.get("anew", {}).items() if what]:
        lines.append(
            "These archives lose the key alone, but their signatures or sums no longer fit; they are kept:"
        )
        lines += _first(broken)
    return "\n".join(lines)


def _first(files: list[str]) -> list[str]:
    """As many of them as a question names, a line each."""
    more = len(files) - _ASKED
    return [f"  {one}" for one in files[:_ASKED]] + [f"  and {more} more"] * (more > 0)


_ASKED = 20  # files that a question names


def _changed_now(run: Run, folder: Path, known: Data) -> dict[str, tuple[str, str]]:
    """What is to be pushed, with real names: in the journal those that held the key are masked."""
    after, there = mirror.refs(folder), mirror.remote_refs(folder)
    shown = {run_safe(run, name.encode("utf-8", "surrogateescape")): name for name in {*after, *there}}
    pairs = {shown.get(name, name): (pair[0], pair[1]) for name, pair in known["changed"].items()}
    return {name: pair for name, pair in pairs.items() if name in after or name in there}


def prove(run: Run) -> Data:
    """A new mirror of the remote, audited: what can't be cleaned from here is named; where a branch holds the key, it is not over."""
    wishes = run.incident.wishes
    there = remaining.looked_at(_remote(run), run.incident.folder / "proof", run.repository, run.old)
    pushed = run.known("push").get("refs", {})
    _must_have(run, there, pushed)
    names = {run_safe(run, os.fsencode(ref)): ref for ref in there.by}
    given_up = {names[name] for name, what in pushed.items() if name in names and what not in pushing.ARRIVED}
    open_ = sorted(
        name for name, ref in names.items() if ref not in given_up and not ref.startswith(pushing.FOREIGN)
    )
    if open_:
        raise StillThere(
            f"The key still stands on the remote, in {', '.join(open_[:5])}: it came while the cleaned history was pushed.",
            "Resume: it starts from what is there now.", "rewrite", "push",
        )  # fmt: skip
    others = remotes.others(run.repository, wishes.remote, run.old)
    return {
        "left": list(there.left), "others": others, "read": dict(there.read),
        "unread": [*there.unread, *(f"remote {one}; to clean it: {_cleaning(run, one)}" for one in others)],
    }  # fmt: skip


def _cleaning(run: Run, remote: str) -> str:
    """The command that cleans another remote, whether the clone still holds the key or not."""
    repository = run_safe(run, os.fsencode(shlex.quote(str(run.repository))))
    return f"fluxguard respond start --repo {repository} --finding {run.incident.fingerprint} --clean-history --push --remote {shlex.quote(remote)}"


def _must_have(run: Run, there: remaining.Remote, pushed: Data) -> None:
    """What was pushed has to be in the mirror on which the proof is made. Raises: Overtaken."""
    held = {run_safe(run, os.fsencode(name)) for name in there.refs}
    wanted = run.known("rewrite").get("changed", {})
    gone = [
        name
        for name, what in pushed.items()
        if what in ("pushed", "there") and wanted[name][1] and name not in held
    ]
    if gone:
        raise Overtaken(
            f"The remote no longer has what was pushed: {', '.join(gone[:5])}. So nothing is proved.",
            "Resume: it starts from what is there now.", "rewrite", "push",
        )  # fmt: skip


def foreseen(run: Run) -> Data:
    """For a plan: what of this clone could not be cut out of its files, and which remotes would stay as they are."""
    report = auditing.audit(str(run.repository), Config())
    places = holding.places(report, run.old)
    _, course = holding.cleaner(run.repository, places, run.old)
    remote = run.incident.wishes.remote
    return {
        "remote": shown(remote, run.old),
        "whole": list(holding.named(course.whole, holding.blobs(places), run.old)),
        "anew": holding.made_anew(course, holding.blobs(places), run.old),
        "others": remotes.others(run.repository, remote, run.old),
        "hindrances": ownclone.hindrances(run) if run.incident.wishes.own_clone else [],
    }
