"""Several real sites under load while their processes, their bus and the wires between them fail; then everything must be
equal, and every promise made must have been kept.

    .tools/py/bin/python compat-tests/chaos.py --faults 60 [--sites 3] [--bus jetstream|poll] [--seed S]

Clients at every site write the same keys. Every acknowledged write has a stamp, and stamps order all of them, so the
last state of a key must be at least the greatest stamp that was acknowledged for it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rawhttp import Client
from server import ROOT
from sites import Site, Sites

BUCKET = "chaos"
BROKEN = (OSError, http.client.HTTPException)
EQUAL_S_MAX = 60
PUTS_PER_FAULT_MIN = 5
SHOWN_FAULTS_MAX = 20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--sites", type=int, default=3, choices=(2, 3))
    parser.add_argument("--bus", choices=("jetstream", "poll"), default="jetstream")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--clients", type=int, default=2, help="at each site")
    parser.add_argument("--fault-seconds", type=float, default=1.5, help="how long each fault lasts, on average")
    parser.add_argument("--dir", type=Path, default=ROOT / "target/chaos")
    return parser.parse_args()


@dataclass(frozen=True)
class Done:
    """An operation that was answered, or whose outcome nobody knows (no stamp)."""

    key: str
    label: str | None  # None: a delete
    stamp: str | None
    site: str


@dataclass
class Ledger:
    """What all clients were promised."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    done: list[Done] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, done: Done) -> None:
        with self.lock:
            self.done.append(done)
            self.counts["unsure" if done.stamp is None else "delete" if done.label is None else "put"] += 1

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def fault(self, text: str) -> None:
        with self.lock:
            self.faults.append(text)


def body_of(label: str) -> bytes:
    """A body that says whose it is; every tenth is too large to come along with its record."""
    noise = random.Random(label)
    size = 200_000 if noise.random() < 0.1 else noise.randrange(0, 4_000)
    return label.encode() + b"\n" + noise.randbytes(size)


class Writer(threading.Thread):
    """One client of one site."""

    def __init__(self, site: Site, number: int, said: argparse.Namespace, seed: int, ledger: Ledger, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.site, self.number, self.said, self.ledger, self.stop = site, number, said, ledger, stop
        self.random = random.Random(f"{seed}/{site.name}/{number}")
        self.client = site.client(timeout_s=20)
        self.written = 0

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.act()
            except BROKEN:
                self.stop.wait(0.1)
            except Exception as error:  # a mistake of this program must not pass for a quiet client
                self.ledger.fault(f"a client of {self.site.name} died: {error!r}")
                return

    def act(self) -> None:
        act = self.random.random()
        if act < 0.15:
            self.write_own()
        elif act < 0.30:
            self.delete()
        else:
            self.put(f"k{self.random.randrange(self.said.keys):04}")

    def put(self, key: str) -> str | None:
        self.written += 1
        label = f"{self.site.name}.{self.number}.{self.written}"
        headers = {"x-amz-meta-write": label, "x-amz-tagging": f"write={label}", "content-type": f"text/x-{label.replace('.', '-')}"}
        return self.change("PUT", key, label, headers, body_of(label))

    def delete(self) -> None:
        self.change("DELETE", f"k{self.random.randrange(self.said.keys):04}", None, {}, b"")

    def change(self, method: str, key: str, label: str | None, headers: dict[str, str], body: bytes) -> str | None:
        try:
            answer = self.client.call(method, f"/{BUCKET}/{key}", headers=headers, body=body)
        except BROKEN:
            self.ledger.note(Done(key, label, None, self.site.name))
            raise
        if answer.status in (200, 204):
            stamp = answer.headers["x-anybucket-stamp"]
            if stamp:
                self.ledger.note(Done(key, label, stamp, self.site.name))
            elif method == "PUT":
                self.ledger.fault(f"PUT {key} at {self.site.name} was acknowledged without a stamp")
            return stamp
        if answer.status == 503:
            self.ledger.count("refused")  # 503 promises that nothing was done: what it refused must not be seen
        elif answer.status >= 500:
            self.ledger.note(Done(key, label, None, self.site.name))
        else:
            self.ledger.fault(f"{method} {key} at {self.site.name} answered {answer.status}: {answer.body[:200]!r}")
        return None

    def write_own(self) -> None:
        """A key that nobody else writes: once its status says COMPLETED, every site has it."""
        key = f"own/{self.site.name}/{self.number}/{self.written}"
        stamp = self.put(key)
        deadline = time.monotonic() + 1.0
        while stamp and time.monotonic() < deadline and not self.stop.is_set():
            head = self.client.call("HEAD", f"/{BUCKET}/{key}")
            if head.headers["x-amz-replication-status"] == "COMPLETED":
                self.ledger.count("completed seen")
                return self.check_everywhere(key, stamp)
            time.sleep(0.05)

    def check_everywhere(self, key: str, stamp: str) -> None:
        for other in OTHERS[self.site.name]:
            try:
                answer = other.client(timeout_s=5).call("HEAD", f"/{BUCKET}/{key}")
            except BROKEN:
                continue  # it is down: what it has is looked at in the end
            if answer.status not in (200, 503) or (answer.status == 200 and answer.headers["x-anybucket-stamp"] != stamp):
                self.ledger.fault(f"false COMPLETED: {key} at {other.name}: {answer.status}, told by {self.site.name}")


OTHERS: dict[str, list[Site]] = {}


class Trouble:
    """Makes one fault at a time, and mends it."""

    def __init__(self, sites: Sites, seed: int, said: argparse.Namespace) -> None:
        self.sites, self.random, self.said = sites, random.Random(seed), said
        self.made: Counter = Counter()

    def one(self) -> None:
        acts = [self.kill_site, self.kill_site, self.cut, self.cut, self.slow, self.narrow]
        if self.sites.nats:
            acts += [self.kill_nats, self.delete_stream, self.purge_stream]
        act = self.random.choice(acts)
        self.made[act.__name__] += 1
        act()

    def last(self) -> None:
        time.sleep(self.said.fault_seconds * self.random.uniform(0.5, 1.5))

    def kill_site(self) -> None:
        site = self.random.choice(self.sites.all)
        site.kill()
        self.last()
        site.up(patience_s=60)

    def pair(self) -> list:
        one, other = self.random.sample(self.sites.all, 2)
        return self.sites.between(one, other)

    def cut(self) -> None:
        relays = self.pair()[: self.random.choice((1, 2))]
        for relay in relays:
            relay.cut()
        self.last()
        for relay in relays:
            relay.heal()

    def slow(self) -> None:
        for relay in self.pair():
            relay.delay_s = 0.2
        self.last()
        self.sites.heal()

    def narrow(self) -> None:
        for relay in self.pair():
            relay.bytes_per_s = 125_000
        self.last()
        self.sites.heal()

    def kill_nats(self) -> None:
        self.sites.nats.kill()
        self.last()
        self.sites.nats.up()

    def delete_stream(self) -> None:
        self.sites.nats.delete_stream(self.random.choice(self.sites.all).name)

    def purge_stream(self) -> None:
        self.sites.nats.purge_stream(self.random.choice(self.sites.all).name)


def listing(site: Site) -> dict[str, str]:
    return {entry.findtext("Key"): entry.findtext("ETag") for entry in site.client().list(BUCKET)}


def wait_until_equal(sites: list[Site]) -> float:
    """Seconds until every site lists the same; the last difference as an error."""
    began = time.monotonic()
    while True:
        try:
            lists = [listing(site) for site in sites]
            if all(other == lists[0] for other in lists):
                return time.monotonic() - began
            different = {key for other in lists for key, _ in other.items() ^ lists[0].items()}
        except (*BROKEN, RuntimeError) as error:
            different = {repr(error)}
        if time.monotonic() - began > EQUAL_S_MAX:
            raise RuntimeError(f"not equal after {EQUAL_S_MAX} s: {len(different)} keys differ, such as {sorted(different)[:10]}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Shown:
    """What a site shows of a key in the end."""

    stamp: str
    label: str
    md5: str
    kind: str
    tags: str


def shown(client: Client, key: str) -> Shown | None:
    answer = client.call("GET", f"/{BUCKET}/{key}")
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise RuntimeError(f"{client.name}: GET {key} answered {answer.status}: {answer.body[:200]!r}")
    tags = client.call("GET", f"/{BUCKET}/{key}", {"tagging": ""}).body.decode()
    md5 = hashlib.md5(answer.body).hexdigest()
    return Shown(answer.headers["x-anybucket-stamp"], answer.headers["x-amz-meta-write"], md5, answer.headers["content-type"], tags)


def judge(key: str, history: list[Done], last: Shown | None) -> str | None:
    """The promise that the last state of a key breaks, if it does."""
    sure = [done for done in history if done.stamp]
    unsure = [done for done in history if not done.stamp]
    greatest = max(sure, key=lambda done: done.stamp, default=None)
    if last is None:
        deleted = (greatest is None) or greatest.label is None or any(done.label is None for done in unsure)
        return None if deleted else f"lost: {key}: {greatest}"
    if greatest and last.stamp < greatest.stamp:
        return f"undone: {key} shows {last.label} of {last.stamp}, after {greatest}"
    known = {done.label for done in history}
    if last.label not in known:
        return f"phantom: {key} shows {last.label}, which nobody wrote"
    if greatest and last.stamp == greatest.stamp and last.label != greatest.label:
        return f"mixed: {key} shows {last.label}, {greatest} was acknowledged under its stamp"
    if greatest and last.stamp > greatest.stamp and last.label not in {done.label for done in unsure}:
        return f"resurrected: {key} shows {last}, acknowledged was {greatest}"
    if hashlib.md5(body_of(last.label)).hexdigest() != last.md5:
        return f"partial: {key} does not have the bytes of {last.label}"
    return None


def check(sites: list[Site], ledger: Ledger) -> None:
    histories: dict[str, list[Done]] = {}
    for done in ledger.done:
        histories.setdefault(done.key, []).append(done)
    clients = [site.client() for site in sites]
    for key, history in sorted(histories.items()):
        everywhere = [shown(client, key) for client in clients]
        if len(set(everywhere)) > 1:
            ledger.fault(f"different: {key}: {everywhere}")
        if broken := judge(key, history, everywhere[0]):
            ledger.fault(broken)


def require_load(said: argparse.Namespace, sites: list[Site], ledger: Ledger) -> None:
    """Nothing is proved where hardly anything was written, or nothing was ever said to be everywhere."""
    written = Counter(done.site for done in ledger.done if done.stamp and done.label)
    for site in sites:
        if written[site.name] < PUTS_PER_FAULT_MIN * said.faults:
            ledger.fault(f"only {written[site.name]} PUTs were acknowledged at {site.name}")
    if not ledger.counts["completed seen"]:
        ledger.fault("no COMPLETED was seen, so none was checked")


def main() -> int:
    said = arguments()
    seed = said.seed if said.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}", file=sys.stderr)
    said.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=said.dir))
    sites = Sites(directory, said.sites, said.bus == "jetstream")
    ledger, stop = Ledger(), threading.Event()
    try:
        sites.up()
        for site in sites.all:
            OTHERS[site.name] = [other for other in sites.all if other is not site]
        sites.all[0].client().call("PUT", f"/{BUCKET}")
        for site in sites.all:
            wait_for_bucket(site)
        writers = [Writer(site, n, said, seed, ledger, stop) for site in sites.all for n in range(said.clients)]
        for writer in writers:
            writer.start()
        trouble = Trouble(sites, seed, said)
        for number in range(said.faults):
            trouble.one()
            time.sleep(0.2)
            if number % 10 == 9:
                print(f"{number + 1} faults, {dict(ledger.counts)}", file=sys.stderr)
        stop.set()
        for writer in writers:
            writer.join()
        sites.heal()
        equal_s = wait_until_equal(sites.all)
        check(sites.all, ledger)
        require_load(said, sites.all, ledger)
    finally:
        sites.stop()
    for fault in ledger.faults[:SHOWN_FAULTS_MAX]:
        print(fault)
    print(f"{sum(trouble.made.values())} faults ({dict(trouble.made)}), {dict(ledger.counts)}")
    print(f"equal {equal_s:.1f} s after the last was mended; {len(ledger.faults)} broken promises (seed {seed})")
    if ledger.faults:
        print(f"logs and data in {directory}")
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def wait_for_bucket(site: Site) -> None:
    deadline = time.monotonic() + 20
    while site.client().call("HEAD", f"/{BUCKET}").status != 200:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the bucket did not reach {site.name}:\n{site.log_tail()}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
