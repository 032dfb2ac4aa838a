"""Several sites on this machine, each reading the others through a relay, with or without a NATS between them."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from nats import Nats
from process import free_port
from rawhttp import Client
from relay import Loop, Relay
from server import Anybucket

NAMES = ("paris", "berlin", "tokyo")


class Site(Anybucket):
    """One site of several. Its settings are a file, since peers are a list."""

    def __init__(self, directory: Path, name: str, number: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory)
        self.name, self.number, self.feed_port = name, number, free_port()
        self.log = directory / f"{name}.log"
        self.config = directory / "config.toml"

    def configure(self, peers: dict[Site, int], nats: Nats | None, more: str = "") -> None:
        """`peers`: the port at which each is reached from here."""
        bus = f'bus = "jetstream"\nurl = "{nats.url}"' if nats else 'bus = "poll"'
        lines = [
            f'[site]\nname = "{self.name}"\nnumber = {self.number}',
            f'[feed]\nlisten = "127.0.0.1:{self.feed_port}"',
            f"[events]\n{bus}",
            '[replication]\nsites = ["*"]',
            more,
        ]
        lines += [
            f'[[peer]]\nsite = "{peer.name}"\nnumber = {peer.number}\nfeed = "http://127.0.0.1:{port}"\n'
            f'token = "{token(self, peer)}"\naccept = "{token(peer, self)}"'
            for peer, port in peers.items()
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def client(self, timeout_s: float = 30) -> Client:
        return Client(self.host, self.port, self.credentials, timeout_s)

    def admin(self, path: str, method: str = "GET", body: dict | None = None) -> dict | list:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)
        admin_token = (self.data / "admin-token").read_text().strip()
        headers = {"authorization": f"Bearer {admin_token}", "content-type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.name}: {method} {path} answered {answer.status}: {text[:300]!r}")
        return json.loads(text)


def token(reader: Site, read: Site) -> str:
    """What `reader` presents to `read`."""
    return f"a-token-for-tests-{reader.name}-reads-{read.name}"


class Sites:
    """The sites, the relays between them and the NATS beside them."""

    def __init__(self, directory: Path, count: int, with_nats: bool, more: str = "") -> None:
        self.loop = Loop()
        self.nats = Nats(directory / "nats") if with_nats else None
        self.all = [Site(directory / name, name, number) for number, name in enumerate(NAMES[:count], 1)]
        self.relays: dict[tuple[str, str], Relay] = {}
        for reader in self.all:
            peers = {}
            for read in self.all:
                if read is not reader:
                    relay = self.relays[reader.name, read.name] = Relay(self.loop, read.feed_port)
                    peers[read] = relay.port
            reader.configure(peers, self.nats, more)

    def up(self) -> None:
        if self.nats:
            self.nats.up()
        for site in self.all:
            site.up()

    def stop(self) -> None:
        for process in [*self.all, *([self.nats] if self.nats else [])]:
            if process.alive():
                process.kill()

    def between(self, one: Site, other: Site) -> list[Relay]:
        """Both directions."""
        return [self.relays[one.name, other.name], self.relays[other.name, one.name]]

    def heal(self) -> None:
        for relay in self.relays.values():
            relay.heal()
