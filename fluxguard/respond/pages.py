"""The report of an incident for people, from `evidence.document`: Markdown, and one HTML file without scripts."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fluxguard import display
from fluxguard.respond.telling import TITLES, moved, replaced, told, use_since, waits_for
from fluxguard.words import count

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


def markdown(told: Mapping[str, Any]) -> str:
    """The report for people, from `document`."""
    return "\n".join(_lines(told)) + "\n"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Incident {data['incident']}"
    yield ""
    yield from _head(data)
    yield from _waiting(data)
    yield from _exposed(data["steps"])
    yield from _uses(data["steps"].get("assess", {}))
    yield "## What was done"
    yield ""
    yield "| when | what | result |"
    yield "|---|---|---|"
    for one in data["timeline"]:
        if one["phase"] in ("done", "waiting", "failed"):
            title = _text(TITLES.get(one["step"], one["step"]))
            state = "" if one["phase"] == "done" else f" ({one['phase']})"
            yield f"| {one['time']} | {title}{state} | {_cell(one)} |"
    yield ""
    yield from _history(data["steps"])
    yield from _own_clone(data["steps"])
    yield from _left(data)


def _head(data: Mapping[str, Any]) -> Iterator[str]:
    by = f", by {_text(data['by'])}" if data.get("by") else ""
    yield f"State: **{data['state']}**. Key {_code(data['key']['masked'])}, environment {_text(data['key']['environment'])}."
    yield ""
    yield f"- Its fingerprint, by which it can be looked for: {_code(data['key']['fingerprint'])}"
    yield f"- Repository: {_code(data['repository'])}"
    yield f"- Platform: {_code(data['platform'])}"
    yield f"- Opened: {data['opened_at']}{by}"
    yield ""


def _waiting(data: Mapping[str, Any]) -> Iterator[str]:
    """What the incident stands still for."""
    waits = data.get("waits_for")
    if not waits:
        return
    yield "## Where it stands"
    yield ""
    yield f"At the step: {_text(TITLES.get(waits['step'], waits['step']))}"
    yield ""
    yield _text(waits["reason"][:1].upper() + waits["reason"][1:])
    yield ""
    for number, one in enumerate(waits["todo"], 1):
        yield f"{number}. {_text(one)}"
    if waits["todo"]:
        yield ""
    yield f"It goes on with {_code('fluxguard respond resume ' + data['incident'])}."
    yield ""


# Kinds of places, as in the audit's report.
_KINDS: Mapping[str, str] = {
    "blob": "files of the history", "file": "files in the working tree", "path": "names of files", "commit-message": "messages of commits",
    "commit-header": "headers of commits", "tag-message": "messages of tags", "ref-name": "names of branches and tags", "reflog": "git's logs of refs",
    "index": "git's index", "git-file": "git's own files", "lfs-object": "files of Git LFS",
}  # fmt: skip


def _exposed(steps: Mapping[str, Any]) -> Iterator[str]:
    verify, assess = steps.get("verify", {}), steps.get("assess", {})
    yield "## What was exposed"
    yield ""
    if assess.get("places"):
        kinds = ", ".join(_text(_KINDS.get(one, one)) for one in assess["kinds"])
        yield f"- The key stands in {count(assess['places'], 'place')} of this repository: {kinds}."
        if assess.get("commit"):
            yield f"- First brought by commit {_code(assess['commit'][:12])}, {_text(assess['author'])}, {assess['since']}, in {_code(assess['path'])}."
        pushed = ", ".join(_code(name) for name in assess["pushed"])
        yield f"- Pushed: {pushed or 'as far as this clone knows, to no remote'}."
    elif assess:
        yield "- The audit found it nowhere in this repository."
    if verify.get("key_id"):
        name = f" ({_text(verify['name'])})" if verify.get("name") else ""
        may = _text(", ".join(verify["permissions"]) or "do nothing")
        yield f"- On the platform it is {_code(verify['key_id'])}{name}, {_text(verify['status'])} when asked."
        yield f"- Whoever has it may: {may}. Scope: {_scope(verify)}. It expires: {verify.get('expires_at') or 'never'}."
        yield f"- Last used: {verify.get('last_used_at') or 'never'}."
    elif verify:
        yield f"- What the platform says of it: {_text(verify.get('how', verify['status']))}."
    if assess:
        yield f"- Use since then: {_text(use_since(assess))}."
        if assess.get("unused"):
            yield f"- Permissions that no recorded use ever needed: {_text(', '.join(assess['unused']))}."
    yield ""


def _scope(verify: Mapping[str, Any]) -> str:
    scope = verify.get("scope", "not known")
    if isinstance(scope, str):
        return "all projects" if scope == "all" else _text(scope)
    return _text(", ".join(map(str, scope)) or "no project")


_USES = 30  # rows of the table, the last


def _uses(assess: Mapping[str, Any]) -> Iterator[str]:
    """The uses since the leak, beside who used the key before it."""
    if not assess.get("timeline"):
        return
    known = {(one.get("address"), one.get("user_agent")) for one in assess.get("known", ())}
    yield "## Who used it since"
    yield ""
    yield "| when | from | client | requests | before the leak |"
    yield "|---|---|---|---|---|"
    for one in assess["timeline"][-_USES:]:
        before = "used it, too" if (one.get("address"), one.get("user_agent")) in known else "never seen"
        cells = (one.get("t", ""), one.get("address", ""), one.get("user_agent", ""), one.get("count", 1))
        yield f"| {' | '.join(map(_text, cells))} | {before if known else 'nobody used it'} |"
    yield ""


_MOST_COMMITS = 8


def _left(data: Mapping[str, Any]) -> Iterator[str]:
    yield "## What is left"
    yield ""
    for line in data["left"] or ["Nothing that fluxguard knows of on this machine and on the remote."]:
        yield f"- {_text(line)}"
    yield ""
    yield "Out of reach from here, and to be asked for:"
    yield ""
    steps = data["steps"]
    banned = steps.get("rewrite", {}).get("banned", ())
    first = steps.get("assess", {}).get("commit")
    commits = [one[:12] for one in banned or filter(None, [first])]
    for title, words in ELSEWHERE:
        if banned or title != OTHERS:  # the instructions below name the commits
            yield f"- **{title}**: {_text(words)}."
    if commits:
        more = ", ..." if len(commits) > _MOST_COMMITS else ""
        yield ""
        yield f"The commits that brought the key: {', '.join(map(_code, commits[:_MOST_COMMITS]))}{more}."
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
        yield f"- In a new mirror of the remote: {'the key stands nowhere' if not proof['left'] else 'it still stands there, see below'}. {'; '.join(proof['read'].values())}."
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


def _cell(one: Mapping[str, Any]) -> str:
    """What came of a step."""
    data = one["data"]
    if one["phase"] != "done":
        return _text(" ".join(filter(None, (waits_for(data), str(data.get("hint", ""))))))
    return _text("; ".join(told(one["step"], data)))


def _code(text: object) -> str:
    return f"`{display.safe(str(text)).replace('`', chr(39))}`"


def _text(text: object) -> str:
    words = display.safe(str(text))
    for sign in "\\`*_{}[]<>#|":
        words = words.replace(sign, f"\\{sign}")
    return words


# As `_text`, `_code` and `_lines` write them.
_INLINE = re.compile(r"\\([\\`*_{}\[\]<>#|])|`([^`]*)`|\*\*(.+?)\*\*")
_CELL = re.compile(r"\|((?:\\.|[^|\\])*)(?=\|)")


def page(told: Mapping[str, Any]) -> str:
    """The report as one HTML file, without scripts, from `document`."""
    body: list[str] = []
    rows = fenced = False
    for line in _lines(told):
        if line.startswith("```"):
            fenced = not fenced
            body.append("<pre>" if fenced else "</pre>")
        elif fenced:
            body.append(html.escape(line))
        elif line.startswith("|"):
            if not set(line) <= set("|-"):
                body.append(_row(line, "td" if rows else "th"))
                rows = True
        else:
            body += ["</table>"] * rows + [_html_line(line)]
            rows = False
    return _PAGE.replace("TITLE", html.escape(told["incident"])).replace(
        "BODY", "\n".join(filter(None, body))
    )


def _row(line: str, tag: str) -> str:
    """A row of a table; the first begins it."""
    cells = "".join(f"<{tag}>{_inline(cell.strip())}</{tag}>" for cell in _CELL.findall(line))
    return f"{'<table>' if tag == 'th' else ''}<tr>{cells}</tr>"


def _html_line(line: str) -> str:
    if line.startswith("## "):
        return f"<h2>{_inline(line[3:])}</h2>"
    if line.startswith("# "):
        return f"<h1>{_inline(line[2:])}</h1>"
    if line.startswith("- ") or _NUMBERED.match(line):
        return f"<p class=item>{_inline(line.removeprefix('- '))}</p>"
    return f"<p>{_inline(line)}</p>" if line else ""


_NUMBERED = re.compile(r"[0-9]+\. ")


def _inline(text: str) -> str:
    """A line of Markdown, of the kind that is written here, as HTML."""
    parts, at = [], 0
    for match in _INLINE.finditer(text):
        sign, code, bold = match.groups()
        parts.append(html.escape(text[at : match.start()]))
        if sign is not None:
            parts.append(html.escape(sign))
        else:
            tag = "code" if code is not None else "strong"
            parts.append(f"<{tag}>{html.escape(code if code is not None else bold)}</{tag}>")
        at = match.end()
    return "".join([*parts, html.escape(text[at:])])


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>TITLE</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;width:100%}
td,th{border:1px solid #8888;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}code,pre{font-size:.9em;overflow-wrap:anywhere}pre{white-space:pre-wrap}.item{margin:.2rem 0 .2rem 1rem}</style></head>
<body>
BODY
</body></html>
"""
