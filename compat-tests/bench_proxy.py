"""What a service costs through anybucket: beside the service itself and `rclone serve s3` over it, in one run.

    .tools/py/bin/python compat-tests/bench_proxy.py [STORE …] [--rounds 3] [--seconds 5] [--only PATTERN] [--limit-mib-s 200] [--json]
    .tools/py/bin/python compat-tests/bench_proxy.py [STORE …] --rss

STORE is versitygw (the default), azurite or gcs. Only the first speaks S3 itself and has something to be compared with; of the
others there are figures of anybucket alone, and the emulators are what is slow. What a server does after its answers counts as its
CPU: nothing else begins until all are quiet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import bench_small
import bench_stream
import stores
from peers import Rclone
from process import Process, accepts, free_port
from rawhttp import Client
from server import ROOT, Anybucket
from sigv4 import Credentials

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BUCKET, SMALL_KEYS, LARGE_KEYS = "bench", 512, 4
PART_BYTES = 8 * MIB
QUIET_LOOK_S, QUIET_CPU_S, QUIET_S_MAX = 0.4, 0.04, 30
LIMITED_RATIO_MIN, RSS_MIB_MAX = 0.95, 384
FILLED_MIN = 0.85  # of a narrow wire by the service alone: with less, something else was narrow
# A table's columns: heading, width, digits, and the figures that it shows, of which a case has one.
COLUMNS = [
    ("1/s", 9, 0, ["per_s"]), ("MiB/s", 9, 1, ["mib_per_s"]), ("p50 ms", 9, 2, ["p50_ms"]), ("p99 ms", 9, 2, ["p99_ms"]),
    ("CPU s", 8, 2, ["cpu_s_per_1000", "cpu_s_per_gib"]), ("store's", 9, 2, ["store_cpu_s_per_1000", "store_cpu_s_per_gib"]),
    ("RSS MiB", 9, 0, ["rss_peak_mib"]),
]


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    bytes: int
    connections: int

    @property
    def is_large(self) -> bool:
        return self.bytes >= MIB


CASES = [
    Case("GET 4 KiB, 1 conn", "GET", 4 * KIB, 1), Case("GET 4 KiB, 16 conns", "GET", 4 * KIB, 16),
    Case("PUT 4 KiB, 1 conn", "PUT", 4 * KIB, 1), Case("PUT 4 KiB, 16 conns", "PUT", 4 * KIB, 16),
    Case("GET 64 MiB, 4 conns", "GET", 64 * MIB, 4), Case("PUT 64 MiB, 4 conns", "PUT", 64 * MIB, 4),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", default=["versitygw"], metavar="STORE", help=", ".join(stores.SERVICES))
    parser.add_argument("--rounds", type=int, default=3, help="interleaved")
    parser.add_argument("--seconds", type=float, default=5, help="of each timed stretch")
    parser.add_argument("--only", default="", help="regular expression of case names")
    parser.add_argument("--limit-mib-s", type=int, default=0, help="width of the wire to the store, each way; only large objects then")
    parser.add_argument("--rss", action="store_true", help="only the resident size under uploads at once, as single PUTs and in parts")
    parser.add_argument("--rss-streams", type=int, default=32)
    parser.add_argument("--rss-mib", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each figure, and no table")
    parser.add_argument("--dir", type=Path, default=ROOT / "target/bench", help="the disk that is measured")
    return parser.parse_args()


@dataclass
class Front:
    """Something that answers S3 over the service: anybucket, rclone, or the service itself."""

    name: str
    port: int
    credentials: Credentials
    process: Process
    bucket: str
    host: str = "127.0.0.1"

    def client(self) -> Client:
        return Client(self.host, self.port, self.credentials)


@dataclass(frozen=True)
class Sample:
    """One timed stretch."""

    per_s: float
    mib_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s_per_1000: float  # of the front, for a thousand requests
    cpu_s_per_gib: float
    store_cpu_s_per_1000: float
    store_cpu_s_per_gib: float


class Bench:
    """One service and its fronts."""

    def __init__(self, said: argparse.Namespace, name: str, directory: Path) -> None:
        self.said, self.name, self.directory = said, name, directory
        self.processes: list[Process] = []
        self.fronts: list[Front] = []
        self.large = bench_stream.make_file(directory / "large.bin", 64 * MIB)
        self.store = stores.SERVICES[name](directory)
        self.settings = dict(self.store.settings)

    def start(self) -> None:
        self.processes.append(self.store)
        self.store.up()
        port = self.narrow(self.store.port) if self.said.limit_mib_s else self.store.port
        endpoint = stores.MAIN + "ENDPOINT"
        self.settings[endpoint] = self.settings[endpoint].replace(f":{self.store.port}", f":{port}")
        site = Anybucket(self.directory, env=self.settings)
        self.processes.append(site)
        site.up()
        if self.name == "versitygw":
            keys = Credentials(self.settings[stores.MAIN + "ACCESS_KEY"], self.settings[stores.MAIN + "SECRET_KEY"])
            self.fronts.append(Front("straight", port, keys, self.store, "straight"))
        self.fronts.append(Front("anybucket", site.port, site.credentials, site, BUCKET))
        if self.name == "versitygw" and not self.said.rss:
            self.fronts.append(self.rclone())
        for front in self.fronts:
            made = front.client().call("PUT", f"/{front.bucket}")
            if made.status != 200:
                raise RuntimeError(f"{front.name}: no bucket: {made.status} {made.body[:300]!r}")

    def narrow(self, target_port: int) -> int:
        """A wire of the asked width to the service, in a process of its own."""
        port = free_port()
        relay = Path(__file__).with_name("relay.py")
        wire = Process("relay", [sys.executable, str(relay), str(port), str(target_port), str(self.said.limit_mib_s)], self.directory)
        wire.start(lambda: accepts(port))
        self.processes.append(wire)
        return port

    def rclone(self) -> Front:
        said = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": self.settings[stores.MAIN + "ENDPOINT"], "REGION": "us-east-1",
            "ACCESS_KEY_ID": self.settings[stores.MAIN + "ACCESS_KEY"], "SECRET_ACCESS_KEY": self.settings[stores.MAIN + "SECRET_KEY"],
        }
        directory = self.directory / "rclone"
        process = Rclone(directory, "store:", {f"RCLONE_CONFIG_STORE_{name}": value for name, value in said.items()})
        process.up()
        self.processes.append(process)
        return Front("rclone", process.port, process.credentials, process, "rclone")

    def compare(self) -> list[dict]:
        """Rounds over cases over fronts: a slow minute of the machine hits all of them."""
        cases = [case for case in CASES if re.search(self.said.only, case.name) and (case.is_large or not self.said.limit_mib_s)]
        samples: dict[tuple[str, str], list[Sample]] = {}
        for front in self.fronts:
            self.fill(front, cases)
        for round_ in range(self.said.rounds):
            for case in cases:
                for front in rotated(self.fronts, round_):
                    self.wait_quiet()
                    sample = self.measure(front, case)
                    samples.setdefault((case.name, front.name), []).append(sample)
                    print(f"{self.name}, round {round_ + 1}: {case.name}: {front.name}: {sample.per_s:.1f}/s", file=sys.stderr)
        return [figure for case in cases for figure in self.figures(case, samples)] + self.peaks()

    def fill(self, front: Front, cases: list[Case]) -> None:
        if any(not case.is_large for case in cases):
            client = front.client()
            for path in self.paths(front, CASES[0]):
                answer = client.call("PUT", path, body=b"r" * 4 * KIB)
                if answer.status != 200:
                    raise RuntimeError(f"{front.name}: PUT {path} answered {answer.status}: {answer.body[:300]!r}")
        if any(case.is_large and case.method == "GET" for case in cases):
            for path in self.paths(front, next(case for case in CASES if case.is_large)):
                with bench_stream.connect(front) as connection:
                    bench_stream.put_file(connection, front, path, self.large)

    def paths(self, front: Front, case: Case) -> list[str]:
        folder = f"{'large' if case.is_large else 'small'}-{case.method.lower()}"
        return [f"/{front.bucket}/{folder}/{number}" for number in range(LARGE_KEYS if case.is_large else SMALL_KEYS)]

    def measure(self, front: Front, case: Case) -> Sample:
        cpu, store_cpu = front.process.cpu_s(), self.store.cpu_s()
        took, elapsed = self.large_stretch(front, case) if case.is_large else self.small_stretch(front, case)
        self.wait_quiet()
        cpu, store_cpu = front.process.cpu_s() - cpu, self.store.cpu_s() - store_cpu
        count, moved, ordered = len(took), len(took) * case.bytes, sorted(took)
        return Sample(
            count / elapsed, moved / MIB / elapsed, statistics.median(took) * 1e3, ordered[int(count * 0.99)] * 1e3,
            cpu / count * 1e3, cpu / moved * GIB, store_cpu / count * 1e3, store_cpu / moved * GIB,
        )

    def small_stretch(self, front: Front, case: Case) -> tuple[list[float], float]:
        body = b"w" * case.bytes if case.method == "PUT" else b""
        prepared = bench_small.requests(front, case.method, self.paths(front, case), body)
        return bench_small.run(front, prepared, case.connections, self.said.seconds)

    def large_stretch(self, front: Front, case: Case) -> tuple[list[float], float]:
        """Each connection moves a key of its own over and over until the time is over; the last ones are finished."""
        took: list[float] = []
        began = time.monotonic()

        def move(path: str) -> None:
            with bench_stream.connect(front) as connection:
                while (at := time.monotonic()) < began + self.said.seconds:
                    if case.method == "GET":
                        bench_stream.get_away(connection, front, path)
                    else:
                        bench_stream.put_file(connection, front, path, self.large)
                    took.append(time.monotonic() - at)

        bench_stream.all_at_once([lambda path=path: move(path) for path in self.paths(front, case)[: case.connections]])
        return took, time.monotonic() - began

    def wait_quiet(self) -> None:
        """Until nobody works any more on what was asked for before, nor the kernel on what was written."""
        os.sync()
        deadline, before = time.monotonic() + QUIET_S_MAX, self.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(QUIET_LOOK_S)
            now = self.cpu_s()
            if now - before < QUIET_CPU_S:
                return
            before = now

    def cpu_s(self) -> float:
        return sum(process.cpu_s() for process in self.processes)

    def figures(self, case: Case, samples: dict[tuple[str, str], list[Sample]]) -> list[dict]:
        names = ["mib_per_s", "cpu_s_per_gib", "store_cpu_s_per_gib"] if case.is_large else [
            "per_s", "p50_ms", "p99_ms", "cpu_s_per_1000", "store_cpu_s_per_1000",
        ]
        figures = []
        for front in self.fronts:
            # The service itself is nobody's front: its CPU is told as the store's.
            mine = [name for name in names if front.name != "straight" or not name.startswith("cpu")]
            of = {"store": self.name, "front": front.name, "case": case.name}
            those = samples[case.name, front.name]
            figures += [of | {"figure": name} | spread([getattr(sample, name) for sample in those]) for name in mine]
            if front.name != "straight" and (straight := samples.get((case.name, "straight"))):
                ratios = [one.per_s / other.per_s for one, other in zip(those, straight)]
                medians = statistics.median(one.per_s for one in those) / statistics.median(one.per_s for one in straight)
                figures.append(of | {"figure": "ratio"} | spread(ratios) | {"of_medians": round(medians, 4)})
        return figures

    def peaks(self) -> list[dict]:
        return [
            {"store": self.name, "front": front.name, "case": "all", "figure": "rss_peak_mib"} | spread([front.process.rss_peak_mib()])
            for front in self.fronts
        ]

    def rss(self) -> list[dict]:
        """anybucket's greatest resident size under uploads at once."""
        front = next(front for front in self.fronts if front.name == "anybucket")
        source = bench_stream.make_file(self.directory / "rss.bin", self.said.rss_mib * MIB)
        figures = []
        for shape, put in (("single PUTs", put_whole), ("uploads in parts", put_parts)):
            self.wait_quiet()
            front.process.forget_rss_peak()
            began = time.monotonic()
            paths = [f"/{front.bucket}/rss/{number}" for number in range(self.said.rss_streams)]
            bench_stream.all_at_once([lambda path=path: put(front, path, source) for path in paths])
            took = time.monotonic() - began
            self.wait_quiet()
            case = {"store": self.name, "front": front.name, "case": f"{len(paths)} {shape} of {self.said.rss_mib} MiB at once"}
            figures.append(case | {"figure": "rss_peak_mib"} | spread([front.process.rss_peak_mib()]))
            figures.append(case | {"figure": "mib_per_s"} | spread([len(paths) * self.said.rss_mib / took]))
        return figures

    def end(self) -> None:
        for process in self.processes:
            if process.alive():
                process.kill()


def put_whole(front: Front, path: str, source: Path) -> None:
    with bench_stream.connect(front) as connection:
        bench_stream.put_file(connection, front, path, source)


def put_parts(front: Front, path: str, source: Path) -> None:
    client = front.client()
    upload = client.call("POST", path, {"uploads": ""}).field("UploadId")
    document, starts = "", range(0, source.stat().st_size, PART_BYTES)
    for number, start in enumerate(starts, 1):
        size = min(PART_BYTES, source.stat().st_size - start)
        with bench_stream.connect(front) as connection:
            bench_stream.put_file(connection, front, path, source, {"partNumber": str(number), "uploadId": upload}, start, size)
        document += f"<Part><PartNumber>{number}</PartNumber><ETag>{md5_of(source, start, size)}</ETag></Part>"
    done = client.call("POST", path, {"uploadId": upload}, body=f"<CompleteMultipartUpload>{document}</CompleteMultipartUpload>".encode())
    if done.status != 200:
        raise RuntimeError(f"{front.name}: Complete {path} answered {done.status}: {done.body[:300]!r}")


@lru_cache(maxsize=None)
def md5_of(source: Path, start: int, size: int) -> str:
    """Every upload sends the same file."""
    with open(source, "rb") as file:
        file.seek(start)
        return hashlib.md5(file.read(size)).hexdigest()


def rotated(fronts: list[Front], by: int) -> list[Front]:
    return fronts[by % len(fronts):] + fronts[: by % len(fronts)]


def spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def table(figures: list[dict]) -> str:
    """A line for each front in each case: medians, and of the ratio its spread. CPU is for 1,000 small requests, or a GiB."""
    groups: dict[tuple[str, str, str], dict[str, dict]] = {}
    for row in figures:
        groups.setdefault((row["store"], row["case"], row["front"]), {})[row["figure"]] = row
    width = max(len(case) for _, case, _ in groups) + 2
    head = "".join(f"{heading:>{wide}}" for heading, wide, _, _ in COLUMNS)
    lines = [f"{'store':<11}{'case':<{width}}{'front':<11}{head}  ratio of medians (min, median, max)"]
    for (store, case, front), of in groups.items():
        lines.append(f"{store:<11}{case:<{width}}{front:<11}{cells(of)}")
    return "\n".join(lines)


def cells(of: dict[str, dict]) -> str:
    line = ""
    for _, wide, digits, names in COLUMNS:
        shown = next((of[name]["median"] for name in names if name in of), None)
        line += " " * wide if shown is None else f"{shown:>{wide}.{digits}f}"
    ratio = of.get("ratio")
    return line + (f"  {ratio['of_medians']:.3f} ({ratio['min']:.3f}, {ratio['median']:.3f}, {ratio['max']:.3f})" if ratio else "")


def verdicts(said: argparse.Namespace, figures: list[dict]) -> list[tuple[str, str]]:
    """What the project promises, of what this run can judge: kept, MISSED or not judged, and of what it is said."""
    ours = [row for row in figures if row["front"] == "anybucket"]
    if said.rss:
        return [
            (verdict(row["median"] <= RSS_MIB_MAX), f"{row['store']}: {row['case']}: {row['median']:.0f} MiB, promised {RSS_MIB_MAX}")
            for row in ours if row["figure"] == "rss_peak_mib"
        ]
    if not said.limit_mib_s:
        return []
    filled = {row["case"]: row["median"] / said.limit_mib_s for row in figures if row["front"] == "straight" and row["figure"] == "mib_per_s"}
    return [limited(row, filled[row["case"]]) for row in ours if row["figure"] == "ratio"]


def limited(row: dict, filled: float) -> tuple[str, str]:
    said = f"{row['case']} is {row['of_medians']:.3f} × straight, promised {LIMITED_RATIO_MIN}"
    if filled < FILLED_MIN:
        return "not judged", f"{said}; straight fills {filled:.2f} of the wire, so something else is narrow"
    return verdict(row["of_medians"] >= LIMITED_RATIO_MIN), said


def verdict(is_kept: bool) -> str:
    return "kept" if is_kept else "MISSED"


def run(said: argparse.Namespace, name: str, parent: Path) -> list[dict]:
    directory = parent / name
    directory.mkdir()
    bench = Bench(said, name, directory)
    try:
        bench.start()
        return bench.rss() if said.rss else bench.compare()
    finally:
        bench.end()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    said = arguments()
    if unknown := set(said.stores) - set(stores.SERVICES):
        sys.exit(f"no such store: {', '.join(unknown)}; there are {', '.join(stores.SERVICES)}")
    said.dir.mkdir(parents=True, exist_ok=True)
    parent = Path(tempfile.mkdtemp(prefix="proxy-", dir=said.dir))
    try:
        figures = [figure for name in said.stores for figure in run(said, name, parent)]
    finally:
        shutil.rmtree(parent, ignore_errors=True)
    print("\n".join(map(json.dumps, figures)) if said.json else table(figures))
    said_of = verdicts(said, figures)
    for what, text in said_of:
        print(f"{what}: {text}", file=sys.stderr if said.json else sys.stdout)
    return 1 if any(what == "MISSED" for what, _ in said_of) else 0


if __name__ == "__main__":
    sys.exit(main())
