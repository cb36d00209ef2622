"""Grades what a pattern matched: is it a key, which one, and how sure is that?

A judge takes the data and the match, and answers with a Verdict, or None for what is no key.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fluxguard.detect import grade


class Match(Protocol):
    """What `re` and `regex` matches have in common."""

    def start(self, group: int | str = 0, /) -> int: ...
    def end(self, group: int | str = 0, /) -> int: ...
    def group(self, group: int | str = 0, /) -> bytes: ...
    def groupdict(self) -> dict[str, bytes | None]: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """A key: data[start:end]; environment as written in it, or ""; confidence `high`, `medium` or `low`."""

    start: int
    end: int
    environment: str
    confidence: str


KNOWN = ("dev", "stg", "prod", "ci")
_WORD = re.compile(rb"[A-Za-z0-9_]")
# What may stand before a key and looks like a letter of it: the end of an escape, or of an ANSI colour code.
_ESCAPE_BEFORE = re.compile(
    rb"(?:\\[nrtbfv0ae]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[0-7]{3}|%[0-9A-Fa-f]{2}|=[0-9A-F]{2}|\[[0-9;]{0,12}m)\Z"
)


def judge_key(data: bytes, match: Match) -> Verdict | None:
    """A `flux_<environment>_` key: by its checksum, else by its edges and by how random the body looks."""
    environment = match.group("environment").decode()
    start, end = match.start(), match.end()
    body = match.group("body")
    if grade.proves_itself(data[start : match.start("body")], body):
        return Verdict(start, match.start("body") + grade.CHECKED, environment, "high")
    if grade.is_placeholder(body):
        return None
    left = _clean_left(data, start)
    clean = left and data[end : end + 1] not in (b"_", b"-")
    if environment not in KNOWN:
        confidence = _of_unknown(environment, body, clean)
    elif _ANOTHER_WORD.search(data, max(0, start - 12), start):
        confidence = "low" if grade.looks_random(body) else ""
    else:
        confidence = _by_looks(body, left, clean)
    return Verdict(start, end, environment, confidence) if confidence else None


# `influx_dev_...`, `reflux_dev_...`: then it is about something else, unless the body is clearly random.
_ANOTHER_WORD = re.compile(rb"(?:\A|[^A-Za-z])(?:in|re|con|kon|ef|af|credi)\Z", re.IGNORECASE)
_HEXADECIMAL = re.compile(rb"[0-9a-f]+\Z|[0-9A-F]+\Z")
_DIGESTS = frozenset((32, 40, 48, 56, 64, 96, 128))  # hexadecimal digits of what is usually counted or hashed
# What stands before a digest or a number, and is no environment.
_NAMING = frozenset(
    [
        "blob",
        "build",
        "checksum",
        "chunk",
        "commit",
        "crc",
        "date",
        "digest",
        "etag",
        "guid",
        "hash",
        "id",
        "image",
        "job",
        "layer",
        "md5",
        "ref",
        "rev",
        "revision",
        "run",
        "sha",
        "sha1",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "span",
        "tag",
        "time",
        "timestamp",
        "trace",
        "tree",
        "ts",
        "uid",
        "uuid",
        "ver",
        "version",
    ]
)
_LIKE_ENVIRONMENTS = frozenset(
    [
        "acc",
        "acceptance",
        "alpha",
        "beta",
        "canary",
        "demo",
        "development",
        "e2e",
        "edge",
        "int",
        "integration",
        "live",
        "local",
        "nightly",
        "preprod",
        "preview",
        "production",
        "qa",
        "sandbox",
        "sbx",
        "stage",
        "staging",
        "test",
        "testing",
        "tst",
        "uat",
    ]
)


def _of_unknown(environment: str, body: bytes, clean: bool) -> str:
    """The confidence of a key whose environment is none that FluxLoop names; "" for an identifier with a digest, say."""
    if not grade.looks_random(body):
        return ""
    naming = environment in _NAMING
    if _HEXADECIMAL.match(body) and environment not in _LIKE_ENVIRONMENTS:
        return "" if naming or len(body) in _DIGESTS else "low"
    return "medium" if clean and not naming else "low"


def _by_looks(body: bytes, left: bool, clean: bool) -> str:
    """The confidence of a body without checksum; "" for a word. left: nothing is glued to its left; clean: nor to its right."""
    if clean:
        if grade.may_be_random(body):
            return "medium"
        # Words of one case, perhaps with a number behind them, are a name, and so are words in camel case. With a digit among
        # them or any other change of case it may still be a key, unless it is clearly written.
        words = body.rstrip(b"0123456789")
        plain = words.isalpha() and (words.islower() or words.isupper())
        written = grade.is_name(body) if plain else grade.is_written(body) or grade.is_camel(body)
        return "" if written else "low"
    if grade.looks_random(body):
        return "medium"
    return "low" if grade.may_be_random(body) or (left and not grade.is_name(body)) else ""


def _clean_left(data: bytes, start: int) -> bool:
    return (
        not _WORD.match(data, start - 1) or bool(_ESCAPE_BEFORE.search(data, max(0, start - 16), start))
        if start
        else True
    )


@functools.lru_cache(maxsize=1)  # a text may hold very many such keys
def _names_fluxloop(data: bytes) -> bool:
    return b"fluxloop" in data.lower()


def judge_legacy(data: bytes, match: Match) -> Verdict | None:
    """`flx_` and `fl_sk_` keys: only where the body may be random; surer where FluxLoop is named in the same text."""
    body = match.group("body")
    if grade.is_placeholder(body) or not (grade.may_be_random(body) or grade.alternates(body)):
        return None
    at_home = _names_fluxloop(data)
    whole = data[match.start() : match.end()]
    documented = whole.startswith(
        (b"flx_api_", b"flx_sa_", b"flx_dev_", b"flx_staging_", b"flx_prod_", b"flx_refresh_", b"fl_sk_")
    )
    if not documented and not at_home:
        return None
    environment = (match.groupdict().get("environment") or b"").decode()
    return Verdict(match.start(), match.end(), environment, "medium" if at_home else "low")


_RUNS = re.compile(rb"[A-Za-z0-9]+")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_CERTAIN = 20.0  # bits


def judge_value(data: bytes, match: Match) -> Verdict | None:
    """A value beside a telling name: only where it looks random, and is neither a reference nor a mask."""
    value = _trimmed(match.group("value"))
    start = match.start("value")
    if (
        b"..." in value
        or b"**" in value
        or b"://" in value
        or data[start - 1 : start] in (b"$", b"{", b"<", b"%")
    ):
        return None
    if data[start + len(value) : start + len(value) + 1] in (b"(", b"[", b"$", b"{"):  # a call, a reference
        return None
    runs = _RUNS.findall(value)
    long = [run for run in runs if len(run) >= 12]
    if not (_UUID.match(value) or _in_groups(runs)) and (
        not any(map(_counts_as_value, long)) or all(grade.is_placeholder(run) for run in runs)
    ):
        return None
    best = max(map(grade.randomness, long), default=0.0)
    return Verdict(start, start + len(value), "", "medium" if best > _CERTAIN else "low")


def _trimmed(value: bytes) -> bytes:
    """Without the punctuation of a sentence or an assignment behind it; the padding of base64 stays."""
    bare = value.rstrip(b".,:!=")
    padding = b"=" * (-len(bare) % 4)
    return bare + padding if value[len(bare) :].rstrip(b".,:!") == padding else bare


def _counts_as_value(run: bytes) -> bool:
    """Whether chance made it; where letters and digits take turns, as they do not in names, doubt is enough."""
    surprise = grade.randomness(run)
    return surprise > grade.RANDOM or (surprise > grade.DOUBTFUL and grade.alternates(run))


def _in_groups(runs: list[bytes]) -> bool:
    """Whether a value is random, and in groups of the same length: `t8Zq-3LmX-...`."""
    whole = b"".join(runs)
    alike = len(runs) >= 3 and len(set(map(len, runs))) == 1 and 3 <= len(runs[0]) <= 8
    return alike and len(whole) >= 16 and grade.alternates(whole, 3) and grade.looks_random(whole)


def judge_plain(data: bytes, match: Match) -> Verdict | None:
    """A team's own rule: what it matches is a finding; the group `secret`, where there is one, is the key."""
    group: int | str = "secret" if match.groupdict().get("secret") is not None else 0
    return Verdict(match.start(group), match.end(group), "", "medium")


JUDGES: dict[str, Callable[[bytes, Match], Verdict | None]] = {
    "key": judge_key,
    "legacy": judge_legacy,
    "value": judge_value,
    "plain": judge_plain,
}
