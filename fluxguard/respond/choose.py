"""Which order is right for a leak: rules that a person can read, each with its reason, and always theirs to overrule.

- **revoke-first**: somebody else uses the key already, or it is out in public and opens much. The service may stop; the thief does.
- **contain**: a production or CI key, or one that handles keys, was pushed. Only those that used it before go on, while it is replaced.
- **overlap**: everything else. The new key is in place before the old one ends.
- **finish**: it has a successor already, that is in use; only its own end is left.
- **clean-only**: the key is dead already.
"""

from __future__ import annotations

from dataclasses import dataclass

RENEWING = ("overlap", "contain", "revoke-first")  # the strategies that make a new key
DEAD = frozenset({"revoked", "regenerated", "expired", "lapsed", "deleted"})
STRONG = frozenset({"manage_keys", "manage_projects", "delete_scenarios"})


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is known of a leak. foreign: uses since the leak from where the key was not used before. replaced: a successor counts already."""

    status: str
    environment: str
    permissions: tuple[str, ...]
    pushed: bool
    public: bool | None
    foreign: int
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """strategy, why, and how long the old key lives on beside the new one."""

    strategy: str
    reason: str
    overlap: str


def choose(exposure: Exposure, asked: str = "auto", overlap: str = "") -> Choice:
    """The strategy for a leak, or the one that was asked for."""
    made = _by_rules(exposure)
    if made.strategy == "clean-only" or (made.strategy == "finish" and asked != "revoke-first"):
        return made  # there is nothing to choose
    if asked not in ("auto", made.strategy):
        made = Choice(asked, f"asked for; the rules say {made.strategy}: {made.reason}", _OVERLAPS[asked])
    return Choice(made.strategy, made.reason, overlap or made.overlap)


_OVERLAPS = {"overlap": "24h", "contain": "1h", "revoke-first": "0", "clean-only": "0"}


def _by_rules(exposure: Exposure) -> Choice:
    if exposure.status in DEAD:
        return Choice("clean-only", f"the key is {exposure.status} already: it opens nothing", "0")
    if exposure.replaced:
        return Choice(
            "finish", "it has been replaced already: its successor is in use, and it ends by itself", "0"
        )
    strong = exposure.environment in ("prod", "ci") or bool(STRONG & set(exposure.permissions))
    if exposure.foreign:
        return Choice(
            "revoke-first",
            f"it was used {exposure.foreign:,} times since the leak from where it was never used before",
            "0",
        )
    if exposure.public and strong:
        return Choice("revoke-first", "it is public, and opens much", "0")
    if exposure.pushed and strong:
        what = (
            f"a {exposure.environment} key"
            if exposure.environment in ("prod", "ci")
            else "a key that opens much"
        )
        return Choice(
            "contain", f"{what} was pushed: only those that used it before go on while it is replaced", "1h"
        )
    if exposure.pushed:
        return Choice(
            "overlap",
            "it was pushed, but opens little, and nobody new has used it",
            "1h" if exposure.public else "24h",
        )
    return Choice("overlap", "no remote is known to have it", "24h")
