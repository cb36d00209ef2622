# Sets PYTHON to an interpreter of 3.11 or newer that can make virtual environments, or says what is missing.
PYTHON=""
for candidate in "${FLUXGUARD_PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        PYTHON=$candidate
        break
    fi
done
if [ -z "$PYTHON" ]; then
    echo "Python 3.11 or newer with venv is needed (Debian: apt install python3-venv). Name one with FLUXGUARD_PYTHON." >&2
    exit 2
fi
