"""Configuration: the user's own, the repository's, and who may decide what.

`.fluxguard.toml`, or `[tool.fluxguard]` in pyproject.toml, belongs to the repository, which may be hostile. It may add
rules, let the keys of dev, stg and ci and findings of low confidence warn only, allow paths, and accept what can't be
read, all of which the report shows. It may not switch the guard off: see `_refuse_from_repository`. It may not set limits
at all: what a lower limit leaves unread, it could accept. The user's own file
(`--config`, FLUXGUARD_CONFIG, or ~/.config/fluxguard/config.toml) may do everything.
"""

from __future__ import annotations

import json
import os
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fluxguard import breadth, secretpaths, settings
from fluxguard.detect.engine import Limits
from fluxguard.detect.ruleset import PATIENCE, Rule, built_in, covers, glob_pattern, load
from fluxguard.errors import UsageError
from fluxguard.model import Suppression

SEVERITIES = ("block", "warn")
ENVIRONMENTS = ("dev", "stg", "prod", "ci")
CONFIDENCES = ("high", "medium", "low")
BASELINE_SCHEMA = "fluxguard.baseline/1"
_TOP = {"severity", "allow", "baseline", "accept-unread", "limits", "rules", "platform", "gitignore"}
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LARGEST_FILE = 1 << 20
_OF_A_LIMIT = re.compile(r"than the limit|nested in more than")
_MOST_DOTS = 2_000  # in a line: what tomllib takes for a dotted key grows with their square


@dataclass(frozen=True, slots=True)
class Allowed:
    """Paths, or objects by their ids, in which findings are suppressed. rules: ids it is limited to, none for all."""

    globs: tuple[str, ...]
    rules: tuple[str, ...]
    reason: str
    matchers: tuple[Any, ...] = ()
    objects: frozenset[str] = frozenset()

    def covers(self, path: bytes, rule: str) -> bool:
        """Whether a finding of `rule` at `path` is suppressed."""
        return self._concerns(rule) and any(covers(matcher, path) for matcher in self.matchers)

    def names(self, object: str, rule: str) -> bool:
        """Whether a finding of `rule` in an object is suppressed."""
        return self._concerns(rule) and object in self.objects

    def _concerns(self, rule: str) -> bool:
        return not self.rules or rule in self.rules


@dataclass(frozen=True, slots=True)
class Accepted:
    """Something that may stay unread, by path glob or object id, for a reason. repository: it is the repository that says so."""

    path: str
    object: str
    reason: str
    matcher: Any = None
    repository: bool = False

    def covers(self, where: bytes, object: str) -> bool:
        """Whether it is about what stands at `where` with the id `object`."""
        if self.object:
            return bool(object) and object == self.object
        return self.matcher is not None and covers(self.matcher, where)


@dataclass(frozen=True, slots=True)
class Config:
    """All that was configured. sources: the files it comes from."""

    severity: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[Allowed, ...] = ()
    accept: tuple[Accepted, ...] = ()
    baseline: Mapping[str, str] = field(default_factory=dict)
    baseline_path: str = ""
    rules: tuple[Rule, ...] = ()
    limits: Limits = field(default_factory=Limits)
    largest: int = settings.LARGEST
    secret_paths: tuple[secretpaths.SecretPath, ...] = ()
    no_secrets: tuple[secretpaths.Excepted, ...] = ()
    sources: tuple[str, ...] = ()

    def severity_of(self, rule: str, environment: str, confidence: str) -> str:
        """`block` or `warn`: what is said of the rule counts before the environment, and that before the confidence."""
        for name in (rule, environment, confidence):
            if name and name in self.severity:
                return self.severity[name]
        return "block"

    def suppression(self, path: bytes, rule: str, fingerprint: str, object: str = "") -> Suppression | None:
        """Why a finding at `path`, in the object of that id, does not count, or None."""
        if fingerprint in self.baseline:
            return Suppression("baseline", self.baseline[fingerprint])
        for allowed in self.allow:
            if path and allowed.covers(path, rule):
                return Suppression("path", allowed.reason)
            if object and allowed.names(object, rule):
                return Suppression("object", allowed.reason)
        return None

    def acceptance(self, where: bytes, object: str, why: str = "") -> str | None:
        """The reason for which something may stay unread, or None. why: it was not read.

        What only the user's own, lower limits leave unread, a repository may not accept: it could hide a key there.
        """
        foreign = not (self._limits_lowered() and _OF_A_LIMIT.search(why))
        entries = (accepted for accepted in self.accept if foreign or not accepted.repository)
        return next((accepted.reason for accepted in entries if accepted.covers(where, object)), None)

    def _limits_lowered(self) -> bool:
        usual = Limits()
        return self.largest < settings.LARGEST or any(
            getattr(self.limits, name) < getattr(usual, name) for name in ("depth", "expanded", "total")
        )


def load_config(root: str | None, named: str | None = None, trust_repository: bool = True) -> Config:
    """The configuration for a repository at `root`. Raises UsageError that says which file, which entry, what to do.

    named: the file given with --config, which counts as the user's own.
    """
    config = Config()
    own = named or settings.user_file()
    if own:
        config = _merge(config, _read(own), own, from_repository=False)
    if root is not None and trust_repository:
        path, table = _repository_table(root)
        if table:
            config = _merge(config, table, path, from_repository=True)
        config = _with_baseline(config, root)
    return config


def baseline_of(root: str) -> str:
    """The baseline's name in a repository's configuration, "" where it names none. Raises UsageError as `load_config`."""
    path, table = _repository_table(root)
    name: str = _one(table, "baseline", str, path) or ""
    _refuse_elsewhere(name, path)
    return name


def _repository_table(root: str) -> tuple[str, Mapping[str, Any]]:
    path = os.path.join(root, settings.FILE)
    if os.path.lexists(path):
        return settings.FILE, _read(path, settings.FILE)
    if settings.project_table(root):
        table = (
            _read(os.path.join(root, settings.PROJECT), settings.PROJECT).get("tool", {}).get("fluxguard", {})
        )
        return f"{settings.PROJECT} [tool.fluxguard]", table
    return "", {}


def _text(path: str, shown: str) -> bytes:
    """A configuration file's bytes: regular files of a sensible size only, for the repository may be hostile."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(fd, "rb") as stream:
            if not os.path.isfile(path):
                raise UsageError(
                    f"{shown} is not a regular file.", "Put the configuration into a plain file."
                )
            data = stream.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(
            f"{shown} can't be read: {error.strerror}.", "Check its name and its permissions."
        ) from None
    if len(data) > _LARGEST_FILE:
        raise UsageError(f"{shown} is larger than 1 MiB.", "That is no configuration file of fluxguard's.")
    return data


def _read(path: str, shown: str = "") -> dict[str, Any]:
    shown = shown or path
    text = _text(path, shown)
    if any(line.count(b".") > _MOST_DOTS for line in text.splitlines()):
        raise UsageError(f"{shown} has a line with more than {_MOST_DOTS:,} dots.", "Break it up.")
    try:
        return tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8 text"
        place = detail[detail.rfind("(") :] if "(at" in detail else ""
        raise UsageError(
            f"{shown} is no valid TOML {place}".rstrip() + ".", "Mend that line, and try again."
        ) from None


def _merge(config: Config, table: Mapping[str, Any], where: str, from_repository: bool) -> Config:
    unknown = sorted(set(table) - _TOP)
    if unknown:
        raise UsageError(
            f"{where}: unknown setting {unknown[0]!r}.", f"There are: {', '.join(sorted(_TOP))}."
        )
    rules = tuple(_rules(table, where))
    _refuse_taken_ids(rules, config.rules, where)
    merged = replace(
        config,
        severity={**config.severity, **_severity(table, where)},
        allow=config.allow + tuple(_allowed(entry, where) for entry in _tables(table, "allow", where)),
        accept=config.accept
        + tuple(
            replace(_accepted(entry, where), repository=from_repository)
            for entry in _tables(table, "accept-unread", where)
        ),
        baseline_path=_one(table, "baseline", str, where) or config.baseline_path,
        rules=config.rules + rules,
        sources=(*config.sources, where),
    )
    merged = _with_paths(merged, _one(table, "gitignore", dict, where) or {}, where, from_repository)
    if from_repository:
        _refuse_from_repository(table, where, {rule.id for rule in rules})
    return _limited(merged, _one(table, "limits", dict, where) or {}, where)


def _with_paths(config: Config, table: Mapping[str, Any], where: str, from_repository: bool) -> Config:
    """`[[gitignore.path]]` and `[[gitignore.except]]`."""
    secretpaths.known_fields(table, {"path", "except"}, f"{where}, [gitignore]")
    added = tuple(
        secretpaths.added(entry, f"{where}, [[gitignore.path]]") for entry in _tables(table, "path", where)
    )
    excepted = tuple(
        secretpaths.excepted(entry, f"{where}, [[gitignore.except]]", own=not from_repository)
        for entry in _tables(table, "except", where)
    )
    return replace(config, secret_paths=config.secret_paths + added, no_secrets=config.no_secrets + excepted)


def _refuse_taken_ids(rules: tuple[Rule, ...], present: tuple[Rule, ...], where: str) -> None:
    """What is said of a rule's severity must not be said of a built-in rule, an environment or a confidence."""
    if not rules:
        return
    taken = {rule.id for rule in (*built_in(), *present)} | {*ENVIRONMENTS, *CONFIDENCES}
    for rule in rules:
        if rule.id in taken:
            raise UsageError(f"{where}: the rule id {rule.id} is taken already.", "Give it another one.")
        taken.add(rule.id)


def _rules(table: Mapping[str, Any], where: str) -> Iterator[Rule]:
    """Each rule, proved. All of it takes a bounded time, whatever the examples are."""
    started = time.monotonic()
    for entry in _tables(table, "rules", where):
        if time.monotonic() - started > PATIENCE:
            raise UsageError(
                f"{where}: its rules take more than {PATIENCE:.0f} seconds to be proved.",
                "Make them simpler.",
            )
        yield load(entry, where)


def _tables(table: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    entries = table.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{where}: `{name}` has to be a list of tables.", f"Write: [[{name}]]")
    return entries


def _one(table: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = table.get(name)
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{where}: `{name}` has to be a {'table' if kind is dict else 'string'}.")
    return value


def _severity(table: Mapping[str, Any], where: str) -> dict[str, str]:
    entries = _one(table, "severity", dict, where) or {}
    for name, value in entries.items():
        if value not in SEVERITIES:
            raise UsageError(f'{where}: severity of {name!r} has to be "block" or "warn".')
    return dict(entries)


def _reason(entry: Mapping[str, Any], where: str) -> str:
    reason = entry.get("reason", "")
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f"{where}: an exception needs a reason.", 'Add: reason = "why this is harmless"')
    return reason


def _globs(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    globs = entry.get("paths", [])
    if not isinstance(globs, list) or not globs or not all(isinstance(glob, str) and glob for glob in globs):
        raise UsageError(
            f"{where}: `paths` has to be a list of path patterns.", 'For example: paths = ["tests/data/**"]'
        )
    return tuple(globs)


def _allowed(entry: Mapping[str, Any], where: str) -> Allowed:
    where = f"{where}, [[allow]]"
    secretpaths.known_fields(entry, {"paths", "objects", "rules", "reason"}, where)
    objects = _objects(entry, where)
    globs = _globs(entry, where) if "paths" in entry or not objects else ()
    rules = entry.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        raise UsageError(f"{where}: `rules` has to be a list of rule ids.", "See: fluxguard rules list")
    matchers = tuple(glob_pattern(glob) for glob in globs)
    return Allowed(globs, tuple(rules), _reason(entry, where), matchers, objects)


def _objects(entry: Mapping[str, Any], where: str) -> frozenset[str]:
    """Whole ids: the beginning of one could be given to another object later."""
    objects = entry.get("objects", [])
    if not isinstance(objects, list) or not all(
        isinstance(id, str) and _OBJECT.fullmatch(id) for id in objects
    ):
        raise UsageError(
            f"{where}: `objects` has to be a list of whole object ids, 40 or 64 hex digits each.",
            "The report gives them: fluxguard audit --format json",
        )
    return frozenset(objects)


def _accepted(entry: Mapping[str, Any], where: str) -> Accepted:
    where = f"{where}, [[accept-unread]]"
    secretpaths.known_fields(entry, {"path", "object", "reason"}, where)
    path, object = entry.get("path", ""), entry.get("object", "")
    if not isinstance(path, str) or not isinstance(object, str) or bool(path) == bool(object):
        raise UsageError(
            f"{where}: either `path` or `object` has to be given.", 'For example: path = "docs/old.zip"'
        )
    return Accepted(path, object, _reason(entry, where), glob_pattern(path) if path else None)


_LIMITS: Mapping[str, tuple[str, Callable[[Limits, int], Limits]]] = {
    "max-depth": ("depth", lambda limits, value: replace(limits, depth=value)),
    "max-expanded": ("expanded", lambda limits, value: replace(limits, expanded=value)),
    "max-total-expanded": ("total", lambda limits, value: replace(limits, total=value)),
}


def _limited(config: Config, table: Mapping[str, Any], where: str) -> Config:
    secretpaths.known_fields(table, {*_LIMITS, "max-file-size"}, f"{where}, [limits]")
    for name, value in table.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{where}: limit {name!r} has to be a whole number above 0 (sizes in bytes).")
        if name == "max-file-size":
            config = replace(config, largest=value)
        else:
            config = replace(config, limits=_LIMITS[name][1](config.limits, value))
    return config


def _refuse_from_repository(table: Mapping[str, Any], where: str, own_rules: set[str]) -> None:
    """A repository is not its own judge: what would let every key through, or every key of production, is refused."""
    hint = "A repository may not decide this; your own configuration may: ~/.config/fluxguard/config.toml"
    for name, value in table.get("severity", {}).items():
        if value == "warn" and name not in {"dev", "stg", "ci", "low"} | own_rules:
            raise UsageError(f"{where}: severity of {name!r} may not be lowered here.", hint)
    if "platform" in table:
        raise UsageError(f"{where}: a repository may not say which platform keys are sent to.", hint)
    if "limits" in table:
        raise UsageError(f"{where}: a repository may not set [limits], neither higher nor lower.", hint)
    allowed = [glob for entry in table.get("allow", []) for glob in entry.get("paths", [])]
    _refuse_breadth(allowed, f"{where}: [[allow]]", hint)
    accepted = [entry["path"] for entry in table.get("accept-unread", []) if entry.get("path")]
    _refuse_breadth(accepted, f"{where}: [[accept-unread]]", hint)
    paths = table.get("gitignore", {})
    excepted = [glob for entry in paths.get("except", []) for glob in entry.get("paths", [])]
    _refuse_breadth(excepted, f"{where}: [[gitignore.except]]", hint)
    added = [glob for entry in paths.get("path", []) for glob in entry["paths"]]
    _refuse_share(added, f"{where}: [[gitignore.path]]", hint)
    _refuse_elsewhere(table.get("baseline", ""), where)


def _refuse_elsewhere(baseline: str, where: str) -> None:
    if baseline and (os.path.isabs(baseline) or ".." in baseline.split("/")):
        raise UsageError(
            f"{where}: the baseline has to lie in the repository.",
            f'For example: baseline = "{settings.BASELINE}"',
        )


def _refuse_breadth(globs: list[str], where: str, hint: str) -> None:
    """Each pattern names something, and together they cover a small part of what there usually is."""
    for glob in globs:
        if breadth.says_nothing(glob):
            raise UsageError(
                f"{where} path {glob!r} names no folder, no file and no kind of data: it would let too much through.",
                hint,
            )
    _refuse_share(globs, where, hint)


def _refuse_share(globs: list[str], where: str, hint: str) -> None:
    try:
        share = breadth.share(globs)
    except breadth.Slow:
        raise UsageError(
            f"{where}: its paths take too long to be judged.", "Use fewer, simpler ones."
        ) from None
    if share > breadth.SHARE:
        raise UsageError(
            f"{where} paths together cover {share:.0%} of the names that files usually have: too much.", hint
        )


def _with_baseline(config: Config, root: str) -> Config:
    name = config.baseline_path or settings.BASELINE
    path = os.path.join(root, name)
    if not os.path.lexists(path):
        if config.baseline_path:
            raise UsageError(
                f"The baseline {name} does not exist.", f"Write it: fluxguard scan --write-baseline {name}"
            )
        return replace(config, baseline_path=path)
    return replace(config, baseline_path=path, baseline=read_baseline(path, name))


def read_baseline(path: str, shown: str) -> dict[str, str]:
    """Fingerprint to reason, of a baseline file. Raises UsageError where it is none."""
    entries = read_entries(path, shown)
    return {fingerprint: entry["reason"] or "in the baseline" for fingerprint, entry in entries.items()}


def read_entries(path: str, shown: str) -> dict[str, dict[str, str]]:
    """A baseline's entries by fingerprint: each with `fingerprint`, `masked`, `rule`, `reason`. Raises UsageError."""
    try:
        content = json.loads(_text(path, shown))
        entries = content["findings"]
        if content["schema"] != BASELINE_SCHEMA:
            raise ValueError
        return {
            str(entry["fingerprint"]): {
                name: str(entry.get(name) or "") for name in ("fingerprint", "masked", "rule", "reason")
            }
            for entry in entries
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(
            f"{shown} is no baseline of fluxguard's.",
            f"Write it anew: fluxguard scan --write-baseline {shown}",
        ) from None
