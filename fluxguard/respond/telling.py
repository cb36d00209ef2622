"""What each step of a response is called, and what came of it, in words: on the screen, in the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxguard.respond import pushing
from fluxguard.words import count

TITLES: Mapping[str, str] = {
    "verify": "Verify: is the key alive?",
    "assess": "Assess: who could see it, who used it?",
    "choose": "Choose: in which order?",
    "contain": "Contain: only known clients go on",
    "revoke-first": "Revoke first",
    "reissue": "Reissue: a new key, safe on disk",
    "distribute": "Distribute: the new key where the old one was",
    "give-up": "Give up the new key, which nobody has",
    "hand-over": "Hand over: the new key, which went nowhere by itself",
    "confirm": "Confirm: the new key counts",
    "drain": "Wait until the old key is silent",
    "revoke": "Revoke the old key",
    "guided": "End the old key on the platform's page",
    "dead": "Prove: the old key opens nothing",
    "rewrite": "Clean: the history, in a private mirror",
    "push": "Push the cleaned history",
    "prove": "Prove: the remote is clean",
    "own-backup": "Back up your own clone",
    "own-rewrite": "Clean your own clone, in a private copy",
    "own-move": "Move your own clone over",
    "own": "Look: what your own clone still holds",
    "prevent": "Prevent: hooks and .gitignore",
    "close": "Close: the report",
    "abort": "Abort: the incident ends as it is",
}


def waits_for(data: Mapping[str, Any]) -> str:
    """What a step that waits or failed said, in a sentence."""
    return f"{data.get('reason', data.get('what', ''))} {data.get('until', '')}".rstrip()


def replaced(counts: Mapping[str, int]) -> str:
    """What a rewrite replaced, in words: `2 versions of files, 1 name of a ref`."""
    one = {
        "names of refs": "name of a ref", "versions of files": "version of a file",
        "versions of files replaced whole": "version of a file replaced whole",
        "tags of files and folders": "tag of a file or a folder",
    }  # fmt: skip
    told = (
        f"{number:,} {what if number != 1 else one.get(what, what.removesuffix('s'))}"
        for what, number in (
            (kind.replace("blobs", "versions of files"), number) for kind, number in counts.items()
        )
    )
    return ", ".join(told) or "nothing"


def moved(done: Mapping[str, int]) -> str:
    """What moved with an own clone, up to the verb."""
    logs = f"{done['log_entries']:,} log {'entry' if done['log_entries'] == 1 else 'entries'}"
    old = f"{count(done['objects'], 'old object')} {'is' if done['objects'] == 1 else 'are'}"
    return f"{count(done['refs'], 'ref')}, {logs}, {count(done['files'], 'working file')}; {old}"


def told(step: str, data: Mapping[str, Any]) -> list[str]:
    """One step's outcome in a line or two."""
    lines = _TOLD.get(
        step,
        lambda data: [", ".join(f"{k} {v}" for k, v in data.items() if isinstance(v, str | int) and v != "")],
    )(data)
    return [line for line in lines if line] or ["done"]


def use_since(assess: Mapping[str, Any]) -> str:
    """The uses since the leak, and whose they are."""
    if assess.get("use"):
        return str(assess["use"])
    if assess.get("untold"):
        return f"{count(assess['untold'], 'request')}; by whom can't be told, for nobody used the key before the leak"
    if not assess.get("foreign"):
        return "none from where it was never used before"
    return f"{count(assess['foreign'], 'request')} from where it was never used before"


def _pushed(refs: Mapping[str, str]) -> list[str]:
    """What became of the remote's refs, in lines."""
    gone = [name for name, what in refs.items() if what == "deleted"]
    told = f"{count(sum(what in ('pushed', 'there') for what in refs.values()), 'ref')} pushed"
    other = {name: what for name, what in refs.items() if what not in pushing.ARRIVED}
    return [
        told + (f", {count(len(gone), 'ref')} deleted: {', '.join(gone[:4])}" if gone else ""),
        *(f"{name}: {pushing.in_words(what)}" for name, what in other.items()),
    ]


def _proved(data: Mapping[str, Any]) -> list[str]:
    """What a new mirror of the remote shows, in lines."""
    nowhere = f"a new mirror of the remote: the key stands nowhere; {'; '.join(data['read'].values())}"
    lines = [f"still there: {one}" for one in data["left"][:8]] or [nowhere]
    return lines + [f"remote {one} was neither cleaned nor looked at" for one in data.get("others", ())]


_PREVENTS = {"banned": "commits", "gitignore": ".gitignore"}
_BROUGHT = {"manual": "by hand", "there": "has the new key already"}


_TOLD: Mapping[str, Any] = {
    "verify": lambda d: [f"{d['status']}" + (f": {d.get('name', d['key_id'])}; may {', '.join(d['permissions'])}; last used {d.get('last_used_at') or 'never'}" if d.get("key_id") else f": {d.get('how', '')}")],
    "assess": lambda d: [f"in {count(d['places'], 'place')} since {d['since']}" if d["places"] else "found nowhere in this repository",
                         f"pushed: {', '.join(d['pushed'])}" if d["pushed"] else "no remote is known to have it",
                         f"use since then: {use_since(d)}"],
    "choose": lambda d: [f"{d['strategy']}: {d['reason']}"],
    "contain": lambda d: [f"{count(d['known_clients'], 'client')} may go on using it; everybody else is turned away",
                          "nobody used it before the leak, so a stranger may be among those that use it now; fluxguard apikeys revoke shuts them all out, and the response goes on" if d.get("untold") else ""],
    "revoke-first": lambda d: ["the old key is revoked"],
    "reissue": lambda d: [f"{d['masked']}, sealed in the incident's vault", f"narrower than the old one: {d['narrower']}" if d.get("narrower") else ""],
    "distribute": lambda d: [f"{one['place']}: {_BROUGHT.get(one['done'], one['done'])}" + (f" ({one.get('why') or one.get('seen')})" if one.get("why") or one.get("seen") else "") for one in d["places"]] or ["the old key stands in no file that may hold the new one"],
    "give-up": lambda d: ["the new key, which nobody has, is revoked"],
    "hand-over": lambda d: [f"the new key was {d['given']}, {d['at']}"],
    "confirm": lambda d: ["the new key is active"],
    "drain": lambda d: [d["why"]],
    "revoke": lambda d: ["the old key is revoked"],
    "guided": lambda d: [f"the old key is dead; {d['how']}" if d["state"] == "dead" else d["how"], *(f"{one['place']}: {one['why']}" for one in d.get("places", ()))],
    "dead": lambda d: ["tried once more: the platform answers 401"],
    "rewrite": lambda d: [f"replaced {replaced(d['counts'])}; {d.get('refs_changed', len(d['changed']))} of {count(d['refs_before'], 'ref')} changed",
                          *(f"replaced whole, for the key could not be cut out of it: {one}" for one in d.get("whole", ())), *(f"made anew without the key: {one}" + (f"; what no longer fits: {what}" if what else "") for one, what in d.get("anew", {}).items()), f"the originals are kept: {d['originals']}" if d.get("originals") else "",
                          "proved: " + "; ".join(d["read"].values()) if not d["left"] else f"{count(len(d['left']), 'place')} still hold it: {'; '.join(d['left'][:3])}"],
    "push": lambda d: _pushed(d["refs"]),
    "prove": _proved,
    "own": lambda d: [f"the key still stands in {count(len(d['places']), 'place')} of it" if d["places"] else "the key stands nowhere in it"],
    "own-backup": lambda d: [f"{count(d['objects'], 'object')} and {count(d['refs'], 'ref')}, proved: {d['folder']}"],
    "own-rewrite": lambda d: [f"{count(d['commits'], 'commit')} and {d['changed']} of {count(d['refs'], 'ref')} become others"],
    "own-move": lambda d: [f"{moved(d)} gone"],
    "prevent": lambda d: [f"{_PREVENTS.get(name, name)}: {what}" for name, what in d.items()],
    "close": lambda d: ["the vault is burnt, the mirrors are gone"],
    "abort": lambda d: [f"what was done stays done; the last step was: {TITLES.get(d['after'], d['after']) or 'none'}", d["new_key"]],
}  # fmt: skip
