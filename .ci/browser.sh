# The console is tested in a real Chromium: takes the one that is there, or installs one, or says what is missing.
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    if command -v apt-get >/dev/null; then
        $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null || true
    fi
    command -v chromium >/dev/null || echo "There is no Chromium, so the tests of the web console will fail. Debian: apt install chromium" >&2
fi
