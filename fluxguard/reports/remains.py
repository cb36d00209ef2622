"""Who can still see a key, and what remains to be cleaned: from the traces of its places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fluxguard.model import Finding, Location, Report
from fluxguard.reports.advice import KEYS_PAGE, has_command
from fluxguard.reports.shell import quoted

BESIDE = ("file", "git-file", "lfs-object", "index", "reflog", "ref-name")
_GROUPS = (
    (b"refs/heads/", "branch"),
    (b"refs/remotes/", "remote"),
    (b"refs/tags/", "tag"),
    (b"refs/stash", "stash"),
    (b"refs/notes/", "notes"),
    (b"refs/pull/", "pull request"),
    (b"refs/merge-requests/", "pull request"),
    (b"refs/changes/", "pull request"),
)
_PUBLIC = ("remote", "pull request")
_MOST = 4  # names in one command


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do: a sentence, and commands ready to be copied."""

    what: str
    commands: tuple[str, ...] = ()


def grouped(refs: Iterable[bytes]) -> dict[str, list[bytes]]:
    """Refs by what they are (`branch`, `remote`, `tag`, `stash`, ..., `other`), each without its folder."""
    found: dict[str, list[bytes]] = {}
    for ref in refs:
        prefix, colon, name = ref.rpartition(b":")
        folder, group = next((pair for pair in _GROUPS if name.startswith(pair[0])), (b"", "other"))
        short = name.removeprefix(folder) or name
        found.setdefault(group, []).append(prefix + colon + short)
    order = [group for _, group in _GROUPS] + ["other"]
    return {group: found[group] for group in dict.fromkeys(order) if group in found}


def pushed(place: Location) -> list[bytes]:
    """The remote-tracking refs, and refs of pull requests, that lead to a place: others have it."""
    if place.trace is None:
        return []
    groups = grouped(place.trace.refs)
    return [name for group in _PUBLIC for name in groups.get(group, ()) if not name.endswith(b"/HEAD")]


def was_pushed(finding: Finding) -> bool:
    """Whether any of its places is known to be with others."""
    return any(pushed(place) for place in finding.locations)


def is_live(finding: Finding) -> bool:
    """Whether it still stands in the tip of a branch, tag or remote-tracking ref."""
    return any(place.trace is not None and place.trace.tips for place in finding.locations)


def seen_in(finding: Finding | None) -> dict[str, list[bytes]]:
    """Where a key can be seen: `tips`, `history` (refs whose tip holds it no more), `pushed`, `logs`, `unreachable`
    (object ids), `beside` (files)."""
    found: dict[str, dict[bytes, None]] = {
        name: {} for name in ("tips", "history", "pushed", "logs", "unreachable", "beside")
    }
    for place in finding.locations if finding else ():
        trace = place.trace
        if trace is None:
            found["beside"][place.path or place.object.encode()] = None
            continue
        found["tips"].update(dict.fromkeys(trace.tips))
        found["history"].update(dict.fromkeys(trace.refs))
        found["pushed"].update(dict.fromkeys(pushed(place)))
        if not trace.refs:
            found["logs"].update(dict.fromkeys(trace.logs))
            if not trace.logs:
                found["unreachable"][place.object.encode()] = None
    found["history"] = {name: None for name in found["history"] if name not in found["tips"]}
    return {name: sorted(names) for name, names in found.items()}


def cleaning(report: Report, finding: Finding | None) -> list[Step]:
    """What remains to be done about a key, in this order."""
    if finding is None:
        return []
    places = [place for place in finding.locations if place.suppressed is None]
    return [*_kill(report, [finding]), *clean_places(report, finding, places)]


def next_steps(report: Report) -> list[Step]:
    """What remains to be done after an audit that found keys."""
    blocking = [finding for finding in report.findings if finding.blocks]
    places = [place for one in blocking for place in one.locations if place.suppressed is None]
    if not blocking:
        return []
    return [
        *_kill(report, blocking),
        _who(report, blocking),
        *clean_places(report, blocking[0], places),
        _false_alarm(),
    ]


def _kill(report: Report, findings: list[Finding]) -> list[Step]:
    leaked = sorted(findings, key=lambda finding: not was_pushed(finding))
    several = len(findings) > 1
    it = "them" if several else "it"
    if any(was_pushed(finding) for finding in findings):
        why = f"{'Keys were' if several else 'It was'} pushed: others may have {it}."
    else:
        here = "one of these repositories" if len(report.beside) > 1 else "this repository"
        why = f"Whoever has a copy of {here} has {it}."
    if has_command("respond"):
        commands = [f"fluxguard respond start --finding {one.secret.fingerprint[:20]}" for one in leaked]
        more = ("# and so on, for each key",) if len(commands) > _MOST else ()
        return [
            Step(
                f"{why} Make {it} worthless first; cleaning alone does not help:", (*commands[:_MOST], *more)
            )
        ]
    return [Step(f"{why} Regenerate {it} first; cleaning alone does not help:", (KEYS_PAGE,))]


def _who(report: Report, findings: list[Finding]) -> Step:
    first = min(findings, key=lambda finding: not was_pushed(finding))
    held = dict.fromkeys(place.repository for place in first.locations if place.repository)
    where = list(held)[:_MOST] or [report.target]
    repository = "".join(
        f" {quoted(name.encode('utf-8', 'surrogateescape'))}" for name in where if name != "."
    )
    command = f"fluxguard audit{repository} --explain {first.secret.fingerprint[:16]}"
    return Step("See who brought it, when, and who can see it:", (command,))


def clean_places(report: Report, finding: Finding, places: list[Location]) -> list[Step]:
    """How to get a key out of these places."""
    traces = [(place, place.trace) for place in places if place.trace is not None]
    steps: list[Step] = []
    tips = [
        place
        for place, trace in traces
        if place.kind == "blob" and grouped(trace.tips).keys() - {"stash", "other"}
    ]
    if tips:
        masks = report.masks()
        paths = sorted({place.path for place in tips if not masks.stand_in(place.path)})
        named = f": {_named(paths)}" if paths else ""
        steps.append(Step(f"Take it out of the files that still hold it, and commit that{named}."))
    if any(trace.refs and grouped(trace.refs).keys() - {"stash"} for _, trace in traces):
        steps.append(_history(finding))
    if any("stash" in grouped(trace.tips) or grouped(trace.refs).keys() == {"stash"} for _, trace in traces):
        steps.append(
            Step(
                "A stash holds it. Look which one, and drop it:",
                ("git stash list", "git stash drop stash@{N}"),
            )
        )
    if any(pushed(place) for place in places):
        steps.append(
            Step(
                "A rewritten history has to be pushed by force, every clone made anew, and the host asked to drop its "
                "caches and the refs of pull requests."
            )
        )
    hidden = [trace for _, trace in traces if not trace.refs]
    if hidden:
        steps.append(_unreferenced(sorted({log for trace in hidden for log in trace.logs})))
    steps += _files(places)
    return steps


def _unreferenced(logs: list[bytes]) -> Step:
    """Never `--all`: that would drop every stash but the newest."""
    shown = " ".join(quoted(log) for log in logs[:_MOST] if not log.endswith(b"refs/stash"))
    expire = (f"git reflog expire --expire=now --expire-unreachable=now {shown}",) if shown else ()
    return Step(
        "No ref leads to some of it, but this copy still has it. Nothing that no ref leads to survives this; then make "
        "git drop it:",
        (*expire, "git gc --prune=now"),
    )


def _history(finding: Finding) -> Step:
    if has_command("respond"):
        return Step(
            "Then the history can be cleaned of it:",
            (f"fluxguard respond start --clean-history --finding {finding.secret.fingerprint[:20]}",),
        )
    return Step("Then the history can be rewritten without it (git filter-repo), for all who still fetch it.")


def _files(places: list[Location]) -> list[Step]:
    beside = [place for place in places if place.trace is None and place.kind in BESIDE]
    trees = sorted({place.path for place in beside if place.kind == "file"})
    others = sorted({place.path for place in beside if place.kind != "file"})
    steps = []
    if others:
        steps.append(Step(f"It also stands beside the history: {_named(others)}. Take it out there, too."))
    if trees:
        steps.append(
            Step(
                f"The working tree holds it: {_named(trees)}. A file that git ignores may; it needs the new key, "
                "once there is one."
            )
        )
    return steps


def _named(names: list[bytes]) -> str:
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return ", ".join(quoted(name) for name in names[:_MOST]) + more


def _false_alarm() -> Step:
    return Step(
        "A false alarm? Allow its path in .fluxguard.toml ([[allow]]), or its fingerprint in the baseline, with a reason."
    )
