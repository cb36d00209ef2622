"""How much the path patterns of a repository's configuration cover: a few named places, or (nearly) everything.

A repository is not its own judge. A pattern of its own has to name something, and all of them together may cover
only a small part of the names that files usually have.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from fluxguard.detect.ruleset import PATIENCE, covers, glob_pattern

SHARE = 0.2  # of the usual names
_WILD = re.compile(r"[*?]+")
_RUN = 4  # literal characters in a row that make a file's name say something: `test_*.py`
# What keys are usually written into: a pattern that says no more than one of these says nothing.
_KINDS = frozenset(
    b"""
    astro bash bat bicep c cc cfg cjs clj cmd conf config cpp cs cts dart dockerfile env erb ex exs fish go gradle
    groovy h hcl hpp hs htm html http ini ipynb java js json json5 jsonc jsx key kt kts lua m md mdx mjs ml mts
    nix php pl pm properties ps1 psm1 py pyi r rb rs rst sass sbt scala scss sh sql svelte swift tf tfstate tfvars
    toml ts tsx txt vue xml yaml yml zsh
    """.split()
)
USUAL: tuple[bytes, ...] = tuple(
    b"""
    .bashrc .env .env.production .envrc .fluxloop/.env .fluxloop/config.yaml .github/workflows/ci.yml .gitlab-ci.yml
    .npmrc CHANGELOG.md Cargo.toml Dockerfile Jenkinsfile Makefile README.md Vagrantfile
    a.js ansible/group_vars/all.yml app.py app/config.rb app/models/user.rb backend/server.go bin/deploy
    charts/web/values.yaml cmd/main.go compose.yaml config.json config/prod.yaml config/settings.ini
    deploy/production.env docker-compose.yml docs/guide.md frontend/src/api.ts go.mod index.html infra/variables.tf
    k8s/secret.yaml lib/client.rb lib/util.js main.go manage.py notebooks/train.ipynb package.json
    packages/core/src/index.ts pom.xml pyproject.toml requirements.txt scripts/release.sh server.js settings.py
    src/App.tsx src/app.py src/auth/login.py src/client.ts src/database.py src/config.ts src/index.js src/lib.rs src/main.rs src/main.c
    src/main/java/Main.java src/main/resources/application.properties src/settings.py src/utils/http.py
    src/web/views.py terraform/main.tf terraform/prod.tfvars tests/test_app.py
    """.split()
)


class Slow(Exception):
    """The patterns take too long to be judged."""


def says_nothing(glob: str) -> bool:
    """Whether a pattern names nothing: no whole folder or file, no telling part of a file's name, no kind of data."""
    parts = [part for part in glob.split("/") if part not in ("", ".", "**")]
    if any(not _WILD.search(part) for part in parts):
        return False
    stem, dot, kind = parts[-1].rpartition(".") if parts else ("", "", "")
    if not dot:
        stem, kind = kind, ""
    if any(len(run) >= _RUN for run in _WILD.split(stem)):
        return False
    return len(kind) < 2 or bool(_WILD.search(kind)) or kind.lower().encode() in _KINDS


def share(globs: Iterable[str]) -> float:
    """Which part of the usual names the patterns cover together. Raises Slow, and UsageError for a single slow one."""
    started = time.monotonic()
    left: Sequence[bytes] = USUAL
    for glob in globs:
        if time.monotonic() - started > PATIENCE:
            raise Slow
        matcher = glob_pattern(glob)
        left = [name for name in left if not covers(matcher, name)]
    return 1 - len(left) / len(USUAL)
