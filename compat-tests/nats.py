"""A nats-server with JetStream, and the few things a test does to it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from peers import find_tool
from process import Process, accepts, free_port


class Nats(Process):
    """Keeps its port and its files over restarts."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        argv = [find_tool("nats-server"), "-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(directory / "store")]
        super().__init__("nats", argv, directory)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def up(self, patience_s: float = 30) -> float:
        return self.start(lambda: accepts(self.port), patience_s)

    def delete_stream(self, site: str) -> dict:
        return self.ask(f"$JS.API.STREAM.DELETE.ANYBUCKET_{site}")

    def purge_stream(self, site: str) -> dict:
        return self.ask(f"$JS.API.STREAM.PURGE.ANYBUCKET_{site}")

    def ask(self, subject: str) -> dict:
        """One request of the JetStream API, in NATS's own text protocol."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
            file = wire.makefile("rb")
            wire.sendall(b'CONNECT {"verbose":false}\r\nSUB inbox.test 1\r\n' + f"PUB {subject} inbox.test 0\r\n\r\n".encode())
            while line := file.readline():
                if line.startswith(b"MSG "):
                    return json.loads(file.read(int(line.split()[-1])))
                if line.startswith(b"PING"):
                    wire.sendall(b"PONG\r\n")
        raise RuntimeError(f"no answer to {subject}")
