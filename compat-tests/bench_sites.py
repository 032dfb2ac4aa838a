"""What two sites cost and how far behind the second one is. Figures, no verdicts: machines differ.

    .tools/py/bin/python compat-tests/bench_sites.py [--bus jetstream|poll] [--only PATTERN]
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random

from rawhttp import Client
from server import ROOT
from sites import Site, Sites

BUCKET, BODY = "bench", Random(1).randbytes(4096)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bus", choices=("jetstream", "poll"), default="jetstream")
    parser.add_argument("--only", default="", help="regular expression of: lag, catch-up, wiped, target down, target slow, absent")
    parser.add_argument("--rate", type=float, default=300, help="PUT/s while the lag is measured")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--objects", type=int, default=20_000, help="to catch up with")
    parser.add_argument("--wiped-objects", type=int, default=5_000, help="that the wiped site had")
    parser.add_argument("--rounds", type=int, default=5, help="target up against down or slow, interleaved")
    parser.add_argument("--dir", type=Path, default=ROOT / "target/bench")
    return parser.parse_args()


def put(client: Client, key: str) -> str:
    answer = client.call("PUT", f"/{BUCKET}/{key}", body=BODY)
    if answer.status != 200:
        raise RuntimeError(f"PUT {key} answered {answer.status}: {answer.body[:200]!r}")
    return answer.headers["x-anybucket-stamp"]


def quantiles(values: list[float]) -> str:
    ordered = sorted(values)
    at = lambda part: ordered[min(len(ordered) - 1, int(len(ordered) * part))]
    return f"p50 {at(0.5) * 1e3:.1f} ms, p99 {at(0.99) * 1e3:.1f} ms, max {ordered[-1] * 1e3:.1f} ms of {len(ordered)}"


def side_by_side(count: int, act) -> None:
    """Runs `act` in so many threads. What one of them raises is raised here: it did not do its share."""
    raised: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            act(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def listing(site: Site) -> dict[str, str] | None:
    """Keys and ETags; none while the site refuses to list."""
    try:
        return {entry.findtext("Key"): entry.findtext("ETag") for entry in site.client().list(BUCKET)}
    except RuntimeError as error:
        if "answered 503" not in str(error):
            raise
        return None


class Bench:
    def __init__(self, said: argparse.Namespace, sites: Sites) -> None:
        self.said, self.sites = said, sites
        self.here, self.there = sites.all

    def go(self) -> None:
        self.here.client().call("PUT", f"/{BUCKET}")
        while self.there.client().call("HEAD", f"/{BUCKET}").status != 200:
            time.sleep(0.05)
        cases = {
            "lag": self.lag, "catch-up": self.catch_up, "wiped": self.wiped, "target down": lambda: self.target(True),
            "target slow": lambda: self.target(False), "absent": self.absent,
        }
        for name, case in cases.items():
            if re.search(self.said.only, name):
                print(f"{name}: {case()}", flush=True)

    def lag(self) -> str:
        """From the answer of a PUT here to the first HEAD there that shows it; every tenth is watched."""
        took, watchers, written, count = [], [], [], int(self.said.rate * self.said.seconds)
        clients, cpu = 4, self.here.cpu_s()

        def watch(key: str, stamp: str, written: float) -> None:
            client = self.there.client()
            while client.call("HEAD", f"/{BUCKET}/{key}").headers["x-anybucket-stamp"] != stamp:
                time.sleep(0.005)
            took.append(time.monotonic() - written)

        def write(number: int) -> None:
            client, began = self.here.client(), time.monotonic()
            for turn in range(number, count, clients):
                time.sleep(max(0.0, began + turn / self.said.rate - time.monotonic()))
                key = f"lag/{turn}"
                stamp = put(client, key)
                written.append(key)
                if turn % 10 == 0:
                    watcher = threading.Thread(target=watch, args=(key, stamp, time.monotonic()))
                    watcher.start()
                    watchers.append(watcher)

        began = time.monotonic()
        side_by_side(clients, write)
        elapsed = time.monotonic() - began
        for watcher in watchers:
            watcher.join()
        cpu = self.here.cpu_s() - cpu
        puts = len(written)
        return f"{quantiles(took)}, at {puts / elapsed:.0f} PUT/s; {cpu / puts * 1e6:.0f} µs CPU a PUT here"

    def catch_up(self) -> str:
        """Objects written while the other site was down, and how fast it gets them afterwards."""
        self.there.kill()
        clients = 8

        def write(number: int) -> None:
            client = self.here.client()
            for turn in range(number, self.said.objects, clients):
                put(client, f"catch-up/{turn}")

        side_by_side(clients, write)
        began = time.monotonic()
        ready_s = self.there.up()
        while (owed := self.owed()) > 0:
            if time.monotonic() - began > 300:
                return f"not after 300 s: {owed} owed"
            time.sleep(0.05)
        took = time.monotonic() - began
        rate = self.said.objects / took
        return f"{self.said.objects} objects in {took:.1f} s from the start of the process, {ready_s:.1f} s of it until ready: {rate:.0f}/s"

    def wiped(self) -> str:
        """The other site is killed and loses all it had, and starts again while clients write here."""
        clients, stop, written = 4, threading.Event(), set()

        def fill(number: int) -> None:
            client = self.here.client()
            for turn in range(number, self.said.wiped_objects, clients):
                put(client, f"wiped/{turn}")
                written.add(f"wiped/{turn}")

        def go_on(number: int) -> None:
            client, turn = self.here.client(), 0
            while not stop.is_set():
                put(client, f"load/{number}/{turn}")
                written.add(f"load/{number}/{turn}")
                turn += 1
                time.sleep(0.01)

        side_by_side(clients, fill)
        load = threading.Thread(target=side_by_side, args=(clients, go_on))
        load.start()
        try:
            self.there.kill()
            shutil.rmtree(self.there.data)
            began = time.monotonic()
            ready_s = self.there.up()
            first_s, refused = self.first_correct(began)
            while (known := listing(self.there)) is None:
                if time.monotonic() - began > 300:
                    return "it does not list anything after 300 s"
                time.sleep(0.1)
            listed_s = time.monotonic() - began
        finally:
            stop.set()
            load.join()
        lacking = {f"wiped/{turn}" for turn in range(self.said.wiped_objects)} - known.keys()
        ended = time.monotonic()
        while (here := listing(self.here)) != listing(self.there):
            if time.monotonic() - ended > 120:
                return "the two are not equal after 120 s"
            time.sleep(0.1)
        equal_s = time.monotonic() - ended
        deleted = written - here.keys()
        verdict = "WRONG: " if lacking or deleted or first_s > 2 else ""
        return (
            f"{verdict}first correct GET {first_s:.2f} s after its start ({refused} refused before, ready after {ready_s:.2f} s); "
            f"first list after {listed_s:.1f} s, {len(lacking)} of {self.said.wiped_objects} missing in it; "
            f"equal {equal_s:.1f} s after the load; {len(deleted)} of {len(written)} deleted elsewhere"
        )

    def first_correct(self, began: float) -> tuple[float, int]:
        """When the wiped site first serves an object that it had, and how often it refused before. A 404 would be a lie."""
        refused = 0
        while True:
            answer = self.there.client().call("GET", f"/{BUCKET}/wiped/{self.said.wiped_objects // 2}")
            if answer.status == 200 and answer.body == BODY:
                return time.monotonic() - began, refused
            if answer.status != 503 or time.monotonic() - began > 60:
                raise RuntimeError(f"the wiped site answered {answer.status} after {time.monotonic() - began:.1f} s")
            refused += 1
            time.sleep(0.01)

    def owed(self) -> int:
        """Units that the other site has not receipted."""
        sites = self.here.admin("/v1/sites")
        return sum(site["pending"] for site in sites)

    def target(self, down: bool) -> str:
        """The PUT p50 here with the other site up, against it being cut off or behind 1 Mbit/s, in turn."""
        relays, up, bad, rss = self.sites.between(self.here, self.there), [], [], []
        for round_ in range(self.said.rounds):
            up.append(self.put_p50(f"up-{round_}"))
            for relay in relays:
                relay.cut() if down else setattr(relay, "bytes_per_s", 125_000)
            self.here.forget_rss_peak()
            bad.append(self.put_p50(f"bad-{round_}"))
            rss.append(self.here.rss_peak_mib())
            self.sites.heal()
            time.sleep(3)
        change = statistics.median(b / u for b, u in zip(bad, up)) - 1
        return f"PUT p50 {statistics.median(up) * 1e3:.2f} ms up, {statistics.median(bad) * 1e3:.2f} ms otherwise ({change:+.1%}); RSS peaks {min(rss):.0f} to {max(rss):.0f} MiB"

    def put_p50(self, name: str) -> float:
        took: list[float] = []

        def write(number: int) -> None:
            client, until, turn = self.here.client(), time.monotonic() + 3, 0
            while time.monotonic() < until:
                began = time.monotonic()
                put(client, f"{name}/{number}/{turn}")
                took.append(time.monotonic() - began)
                turn += 1

        side_by_side(4, write)
        return statistics.median(took)

    def absent(self) -> str:
        """A key nobody has, asked for while the other site cannot be reached."""
        for relay in self.sites.between(self.here, self.there):
            relay.cut()
        time.sleep(8)
        client, took, uncertain = self.here.client(), [], set()
        for number in range(1_000):
            began = time.monotonic()
            answer = client.call("GET", f"/{BUCKET}/nobody/{number}")
            took.append(time.monotonic() - began)
            if answer.status != 404:
                raise RuntimeError(f"answered {answer.status}")
            uncertain.add(answer.headers["x-anybucket-uncertain"])
        self.sites.heal()
        return f"{quantiles(took)}; uncertain: {uncertain}"


def main() -> int:
    said = arguments()
    said.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="sites-", dir=said.dir))
    sites = Sites(directory, 2, said.bus == "jetstream")
    try:
        sites.up()
        Bench(said, sites).go()
    finally:
        sites.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
