#!/bin/sh
# Makes .tools/py: a virtual environment with the clients that compat-tests drives. Needs python3 (3.11 or newer) with
# venv or pip, and a package index; no root. A stamp holds the hash of the pins, so a second call does nothing.
#
# A client that cannot be installed is named and left out; its suite is then skipped by name (run.py fails on that in CI).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools=$(dirname "$here")/.tools
venv=$tools/py
pins=$here/requirements.txt
stamp=$venv/.pins

fail() { echo "compat-tests/setup.sh: $*" >&2; exit 1; }

python3=${PYTHON:-python3}
command -v "$python3" >/dev/null || fail "no $python3 on the path. Debian: apt install python3-venv"
"$python3" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11: $("$python3" --version)"

wanted=$("$python3" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$pins")
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

# Debian's bare python3 has neither ensurepip nor pip. Without ensurepip the system's pip can fill the environment from outside;
# without either nothing can, and nothing half-made is left that would look like one.
make_venv() {
    rm -rf "$venv" && mkdir -p "$tools"
    if "$python3" -m venv "$venv" >"$tools/venv.log" 2>&1; then return; fi
    rm -rf "$venv"
    "$python3" -m pip --version >>"$tools/venv.log" 2>&1 || lacking "neither ensurepip nor pip"
    "$python3" -m venv --without-pip "$venv" >>"$tools/venv.log" 2>&1 || lacking "no venv module"
}

lacking() {
    rm -rf "$venv"
    echo "compat-tests/setup.sh: $python3 has $1 (see $tools/venv.log). On Debian and Ubuntu:" >&2
    echo "    apt install python3-venv" >&2
    exit 1
}

install() {
    if [ -x "$venv/bin/pip" ]; then
        "$venv/bin/pip" install --quiet --no-input --disable-pip-version-check "$@"
    else
        "$python3" -m pip --python "$venv/bin/python" install --quiet --no-input --disable-pip-version-check "$@"
    fi
}

make_venv
echo "compat-tests/setup.sh: installing the test clients into .tools/py (once)" >&2
if install -r "$pins"; then
    echo "$wanted" >"$stamp"
    exit 0
fi

# One by one, so that a single client without a wheel for this machine does not cost the others. No stamp: tried again next time.
grep -v -e '^#' -e '^$' "$pins" | while read -r pin; do
    install "$pin" || echo "compat-tests/setup.sh: could not install $pin" >&2
done
"$venv/bin/python" -c 'import pytest' 2>/dev/null || fail "pytest could not be installed: no suite can run. Is the package index reachable?"
