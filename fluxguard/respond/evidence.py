"""The report of an incident, from its journal: what was exposed, what was done and when, what is left. Markdown, HTML, JSON."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fluxguard import display
from fluxguard.respond import pushing
from fluxguard.respond.choose import RENEWING
from fluxguard.respond.incident import Incident, platform_of
from fluxguard.respond.journal import Record
from fluxguard.respond.places import IN_GIT
from fluxguard.words import count
from fluxguard.writing import whole

FORMATS = ("markdown", "html", "json")
OTHERS = "Other clones"
ELSEWHERE = (
    ("Pull requests and their refs", "the host keeps refs/pull/* (GitHub) or refs/merge-requests/* (GitLab): ask its support to remove them, naming the commits that brought the key"),
    ("The remote's own store", "it keeps the old commits, reachable by their ids, until it collects its garbage: on a server of your own, git gc --prune=now"),
    ("Forks", "each fork's owner has to clean or delete it"),
    ("Caches of the host", "pages of single commits stay reachable by id until its support clears them"),
    ("CI", "logs, artefacts, caches and container layers made from these commits"),
    ("Packages and releases", "archives that were built from these commits"),
    (OTHERS, "see below: each has to be made anew, or cleaned"),
)  # fmt: skip


def document(incident: Incident, records: Sequence[Record], closing: bool = False) -> dict[str, Any]:
    """The report as JSON. closing: as in `state_of`."""
    done: dict[str, dict[str, Any]] = {}
    for one in records:
        if one.phase == "done":
            done[one.step] = dict(one.data)
        elif one.phase == "stale":
            done.pop(one.step, None)
    return {
        "schema": "fluxguard.incident/1", "incident": incident.id, "opened_at": incident.opened_at,
        "repository": incident.repository, "platform": platform_of(incident, records),
        "key": {"masked": incident.masked, "fingerprint": incident.fingerprint, "environment": incident.environment},
        "state": state_of(records, closing), "strategy": done.get("choose", {}), "steps": done,
        "timeline": [
            {"time": one.time, "step": one.step, "phase": one.phase, "data": dict(one.data)} for one in records
        ],
        "left": [
            *_at_the_platform(done, state_of(records) == "aborted"), *left(done, incident), *_originals(records), *_backups(records),
        ],
    }  # fmt: skip


def state_of(records: Sequence[Record], closing: bool = False) -> str:
    """`open`, `waiting`, `failed`, `closed`, `aborting` (that was killed: it is gone on with) or `aborted`.

    closing: what is being closed counts as closed.
    """
    if any(one.step == "close" and one.phase == "done" for one in records):
        return "closed"
    if closing and records and (records[-1].step, records[-1].phase) == ("close", "intent"):
        return "closed"
    if ended := [one.phase for one in records if one.step == "abort"]:
        return "aborted" if "done" in ended else "aborting"
    last = next((one for one in reversed(records) if one.phase != "note"), None)
    return last.phase if last is not None and last.phase in ("waiting", "failed") else "open"


def waits_for(data: Mapping[str, Any]) -> str:
    """What a step that waits or failed said, in a sentence."""
    return f"{data.get('reason', data.get('what', ''))} {data.get('until', '')}".rstrip()


def replaced(counts: Mapping[str, int]) -> str:
    """What a rewrite replaced, in words: `2 blobs, 1 name of a ref`."""
    one = {
        "names of refs": "name of a ref", "blobs replaced whole": "blob replaced whole",
        "tags of files and folders": "tag of a file or a folder",
    }  # fmt: skip
    told = (
        f"{number:,} {what if number != 1 else one.get(what, what.removesuffix('s'))}"
        for what, number in counts.items()
    )
    return ", ".join(told) or "nothing"


def moved(done: Mapping[str, int]) -> str:
    """What moved with an own clone, up to the verb."""
    logs = f"{done['log_entries']:,} log {'entry' if done['log_entries'] == 1 else 'entries'}"
    old = f"{count(done['objects'], 'old object')} {'is' if done['objects'] == 1 else 'are'}"
    return f"{count(done['refs'], 'ref')}, {logs}, {count(done['files'], 'working file')}; {old}"


def is_dead(done: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it was proved that the old key opens nothing."""
    return "dead" in done or done.get("guided", {}).get("state") == "dead"


def _at_the_platform(done: Mapping[str, Mapping[str, Any]], aborted: bool) -> list[str]:
    """What stands there and was not brought to its end."""
    if is_dead(done):
        return []
    key_id = done.get("verify", {}).get("key_id")
    ended = done.get("guided", {}).get("how")
    found = [
        f"The old key: {ended}."
        if ended
        else "The old key was not proved dead: whoever has it may be able to use it."
    ]
    if key_id and not ended:
        found[0] += f" To end it: fluxguard apikeys revoke --key-id {key_id}"
    if "contain" in done:
        found.append(f"The old key {key_id} is quarantined: only clients that used it before the leak go on.")
    new = done.get("reissue", {})
    if new and "confirm" not in done:
        held = "; nobody has it, and it lapses by itself" if aborted and "distribute" not in done else ""
        found.append(f"The new key {new.get('masked')} ({new.get('key_id')}) waits to be confirmed{held}.")
    elif new:
        found.append(
            f"The new key {new.get('masked')} is in use; the old one ends by itself when its time is over."
        )
    return found


def left(done: Mapping[str, Mapping[str, Any]], incident: Incident) -> list[str]:
    """What is still to be done, in words."""
    open_ = _by_hand(done)
    open_ += [
        f"On this machine: {one}"
        for step in ("distribute", "guided") for one in done.get(step, {}).get("unread", ())
    ]  # fmt: skip
    if done.get("reissue", {}).get("less"):
        open_.append(
            f"The new key {done['reissue'].get('masked')} ends sooner, or may be used less often, than the old one: the key that asked for it "
            "can hand on no more. A person can change that in the console."
        )
    if "choose" in done and done["choose"].get("strategy") not in RENEWING:
        open_ += [f"{one}: no new key was made, so none was brought there" for one in incident.wishes.targets]
    if "rewrite" not in done:
        state = "which is dead" if is_dead(done) else "which may be alive"
        open_.append(f"The history still holds the key, {state}. To clean it: {_cleaning(incident)}")
    elif "prove" not in done and incident.wishes.remote and done["rewrite"].get("changed"):
        open_.append(_not_proved(done, incident))
    open_ += [f"Still on the remote: {one}" for one in done.get("prove", {}).get("left", ())]
    unread = [one for step in ("rewrite", "prove") for one in done.get(step, {}).get("unread", ())]
    open_ += [f"Not looked at: {one}" for one in dict.fromkeys(unread)]
    open_ += [
        f"Your own clone lacks {one} since it was cleaned" for one in done.get("own", {}).get("missing", ())
    ]
    open_ += [
        f"Remote {one} of your own clone was not cleaned: the next fetch from it brings the old commits back"
        for one in done.get("own", {}).get("remotes", ())
    ]
    if "rewrite" in done and "own" not in done:
        open_.append(
            "Your own clone was not looked at since, and may hold the key still: fluxguard audit there"
        )
    open_ += [f"In your own clone: {one}" for one in done.get("own", {}).get("places", ())]
    open_ += [f"In your own clone, not looked at: {one}" for one in done.get("own", {}).get("unread", ())]
    open_ += [
        f"{name} was not rewritten: {pushing.in_words(what)}"
        for name, what in done.get("push", {}).get("refs", {}).items()
        if what not in pushing.ARRIVED
    ]
    open_ += [
        f"In your own clone, replaced whole (its backup holds the original): {one}"
        for one in done.get("own-rewrite", {}).get("whole", ())
    ]
    known = done.get("rewrite", {}).get("anew", {})
    open_ += [
        f"In your own clone: {_to_be_signed(one, what)}"
        for one, what in done.get("own-rewrite", {}).get("anew", {}).items()
        if what and one not in known
    ]
    open_ += _lost(done.get("rewrite", {}), done.get("push", {}).get("refs", {}))
    for name in ("hooks", "gitignore"):
        if str(done.get("prevent", {}).get(name, "")).startswith(("run:", "not done")):
            open_.append(f"{name}: {done['prevent'][name]}")
    return open_


def _by_hand(done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Places that a person has to mend; not files of git's that were cleaned with the clone since."""
    rows = [one for step in ("distribute", "guided") for one in done.get(step, {}).get("places", ())]
    own = done.get("own", {})
    cleaned = "own-move" in done and bool(own) and not own.get("places") and not own.get("unread")
    return [
        f"{one['place']}: {one['why']}"
        for one in rows
        if one.get("done") == "manual" and not (cleaned and one["why"].startswith(IN_GIT))
    ]


def _cleaning(incident: Incident) -> str:
    """The command that cleans the history on the remote."""
    return f"fluxguard respond start --repo {shlex.quote(incident.repository)} --finding {incident.fingerprint} --clean-history --push"


def _not_proved(done: Mapping[str, Mapping[str, Any]], incident: Incident) -> str:
    """Of a history that was rewritten in the mirror, and is not proved clean on the remote."""
    pushed = [name for name, what in done.get("push", {}).get("refs", {}).items() if what in pushing.ARRIVED]
    if pushed:
        return f"Remote {incident.wishes.remote} was not looked at since {count(len(pushed), 'ref')} arrived there: whether the key is gone is not proved."
    again = _cleaning(incident)
    if incident.wishes.push:
        return f"The history on remote {incident.wishes.remote} still holds the key: the cleaned one was not pushed whole. Go on: fluxguard respond resume; or, once this incident is ended: {again}"
    return f"The history on remote {incident.wishes.remote} still holds the key: it was cleaned in a private mirror, which is gone, to see that it can be. To clean the remote: {again}"


def _lost(rewrite: Mapping[str, Any], pushed: Mapping[str, Any]) -> list[str]:
    """What the rewrite could not keep."""
    found = [
        f"Replaced whole, for the key could not be cut out of it: {one}" for one in rewrite.get("whole", ())
    ]
    found += [_to_be_signed(one, what) for one, what in rewrite.get("anew", {}).items() if what]
    found += [
        f"{name} is deleted on the remote: git-filter-repo carries no replaced objects over"
        for name, what in pushed.items() if what == "deleted" and name.startswith("refs/replace/")
    ]  # fmt: skip
    if signed := rewrite.get("signatures", 0):
        had = f"{count(signed, 'signature')} of commits and tags {'was' if signed == 1 else 'were'} stripped"
        found.append(f"{had} by the rewrite: sign anew what has to be signed.")
    found += [
        f"Header {name} of {count(number, 'commit')} was dropped by the rewrite."
        for name, number in rewrite.get("headers", {}).items()
    ]
    return found


def _to_be_signed(archive: str, broken: str) -> str:
    """An archive out of which the key was cut, and what vouched for it."""
    return f"To be signed or built anew, for {broken} no longer fits since the key was cut out: {archive}"


def _forgotten(records: Sequence[Record]) -> set[Any]:
    """The folders that were kept and are gone, by the person's word."""
    return {one.data.get("folder") for one in records if one.step == "forget"}


def _originals(records: Sequence[Record]) -> list[str]:
    """Files that were replaced whole or lost their signature, and are kept: the key stands in them."""
    made = {
        str(one.data["originals"]) for one in records
        if one.step == "rewrite" and one.phase == "done" and one.data.get("originals")
    }  # fmt: skip
    gone = _forgotten(records)
    return [
        f"The originals of these files, in which the key still stands: {one}. When you need them no more: fluxguard respond forget"
        for one in sorted(made - gone)
        if Path(one).is_dir()
    ]


def _backups(records: Sequence[Record]) -> list[str]:
    """Copies of the own clone that are kept: the key stands in them."""
    made = [str(one.data["folder"]) for one in records if one.step == "own-backup" and one.phase == "done"]
    if not any(one.step == "own-move" for one in records):
        made = made[-1:]
    gone = _forgotten(records)
    return [
        f"The backup of your own clone, in which the key still stands: {one}. When you need it no more: fluxguard respond forget"
        for one in made if one not in gone and Path(one).is_dir()
    ]  # fmt: skip


def markdown(told: Mapping[str, Any]) -> str:
    """The report for people, from `document`."""
    return "\n".join(_lines(told)) + "\n"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    steps = data["steps"]
    verify, assess = steps.get("verify", {}), steps.get("assess", {})
    yield f"# Incident {data['incident']}"
    yield ""
    yield f"State: **{data['state']}**. Key {_code(data['key']['masked'])}, {data['key']['environment']}, {_code(data['key']['fingerprint'])}."
    yield f"Repository {_code(data['repository'])}. Platform {_code(data['platform'])}. Opened {data['opened_at']}."
    yield ""
    yield "## What was exposed"
    yield ""
    if assess.get("places"):
        yield f"- The key stands in {count(assess['places'], 'place')} ({', '.join(assess['kinds'])})."
        yield f"- First: commit {_code(assess['commit'][:12])}, {_text(assess['author'])}, {assess['since']}, {_code(assess['path'])}."
        pushed = ", ".join(_code(name) for name in assess["pushed"])
        yield f"- Pushed: {pushed or 'no remote-tracking ref of this clone leads to it'}."
    else:
        yield "- The audit found it nowhere in this repository."
    if verify.get("key_id"):
        yield f"- On the platform: {_code(verify['key_id'])}, {verify['status']} when asked; permissions {', '.join(verify['permissions'])}; last used {verify.get('last_used_at') or 'never'}."
    foreign = assess.get("use") or assess.get("foreign", 0)
    yield f"- Requests since then from where it was never used before: {_text(foreign)}."
    yield ""
    yield "## What was done"
    yield ""
    yield "| when | what | result |"
    yield "|---|---|---|"
    for one in data["timeline"]:
        if one["phase"] in ("done", "waiting", "failed"):
            yield f"| {one['time']} | {one['step']} {'' if one['phase'] == 'done' else one['phase']} | {_cell(one['step'], one['data'])} |"
    yield ""
    yield from _history(steps)
    yield from _own_clone(steps)
    yield "## What is left"
    yield ""
    for line in data["left"] or ["Nothing that fluxguard knows of on this machine and on the remote."]:
        yield f"- {_text(line)}"
    yield ""
    yield "Out of reach from here, and to be asked for:"
    yield ""
    banned = steps.get("rewrite", {}).get("banned", ())
    for title, words in ELSEWHERE:
        if banned or title != OTHERS:  # the instructions below name the commits
            yield f"- **{title}**: {words}."
    if banned:
        yield from _collaborators(banned)


def _history(steps: Mapping[str, Any]) -> Iterator[str]:
    done = steps.get("rewrite")
    if not done:
        return
    yield "## The history"
    yield ""
    yield f"- Replaced: {replaced(done['counts'])}."
    if done.get("notes"):
        yield f"- Notes moved to the new ids of their commits: {done['notes']}."
    for one, what in done.get("anew", {}).items():
        yield f"- An archive made anew without the key, all else of it as it was{f', but for what no longer fits ({_text(what)})' if what else ''}: {_text(one)}."
    if done.get("apart"):
        apart = ", ".join(_code(name) for name in done["apart"])
        yield f"- Names that would have met once the key is out of them, kept apart by a number: {apart}."
    yield f"- Refs that changed: {done.get('refs_changed', len(done['changed']))} of {done['refs_before']}."
    yield f"- In the rewritten mirror: {'the key stands nowhere' if not done['left'] else '; '.join(map(_text, done['left']))}. {'; '.join(done['read'].values())}."
    proof = steps.get("prove")
    if proof:
        yield f"- In a new mirror of the remote: {'the key stands nowhere' if not proof['left'] else count(len(proof['left']), 'place')}. {'; '.join(proof['read'].values())}."
    yield ""


def _own_clone(steps: Mapping[str, Any]) -> Iterator[str]:
    """What was done with the user's own clone."""
    kept, done, look = (steps.get(name) for name in ("own-backup", "own-move", "own"))
    if not kept or not done:
        return
    yield "## Your own clone"
    yield ""
    yield f"- Backed up first: {count(kept['objects'], 'object')}, {count(kept['refs'], 'ref')}, {_code(kept['digest'])}, in {_code(kept['folder'])}."
    yield f"- Moved: {moved(done)} gone from it."
    if look:
        held = (
            "the key stands nowhere"
            if not look["places"]
            else f"{count(len(look['places']), 'place')} of it hold{'s' * (len(look['places']) == 1)} it"
        )
        yield f"- Audited after that: {held}. git fsck finds it sound."
    yield ""


def _collaborators(banned: Sequence[str]) -> Iterator[str]:
    yield ""
    yield "## For everybody with a clone"
    yield ""
    yield "Do not pull: a merge would bring the old commits back. Save what is not pushed as patches (`git format-patch`), then clone anew."
    yield "A clone is clean when each of these commands fails:"
    yield ""
    yield "```sh"
    for commit in banned[:20]:
        yield f"git cat-file -e {commit}"
    yield "```"


def _cell(step: str, data: Mapping[str, Any]) -> str:
    if "until" in data or "what" in data:
        return _text(waits_for(data))
    if "reason" in data:
        return _text(str(data["reason"]))
    if step == "push":
        return _text("; ".join(f"{name}: {what}" for name, what in data["refs"].items()) or "nothing to push")
    if step == "own":
        return _text("; ".join(data["places"]) or "the key stands nowhere in it")
    if step == "prove":
        held = data["left"]
        return _text(
            "; ".join(held) if held else "the key stands nowhere: " + "; ".join(data["read"].values())
        )
    if step == "distribute":
        return (
            "; ".join(f"{_text(one['place'])}: {one['done']}" for one in data["places"])
            or "it stood nowhere on this machine"
        )
    if step == "verify" and data.get("guided"):
        return _text(f"{data['status']}: {data['how']}")
    if step == "guided":
        return _text(f"{data['state']}: {data['how']}")
    shown = {
        name: value for name, value in data.items() if isinstance(value, str | int | bool) and value != ""
    }
    return _text(", ".join(f"{name} {value}" for name, value in list(shown.items())[:5]))


def _code(text: object) -> str:
    return f"`{display.safe(str(text)).replace('`', chr(39))}`"


def _text(text: object) -> str:
    words = display.safe(str(text))
    for sign in "\\`*_{}[]<>#|":
        words = words.replace(sign, f"\\{sign}")
    return words


_ESCAPED = re.compile(r"\\([\\`*_{}\[\]<>#|])")  # as `_text` writes them
_CELL = re.compile(r"\|((?:\\.|[^|\\])*)(?=\|)")


def page(told: Mapping[str, Any]) -> str:
    """The report as one HTML file, without scripts, from `document`."""
    body = []
    rows = False
    for line in _lines(told):
        plain = html.escape(_ESCAPED.sub(r"\1", line))
        if line.startswith("|"):
            cells = [html.escape(_ESCAPED.sub(r"\1", cell.strip())) for cell in _CELL.findall(line)]
            if set(line) <= set("|-"):
                continue
            body.append("" if rows else "<table>")
            tag = "td" if rows else "th"
            body.append("<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>")
            rows = True
            continue
        if rows:
            body.append("</table>")
            rows = False
        body.append(_html_line(plain))
    return _PAGE.replace("TITLE", html.escape(told["incident"])).replace("BODY", "\n".join(body))


def _html_line(line: str) -> str:
    if line.startswith("## "):
        return f"<h2>{line[3:]}</h2>"
    if line.startswith("# "):
        return f"<h1>{line[2:]}</h1>"
    if line.startswith("- "):
        return f"<p class=item>{line[2:]}</p>"
    return "" if line.startswith("```") else f"<p>{line}</p>" if line else ""


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>TITLE</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;width:100%}
td,th{border:1px solid #8888;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}.item{margin:.2rem 0 .2rem 1rem}</style></head>
<body>
BODY
</body></html>
"""


def write_all(incident: Incident, records: Sequence[Record]) -> list[Path]:
    """All three, in the incident's folder."""
    paths = []
    for name, ending in (("markdown", "md"), ("html", "html"), ("json", "json")):
        path = incident.folder / f"report.{ending}"
        text = written(incident, records, name, closing=True)
        whole(str(path), lambda stream, text=text: stream.write(text))  # type: ignore[misc]
        paths.append(path)
    return paths


def written(incident: Incident, records: Sequence[Record], form: str, closing: bool = False) -> str:
    """The report in one of FORMATS. closing: as in `state_of`."""
    told = document(incident, records, closing)
    ways: Mapping[str, Callable[[], str]] = {
        "markdown": lambda: markdown(told), "html": lambda: page(told),
        "json": lambda: json.dumps(told, indent=2, sort_keys=True) + "\n",
    }  # fmt: skip
    return ways[form]()
