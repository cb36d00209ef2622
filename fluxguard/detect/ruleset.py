"""Rules from data: loaded, checked, proved against their own examples.

A rule file is TOML with `[[rule]]` tables: `id`, `description`, `pattern` (for the `regex` module, on bytes),
`literals` (one of them stands in all that the pattern matches), `examples`, `lookalikes`, `advice`, and optionally
`judge` and `paths`. In examples the sign `¦` stands for nothing, so that a rule file need not hold a whole key.
"""

from __future__ import annotations

import functools
import os
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import regex

from fluxguard import rules
from fluxguard.detect.judge import JUDGES, Verdict
from fluxguard.errors import UsageError

PATIENCE = 30.0  # seconds that all configured rules together may take, and one more for each MB they look at
TIMEOUT = 5.0  # seconds that one pattern may take on one text
PROOF_TIMEOUT = 1.0
NOTHING = "¦"
_FIELDS = {"id", "description", "pattern", "literals", "examples", "lookalikes", "advice", "judge", "paths"}


class TooSlow(Exception):
    """A pattern ran into its time limit."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. literals: bytes; paths: globs the path has to match, none for all."""

    id: str
    description: str
    advice: str
    pattern: regex.Pattern[bytes]
    literals: tuple[bytes, ...]
    examples: tuple[str, ...]
    lookalikes: tuple[str, ...]
    judge: str = "plain"
    paths: tuple[str, ...] = ()
    built_in: bool = False
    compiled_paths: tuple[regex.Pattern[bytes], ...] = field(default=())

    def looks_into(self, data: bytes) -> bool:
        """Whether one of its literals stands there."""
        return any(literal in data for literal in self.literals)

    def find(self, data: bytes, timeout: float | None = None) -> Iterator[Verdict]:
        """The keys in `data`. Raises TooSlow after `timeout` seconds of work (TIMEOUT by default)."""
        if not self.looks_into(data):
            return
        decide = JUDGES[self.judge]
        at = 0
        try:
            for match in self.pattern.finditer(data, timeout=timeout or TIMEOUT):
                if match.start() < at:
                    continue
                verdict = decide(data, match)
                if verdict is not None and verdict.end > verdict.start:
                    at = verdict.end
                    yield verdict
        except TimeoutError:
            raise TooSlow(self.id) from None

    def concerns(self, path: bytes) -> bool:
        """Whether the rule looks into files of this path."""
        return not self.compiled_paths or any(covers(glob, path) for glob in self.compiled_paths)


def glob_pattern(glob: str) -> regex.Pattern[bytes]:
    """An expression for a path glob, see `glob_text`."""
    return regex.compile(glob_text(glob), regex.DOTALL)


def glob_text(glob: str) -> bytes:
    """A path glob as the text of an expression: `*` within a part, `**/` over parts, `?`, everything else as it is.

    A glob without a slash matches at any depth, as in .gitignore; one that ends in a slash matches all below it.
    """
    if "/" not in glob.rstrip("/"):
        glob = "**/" + glob
    if glob.endswith("/"):
        glob += "**"
    parts = regex.split(r"(\*\*/|\*\*|\*|\?)", glob.lstrip("/"))
    table = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text = "".join(table.get(part, regex.escape(part, special_only=True)) for part in parts)
    return text.encode("utf-8", "surrogateescape")


def covers(glob: regex.Pattern[bytes], path: bytes) -> bool:
    """Whether a path glob matches. Raises UsageError where it takes too long: a repository may have made it so."""
    try:
        return glob.fullmatch(path, timeout=PROOF_TIMEOUT) is not None
    except TimeoutError:
        raise UsageError(
            "A path pattern of the configuration takes too long: it has too many stars.",
            "Look through `paths` and `path` in .fluxguard.toml; --no-repo-config ignores that file.",
        ) from None


@functools.cache
def built_in() -> tuple[Rule, ...]:
    """The rules that come with fluxguard. Read once: whoever reports thousands of keys asks for each."""
    return tuple(
        load(table, "built-in rule", built_in=True) for table in tomllib.loads(_built_in_text())["rule"]
    )


def _built_in_text() -> str:
    """From wherever the package lies, a zip file too. `importlib.resources` does the same and takes 6 ms to import."""
    loader: Any = rules.__loader__
    data: bytes = loader.get_data(os.path.join(os.path.dirname(rules.__file__), "fluxloop.toml"))
    return data.decode("utf-8")


def load(table: Mapping[str, Any], where: str, built_in: bool = False) -> Rule:
    """A rule from its table. Raises UsageError that says what is wrong with it, and where."""
    identity = table.get("id")
    if not isinstance(identity, str) or not regex.fullmatch(r"[a-z0-9][a-z0-9-]{1,63}", identity):
        raise UsageError(
            f"{where}: a rule needs an id of lower-case letters, digits and hyphens.",
            'For example: id = "acme-token"',
        )
    where = f"{where}, rule {identity}"
    unknown = sorted(set(table) - _FIELDS)
    if unknown:
        raise UsageError(
            f"{where}: unknown field {unknown[0]!r}.", f"A rule may have: {', '.join(sorted(_FIELDS))}."
        )
    judge = table.get("judge", "plain")
    if judge not in JUDGES or (judge != "plain" and not built_in):
        raise UsageError(f"{where}: unknown judge.", "Leave `judge` out.")
    paths = _strings(table, "paths", where)
    rule = Rule(
        id=identity,
        description=_string(table, "description", where) or identity,
        advice=_string(table, "advice", where),
        pattern=_compile(table, where),
        literals=_literals(table, where),
        examples=_strings(table, "examples", where),
        lookalikes=_strings(table, "lookalikes", where),
        judge=judge,
        paths=paths,
        built_in=built_in,
        compiled_paths=tuple(glob_pattern(glob) for glob in paths),
    )
    if not built_in:
        _refuse_unproved(rule, where)
    return rule


def _compile(table: Mapping[str, Any], where: str) -> regex.Pattern[bytes]:
    text = _string(table, "pattern", where)
    if not text:
        raise UsageError(f"{where}: no pattern.", "Add: pattern = '...'")
    try:
        pattern = regex.compile(text.encode())
    except regex.error as error:
        raise UsageError(f"{where}: the pattern is no regular expression: {error}.") from None
    except (RecursionError, OverflowError, MemoryError):
        raise UsageError(f"{where}: the pattern is nested too deeply.", "Make it simpler.") from None
    if pattern.search(b"", timeout=PROOF_TIMEOUT) is not None:
        raise UsageError(
            f"{where}: the pattern matches the empty text.", "It would match everywhere: make it longer."
        )
    return pattern


def _literals(table: Mapping[str, Any], where: str) -> tuple[bytes, ...]:
    literals = tuple(text.encode() for text in _strings(table, "literals", where))
    if not literals or any(not 3 <= len(literal) <= 64 for literal in literals):
        raise UsageError(
            f"{where}: a rule needs literals of 3 to 64 characters.",
            "They are looked for first: one of them has to stand in everything that the pattern matches.",
        )
    return literals


def _string(table: Mapping[str, Any], name: str, where: str) -> str:
    value = table.get(name, "")
    if not isinstance(value, str):
        raise UsageError(f"{where}: `{name}` has to be a string.")
    return value


def _strings(table: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where}: `{name}` has to be a list of strings.")
    return tuple(value)


def _refuse_unproved(rule: Rule, where: str) -> None:
    if not rule.examples:
        raise UsageError(
            f"{where}: no examples.", "Add at least one text that the rule has to find: examples = ['...']"
        )
    for failure in prove(rule):
        raise UsageError(f"{where}: {failure}.", "See: fluxguard rules test")


def prove(rule: Rule) -> Iterator[str]:
    """What is wrong with a rule, by its own examples; nothing where it holds. Says which example, never its text."""
    texts = [(example, f"example {number}", True) for number, example in enumerate(rule.examples, 1)]
    texts += [(example, f"look-alike {number}", False) for number, example in enumerate(rule.lookalikes, 1)]
    started = time.monotonic()
    for example, name, wanted in texts:
        if time.monotonic() - started > TIMEOUT:
            yield f"its examples take more than {TIMEOUT:.0f} seconds"
            return
        yield from _prove_one(rule, example, name, wanted)


def _prove_one(rule: Rule, example: str, name: str, wanted: bool) -> Iterator[str]:
    data = example.replace(NOTHING, "").encode()
    if wanted and not any(literal in data for literal in rule.literals):
        yield f"{name} holds none of the rule's literals"
        return
    try:
        found = any(True for _ in rule.find(data, PROOF_TIMEOUT))
        # Something long that nearly matches shows a pattern that backtracks.
        rule.pattern.search((data + b" ") * 50 + data[:-1] * 20 + b"!" * 50, timeout=PROOF_TIMEOUT)
    except (TooSlow, TimeoutError):
        yield f"the pattern takes more than {PROOF_TIMEOUT:.0f} second on {name}: it backtracks"
        return
    if found != wanted:
        yield f"{name} is {'not ' if wanted else ''}found"
