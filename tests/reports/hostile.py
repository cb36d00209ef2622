"""Names that try to break out of a format, and a repository in which every one of them holds a key."""

from __future__ import annotations

from conftest import Mint, Repo

NAMES = [
    b"\x1b[31mred\x1b]0;title\x07.txt",
    b"new\nline\r\n.txt",
    b"::error file=x::owned",
    b"a\n::set-output name=x::y",
    b"%0A::warning::percent",
    b"##[add-mask]e.txt",
    b"##vso[task.setvariable variable=x]y",
    b"comma,colon:equals=.py",
    b"http:evil.example",
    b"x<img src=x onerror=alert(1)>.txt",
    b"<script>alert(1)<",
    b"&lt;&#60;&quot;'\".txt",
    b"![x](https:evil.example)[y](javascript:1)",
    b"[link](1) {0} {{1}} \\[.txt",
    b"| `a` || ``` ~~~ | <br> @team #1.md",
    b"]]>&amp;<!-- -- -->.xml",
    b"latin-\xe9-\xff.txt",
    "bidi-\u202e\u2066txt.exe".encode(),
    "zero\u200bwidth\ufeff\u00adsoft.txt".encode(),
    "\ufffe\uffff\U0001f511.txt".encode(),
    b"-rf",
    b"  spaces at both ends  ",
    b"tab\there.txt",
    b"back\\slash?query#fragment;%41.txt",
    b"~tilde $(touch owned) `touch owned`",
    b"javascript:alert(1)",
    "umlaut-\u00e4\u00f6\u00fc \u4e2d\u6587.py".encode(),
]


def fill(repo: Repo, mint: Mint) -> None:
    """Stages each name with a key on line 2, in column 5; further ones in a name, a branch, a message and a tag."""
    for name in NAMES:
        repo.write(name, f"# \xe4\xf6\nkey={mint.key()}\n")
    repo.write(f"deep/{mint.key()}/x.txt", "nothing\n")
    repo.write("encoded.txt", mint.key().encode().hex() + "\n")
    repo.write("locked.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60))
    repo.write("::warning::locked.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60))
    repo.write("known.py", f"k = '{mint.key('dev')}'  # fluxguard:allow [sample](http://x) </p> | {{0}}\n")
    repo.git("add", "--all")
    repo.git("commit", "-q", "--no-verify", "-m", f"use {mint.key('ci')} ::error::x")
    repo.git("branch", f"fix/{mint.key('stg')}")
    repo.git("tag", "-a", "v1", "-m", f"tagged {mint.checked('prod')}")
    repo.git("remote", "add", "origin", f"https://bot:{mint.key()}@example.org/own/er.git?x={mint.key()}")
