"""What a clean commit of one small file costs: the whole process, beside an empty Python and the peers.

The bar: at most five times `python3 -c pass`. The goal: no slower than the fastest peer.
"""

from __future__ import annotations

from programs import arguments, found_code, git, installed, repository
from sidebyside import measure, proven, table


def main() -> None:
    """Measures and prints."""
    args = arguments(__doc__, rounds=60).parse_args()
    programs = installed(args.home)
    folder = repository(programs.home / "hook")
    scanners = {
        **programs.staged(),
        "fluxguard hook pre-commit": [str(programs.fluxguard), "hook", "pre-commit"],
    }
    (folder / "app.py").write_bytes(programs.control())
    git(folder, "add", "app.py")
    scanners = proven(scanners, folder, programs.environment, found_code)
    (folder / "app.py").write_text("print(1)\n")
    git(folder, "add", "app.py")
    commands = {"python3 -c pass": [str(programs.python), "-c", "pass"], **scanners}
    series = measure(commands, folder, args.rounds, programs.environment)
    print(table("One small file staged", series))
    print(table("The same as multiples of an empty Python", series, against="python3 -c pass"))


if __name__ == "__main__":
    main()
