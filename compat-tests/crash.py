"""Kills the real binary at random moments under mixed load and checks that every promise it made still holds.

    .tools/py/bin/python compat-tests/crash.py --cycles 25 [--seed S] [--seconds-per-cycle 1.0] [--objects N]
    COMPAT_STORE=versitygw|minio .tools/py/bin/python compat-tests/crash.py [--kill-store]

kill -9 alone proves nothing about fsync: the page cache survives it. The crash states in `cargo test` prove that half.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import crash_load
import crash_store
import preload
import stores
from crash_disk import Disk
from crash_record import Fault
from peers import Rclone
from rawhttp import Client
from server import ROOT, Anybucket

SERVERS = {"anybucket": Anybucket, "rclone": Rclone}
BUCKET, PRELOADED = "crash", "preloaded"
PROCESSES = 2
SHOWN_FAULTS_MAX = 40
STORE_AWAY_S_MAX = 1.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=25)
    parser.add_argument("--seed", type=int, default=None, help="of the operations; the moments of death depend on the machine")
    parser.add_argument("--seconds-per-cycle", type=float, default=1.0, help="load before each kill, on average")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--keys", type=int, default=64, help="of each thread")
    parser.add_argument("--objects", type=int, default=0, help="preloaded besides, to see how long a start takes with many")
    parser.add_argument("--server", choices=SERVERS, default="anybucket", help="rclone loses writes: it shows that this test can fail")
    parser.add_argument("--kill-store", action="store_true", help="the service of COMPAT_STORE dies too, and comes back during the load")
    parser.add_argument("--dir", type=Path, default=ROOT / "target/crash")
    return parser.parse_args()


class Clients:
    """The processes that make the load and keep the record."""

    def __init__(self, target: crash_load.Target) -> None:
        fork = multiprocessing.get_context("fork")
        self.pipes, self.children = [], []
        for number in range(PROCESSES):
            ours, theirs = fork.Pipe()
            share = range(number, target.threads, PROCESSES)
            child = fork.Process(target=crash_load.run_process, args=(target, share, theirs), daemon=True)
            child.start()
            self.pipes.append(ours)
            self.children.append(child)

    def tell(self, order: str) -> None:
        for pipe in self.pipes:
            pipe.send(order)

    def reports(self) -> crash_load.Report:
        whole = crash_load.Report(crash_load.Tally(), [], {})
        for pipe in self.pipes:
            part = pipe.recv()
            whole.tally.add(part.tally)
            whole.fresh += part.fresh
            whole.live |= part.live
        return whole


class Run:
    """One whole run: a server, its clients, what was counted and what went wrong."""

    def __init__(self, said: argparse.Namespace, seed: int, directory: Path) -> None:
        self.said, self.seed, self.random = said, seed, random.Random(seed)
        self.store = stores.asked(directory) if said.server == "anybucket" else None
        self.server = Anybucket(directory, env=self.store.settings) if self.store else SERVERS[said.server](directory)
        self.disk = Disk(self.server.objects / BUCKET)
        self.counts, self.faults, self.ready_s, self.loaded_s = Counter(), [], [], 0.0

    def go(self) -> None:
        self.server.up()
        client = self.client()
        for bucket in (BUCKET, PRELOADED):
            client.call("PUT", f"/{bucket}")
        if self.said.objects:
            preload.fill(
                self.server.host, self.server.port, self.server.credentials, PRELOADED, self.said.objects, preloaded_key, b"sixteen bytes ok"
            )
        target = crash_load.Target(
            self.server.host, self.server.port, self.server.credentials, BUCKET, self.seed, self.said.threads, self.said.keys,
            crash_load.SHAPES if self.said.server == "anybucket" else crash_load.PLAIN_SHAPES, self.said.kill_store,
        )
        clients = Clients(target)
        for cycle in range(self.said.cycles):
            self.cycle(clients, cycle)
            if self.faults:
                break
        clients.tell("end")

    def cycle(self, clients: Clients, cycle: int) -> None:
        """Load, kill, restart, check."""
        clients.tell("load")
        began = time.monotonic()
        self.let_work(self.said.seconds_per_cycle * self.random.uniform(0.5, 1.5))
        if not self.server.alive():
            self.faults.append(Fault("unexpected", f"the server ended by itself:\n{self.server.log_tail()}"))
        killed = time.monotonic()
        self.server.kill()
        clients.tell("stop")
        loaded = clients.reports()
        self.loaded_s += killed - began
        self.ready_s.append(self.server.up(patience_s=120))
        clients.tell("verify")
        checked = clients.reports()
        if loaded.tally.broke_at < killed and not self.said.kill_store:
            self.faults.append(Fault("unexpected", f"a connection broke {killed - loaded.tally.broke_at:.3f} s before the kill"))
        self.take(loaded, checked)
        last = cycle == self.said.cycles - 1
        self.check_whole(checked.live, last)
        print(
            f"cycle {cycle + 1}: {loaded.tally.counts['operations']} operations in {killed - began:.2f} s, "
            f"{loaded.tally.counts['writes']} writes, {loaded.tally.counts['deletes']} deletes, {len(checked.live)} objects, "
            f"ready {self.ready_s[-1]:.3f} s, {len(self.faults)} faults", file=sys.stderr,
        )

    def let_work(self, seconds: float) -> None:
        before = self.random.uniform(0, seconds)
        time.sleep(before)
        if self.said.kill_store:
            self.store.kill()
            time.sleep(self.random.uniform(0, STORE_AWAY_S_MAX))
            self.store.up()
        time.sleep(seconds - before)

    def take(self, loaded: crash_load.Report, checked: crash_load.Report) -> None:
        self.counts += loaded.tally.counts
        self.faults += loaded.tally.faults + checked.tally.faults
        self.disk.known |= {*loaded.fresh, *checked.fresh}

    def check_whole(self, live: dict, last: bool) -> None:
        """What no single client can see: strangers in the listing, files on the disk, the preloaded objects."""
        client = self.client()
        listed = {entry.findtext("Key") for entry in client.list(BUCKET)}
        self.faults += [Fault("undone", f"{key}: listed, and no client has it") for key in listed - set(live)]
        self.faults += [Fault("lost", f"{key}: in no listing of the whole bucket") for key in set(live) - listed]
        self.faults += [] if self.store else self.disk.faults()
        for _ in range(min(100, self.said.objects)):
            key = preloaded_key(self.random.randrange(self.said.objects))
            if client.call("GET", f"/{PRELOADED}/{key}").body != b"sixteen bytes ok":
                self.faults.append(Fault("lost", f"{PRELOADED}/{key}"))
        if last and self.said.server == "anybucket":
            self.check_store(live) if self.store else self.check_tidy(live)
            code = self.server.stop()
            if code != 0:
                self.faults.append(Fault("unexpected", f"SIGTERM ended it with {code}:\n{self.server.log_tail()}"))

    def check_store(self, live: dict) -> None:
        """In quiet, and after the site was compared with it, the store holds what the objects have and nothing else."""
        classes = self.ask("reconcile", "--orphans-older", "0")["summary"]["classes"]
        found = {name: count for name, count in classes.items() if count}
        # What a call of unknown outcome may yet undo is left alone for a quarter of an hour: then a plain name may stay for long.
        unsettled = self.ask("status")["unsettled"]
        view = crash_store.view(self.store, BUCKET)
        strays, strangers = view.strays(live), view.strangers(live)
        print(f"reconcile: {found or 'nothing'} found; {unsettled} unsettled; {len(strays)} strays, {len(strangers)} strangers", file=sys.stderr)
        self.faults += [Fault("lost", f"reconcile found {found[name]} {name}") for name in ("lost", "rotten", "content") if name in found]
        self.faults += [Fault("unexpected", f"{name}: no object has what is there") for name in strays]
        if len(strangers) > unsettled:
            self.faults += [Fault("undone", f"{name}: there, and no object") for name in strangers]

    def ask(self, *argv: str) -> dict:
        """What a command of the command line answers to machines."""
        done = self.server.command(*argv, "--json")
        if done.returncode:
            raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def check_tidy(self, live: dict) -> None:
        """In quiet the plain files are the live objects and nothing else."""
        deadline = time.monotonic() + 15
        while (left := self.disk.leftovers(live)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if left:
            too_many, missing = sum(n for n in left.values() if n > 0), -sum(n for n in left.values() if n < 0)
            self.faults.append(Fault("unexpected", f"15 s after the last restart {too_many} files have no object, {missing} objects no plain file"))

    def client(self) -> Client:
        return Client(self.server.host, self.server.port, self.server.credentials)


def preloaded_key(number: int) -> str:
    return f"{number % 1000:03}/{number:08}"


def main() -> int:
    said = arguments()
    if said.kill_store and os.environ.get("COMPAT_STORE") not in ("versitygw", "minio"):
        sys.exit("--kill-store needs COMPAT_STORE=versitygw or minio: the emulators forget when they die")
    seed = said.seed if said.seed is not None else random.SystemRandom().randrange(1 << 32)
    said.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=said.dir))
    run = Run(said, seed, directory)
    try:
        run.go()
    finally:
        for process in [run.server, *([run.store] if run.store else [])]:
            if process.alive():
                process.kill()
    return conclude(run, directory)


def conclude(run: Run, directory: Path) -> int:
    kinds = Counter(fault.kind for fault in run.faults)
    for fault in sorted(run.faults, key=lambda fault: fault.kind == "unexpected")[:SHOWN_FAULTS_MAX]:
        print(f"{fault.kind}: {fault.text}")
    if run.faults:
        print(f"{len(run.faults)} faults, {kinds['unexpected']} of them unexpected answers; seed {run.seed}; data kept in {directory}")
    else:
        shutil.rmtree(directory)
    print(f"load: {run.counts['operations'] / max(run.loaded_s, 0.001):.0f} operations/s, seed {run.seed}")
    print(
        f"crash: {len(run.ready_s)} cycles, {run.counts['writes']} acknowledged writes, {run.counts['deletes']} deletes, "
        f"{kinds['lost']} lost, {kinds['undone']} undone, {kinds['partial']} partial, ready max {max(run.ready_s, default=0):.2f} s"
    )
    return 1 if run.faults else 0


if __name__ == "__main__":
    sys.exit(main())
