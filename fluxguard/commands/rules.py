"""The rules in force: what they find, and whether they hold what they promise."""

from __future__ import annotations

import argparse
import json
import sys

from fluxguard.config import load_config
from fluxguard.detect.ruleset import Rule, built_in, prove
from fluxguard.detect.triggers import Triggers
from fluxguard.display import safe
from fluxguard.repo import layout

HELP = "the rules in force; prove each against its own examples"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard rules` takes."""
    parser.add_argument("action", choices=("list", "test"))
    parser.add_argument("--config", metavar="FILE", help="your own configuration file")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    """Lists the rules, or runs their examples: 1 where one fails."""
    rules = [*built_in(), *load_config(layout.root(), args.config).rules]
    return _list(rules, args.format) if args.action == "list" else _test(rules, args.format)


def _list(rules: list[Rule], format: str) -> int:
    if format == "json":
        entries = [
            {
                "id": safe(rule.id),
                "description": safe(rule.description),
                "advice": safe(rule.advice),
                "built_in": rule.built_in,
            }
            for rule in rules
        ]
        json.dump(entries, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    width = max(len(safe(rule.id)) for rule in rules)
    for rule in rules:
        origin = "" if rule.built_in else " (configured)"
        sys.stdout.write(f"{safe(rule.id):{width}}  {safe(rule.description)}{origin}\n")
    return 0


def _test(rules: list[Rule], format: str) -> int:
    failures = {rule.id: [*map(safe, prove(rule)), *_untriggered(rule)] for rule in rules}
    if format == "json":
        json.dump({safe(id): wrong for id, wrong in failures.items()}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for rule in rules:
            wrong = failures[rule.id]
            counts = f"{len(rule.examples)} examples, {len(rule.lookalikes)} look-alikes"
            sys.stdout.write(f"{'FAIL' if wrong else 'ok':4} {safe(rule.id)}: {counts}\n")
            for failure in wrong:
                sys.stdout.write(f"     {failure}\n")
    return 1 if any(failures.values()) else 0


def _untriggered(rule: Rule) -> list[str]:
    """Examples that the first look would pass over: a rule that is never asked finds nothing."""
    if rule.paths:
        return []
    look = Triggers([] if rule.built_in else rule.literals)
    return [
        f"example {number} sets off no trigger"
        for number, example in enumerate(rule.examples, 1)
        if not look.kinds(example.replace("¦", "").encode())
    ]
