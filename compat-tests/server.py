"""The built binary as a test sees it: a directory of its own, free ports, readiness, a log, a violent end."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

from process import Process, free_port
from sigv4 import Credentials

ROOT = Path(__file__).resolve().parent.parent
KEYS = Credentials("COMPATTESTSKEY000001", "compat-tests-secret-of-no-value-0001")


def find_binary() -> Path:
    """`ANYBUCKET_BIN`, else the newest of the release and debug builds. Nothing is built here."""
    if named := os.environ.get("ANYBUCKET_BIN"):
        return Path(named).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "release/anybucket", target / "debug/anybucket") if path.exists()]
    if not built:
        raise FileNotFoundError("no anybucket binary: `cargo build --release --ignore-rust-version`, or name one in ANYBUCKET_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


class Anybucket(Process):
    """One site on a directory. Ports and directory stay the same over restarts."""

    def __init__(self, directory: Path, binary: Path | None = None, env: dict[str, str] | None = None) -> None:
        self.host, self.port, self.admin_port = "127.0.0.1", free_port(), free_port()
        self.credentials = KEYS
        self.data = directory / "data"
        config = directory / "config.toml"
        config.write_text("# Empty: everything is said by environment, and no ./config.toml is read.\n")
        settings = {
            "ANYBUCKET__S3__LISTEN": f"127.0.0.1:{self.port}",
            "ANYBUCKET__ADMIN__LISTEN": f"127.0.0.1:{self.admin_port}",
            "ANYBUCKET__DATA": str(self.data),
            "ANYBUCKET__BACKEND__MAIN__KIND": "fs",
            "ANYBUCKET__BACKEND__MAIN__PATH": str(self.objects),
            "ANYBUCKET_ACCESS_KEY": KEYS.access_key,
            "ANYBUCKET_SECRET_KEY": KEYS.secret_key,
        }
        argv = [str(binary or find_binary()), "serve", "--config", str(config)]
        # What the caller's environment says wins over these settings, and `env` over both, so that a suite can be run on another kind of backend.
        said = {name: value for name, value in os.environ.items() if name.startswith("ANYBUCKET__")} | (env or {})
        if said.get("ANYBUCKET__BACKEND__MAIN__KIND", "fs") != "fs":
            del settings["ANYBUCKET__BACKEND__MAIN__PATH"]
        super().__init__("anybucket", argv, directory, settings | said)

    @property
    def objects(self) -> Path:
        """Where plain keys are plain files."""
        return self.data / "objects"

    def up(self, patience_s: float = 30) -> float:
        """Starts and waits for readiness; returns the seconds from spawn to ready."""
        return self.start(self.is_ready, patience_s)

    def command(self, *argv: str, patience_s: float = 300) -> subprocess.CompletedProcess:
        """What the command line says to the running site, under its settings."""
        config = str(self.directory / "config.toml")
        return subprocess.run(
            [self.argv[0], *argv, "--config", config], cwd=self.directory, env=self.env, capture_output=True, text=True, timeout=patience_s
        )

    def status(self) -> dict:
        """What the admin API says of the site."""
        token = (self.data / "admin-token").read_text().strip()
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}/v1/status", headers={"Authorization": f"Bearer {token}"})
        return json.load(urllib.request.urlopen(request, timeout=10))

    def import_all(self, patience_s: float = 60) -> None:
        """Waits until what was in the store before is imported."""
        self._await_none("imports", patience_s)

    def settle(self, patience_s: float = 60) -> None:
        """Waits until what was written is at its key's name in the store."""
        self._await_none("unsettled", patience_s)

    def _await_none(self, what: str, patience_s: float) -> None:
        ends = time.monotonic() + patience_s
        while left := self.status()[what]:
            assert time.monotonic() < ends, left
            time.sleep(0.05)

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
