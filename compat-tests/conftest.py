"""What every suite stands on: one running server, a fresh bucket, and the clients that speak to it.

`COMPAT_ENDPOINT=host:port` with `COMPAT_ACCESS_KEY` and `COMPAT_SECRET_KEY` points the suites at a server that already
runs (another product, to prove the tests themselves); otherwise the built binary is started on a temporary directory, or over
the service that `COMPAT_STORE` names (stores.py).
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import rawhttp
import server
import sigv4
import stores


# What a person has set for other servers (profiles, endpoints, proxies of rclone) must not steer the clients tested here.
for _inherited in [name for name in os.environ if name.startswith(("AWS_", "RCLONE_"))]:
    del os.environ[_inherited]


@dataclass
class Endpoint:
    host: str
    port: int
    who: sigv4.Credentials
    process: server.Anybucket | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory):
    if outside := os.environ.get("COMPAT_ENDPOINT"):
        host, _, port = outside.partition(":")
        yield Endpoint(host, int(port), sigv4.Credentials(os.environ["COMPAT_ACCESS_KEY"], os.environ["COMPAT_SECRET_KEY"]))
        return
    try:
        directory = tmp_path_factory.mktemp("site")
        store = stores.asked(directory)
        process = server.Anybucket(directory, env=store.settings if store else None)
        process.up()
    except (RuntimeError, FileNotFoundError) as error:
        pytest.exit(str(error), returncode=1)
    yield Endpoint(process.host, process.port, process.credentials, process)
    process.stop()
    if store:
        store.kill()


@pytest.fixture(autouse=True)
def server_survives(request):
    """No request may end the server; the test that did it is the one that fails."""
    yield
    if "endpoint" in request.fixturenames:
        process = request.getfixturevalue("endpoint").process
        if process and not process.alive():
            said = process.log_tail()
            process.up()  # so that the tests after this one speak for themselves
            pytest.fail(f"the server ended:\n{said}")


def gateway(directory: Path, **said):
    """An S3 service of the test's own, running: versitygw, or MinIO where `COMPAT_STORE` asks for that."""
    make = stores.minio if os.environ.get("COMPAT_STORE") == "minio" else stores.versitygw
    try:
        service = make(directory, **said)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    service.up()
    yield service
    if service.alive():
        service.kill()


@pytest.fixture
def store(tmp_path):
    yield from gateway(tmp_path)


@pytest.fixture
def site(tmp_path, store):
    """One over that store, not started yet."""
    site = server.Anybucket(tmp_path, env=store.settings)
    yield site
    if site.alive():
        site.kill()


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def new_bucket(raw):
    """Makes buckets with names no other test uses."""

    def make() -> str:
        name = f"compat-{os.getpid()}-{next(_numbers)}"
        answer = raw.call("PUT", f"/{name}")
        assert answer.status == 200, answer.body
        return name

    return make


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()


@pytest.fixture(scope="session")
def raw(endpoint):
    return rawhttp.Client(endpoint.host, endpoint.port, endpoint.who)


@pytest.fixture(scope="session")
def new_s3(endpoint):
    """Makes boto3 clients; extra keywords go to its Config. Errors are expected, so nothing is retried."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    from botocore.config import Config

    def make(**config):
        said = {"signature_version": "s3v4", "retries": {"total_max_attempts": 1}, "max_pool_connections": 64} | config
        return boto3.client(
            "s3", endpoint_url=endpoint.url, region_name=endpoint.who.region, aws_access_key_id=endpoint.who.access_key,
            aws_secret_access_key=endpoint.who.secret_key, config=Config(**said),
        )

    return make


@pytest.fixture(scope="session")
def s3(new_s3):
    return new_s3()


def run_tool(argv: list[str], env: dict[str, str], stdin: bytes | None, may_fail: bool) -> subprocess.CompletedProcess:
    done = subprocess.run(argv, env=os.environ | env, input=stdin, capture_output=True, timeout=170)
    if done.returncode and not may_fail:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}")
    return done


def tool(name: str) -> str:
    """A program that setup.sh installed: by a wheel, or built."""
    for path in (server.ROOT / ".tools/py/bin" / name, server.ROOT / ".tools/bin" / name):
        if path.exists():
            return str(path)
    pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="session")
def aws(endpoint, tmp_path_factory):
    """Runs aws-cli as a user would, with nothing but an endpoint and keys."""
    home = tmp_path_factory.mktemp("aws-home")
    env = {
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": endpoint.who.access_key,
        "AWS_SECRET_ACCESS_KEY": endpoint.who.secret_key,
        "AWS_DEFAULT_REGION": endpoint.who.region,
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    program = tool("aws")

    def run(*argv: str, stdin: bytes | None = None, may_fail: bool = False, **more: str):
        return run_tool([program, *argv], env | more, stdin, may_fail)

    return run


@pytest.fixture(scope="session")
def rclone(endpoint, tmp_path_factory):
    """Runs rclone with one remote, `any:`, configured by environment only."""
    env = {
        "RCLONE_CONFIG": str(tmp_path_factory.mktemp("rclone") / "rclone.conf"),
        "RCLONE_CONFIG_ANY_TYPE": "s3",
        "RCLONE_CONFIG_ANY_PROVIDER": "Other",
        "RCLONE_CONFIG_ANY_ENDPOINT": endpoint.url,
        "RCLONE_CONFIG_ANY_ACCESS_KEY_ID": endpoint.who.access_key,
        "RCLONE_CONFIG_ANY_SECRET_ACCESS_KEY": endpoint.who.secret_key,
        "RCLONE_CONFIG_ANY_REGION": endpoint.who.region,
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
    }
    program = tool("rclone")

    def run(*argv: str, stdin: bytes | None = None, may_fail: bool = False):
        return run_tool([program, *argv], env, stdin, may_fail)

    return run


@pytest.fixture
def tree(tmp_path) -> Path:
    """A small directory as people have it: nested, spaces, accents, an empty file, one file of several parts."""
    root = tmp_path / "tree"
    for name, body in {
        "readme.txt": b"hello\n",
        "empty.bin": b"",
        "photos/2026/über uns.jpg": os.urandom(70_000),
        "photos/2026/a+b=c & 100%.jpg": os.urandom(1_000),
        "photos/日本/🏔.jpg": os.urandom(2_000),
        "big/disk.img": os.urandom(18 * 1024 * 1024 + 7),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        # An hour old: aws-cli sends again what is newer than its copy, and LastModified may be cut to seconds.
        os.utime(path, times=(time.time() - 3600,) * 2)
    return root


def write_file(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def files_of(root: Path) -> dict[str, bytes]:
    """A directory as a value, so that two can be compared."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
