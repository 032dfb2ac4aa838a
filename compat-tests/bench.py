"""anybucket beside nginx, `rclone serve s3` and versitygw, in one run on one disk. Compare ratios, and CPU per request; never two runs.

    .tools/py/bin/python compat-tests/bench.py [--rounds 3] [--seconds 5] [--only PATTERN] [--list-keys 1000000] [--rss]

Small GETs go to 512 keys, which every server has in memory. nginx serves static files and takes WebDAV PUTs: no signatures, no
ETag, no fsync. rclone and versitygw verify signatures and do not fsync.
Build with `cargo build --release` first, and let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import bench_listing
import bench_stream
import bench_wrk
import preload
from bench_wrk import Sample
from peers import Nginx, Rclone, Versitygw, find_tool
from rawhttp import Client
from server import ROOT, Anybucket

SERVERS = {"anybucket": Anybucket, "nginx": Nginx, "rclone": Rclone, "versitygw": Versitygw}
KIB, MIB = 1024, 1024 * 1024
SMALL_KEYS, LARGE_KEYS = 512, 4
NEW_KEYS_PER_S = 20_000  # prepared URLs; a faster server stops early


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    bytes: int
    connections: int
    keys: str  # read | new | over
    versioned: bool = False  # in a bucket that keeps versions, of anybucket alone

    @property
    def large(self) -> bool:
        return self.bytes >= MIB


CASES = [
    Case("GET 4 KiB, 16 conns", "GET", 4 * KIB, 16, "read"),
    Case("GET 64 MiB, 4 conns", "GET", 64 * MIB, 4, "read"),
    Case("PUT 4 KiB new, 16 conns", "PUT", 4 * KIB, 16, "new"),
    Case("PUT 4 KiB new, 64 conns", "PUT", 4 * KIB, 64, "new"),
    Case("PUT 4 KiB over, 16 conns", "PUT", 4 * KIB, 16, "over"),
    Case("PUT 4 KiB over, 64 conns", "PUT", 4 * KIB, 64, "over"),
    Case("PUT 64 MiB, 4 conns", "PUT", 64 * MIB, 4, "over"),
    Case("PUT 4 KiB version, 64 conns", "PUT", 4 * KIB, 64, "over", versioned=True),
]
# What the project promises of one run: (case, compared with, at least).
PROMISES = [
    ("GET 4 KiB, 16 conns", "nginx", 0.35), ("GET 64 MiB, 4 conns", "nginx", 0.8), ("PUT 64 MiB, 4 conns", "nginx", 0.5),
    ("PUT 4 KiB new, 64 conns", "rclone", 1.5), ("PUT 4 KiB over, 64 conns", "rclone", 2.0),
]
# And of one case beside another, both of anybucket.
PROMISES_OF_ITSELF = [("PUT 4 KiB version, 64 conns", "PUT 4 KiB over, 64 conns", 0.8)]
VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
PAGE_MS_MAX, RSS_MIB_MAX = 10, 128


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved; the median is shown (0: skip the comparison)")
    parser.add_argument("--seconds", type=float, default=5, help="of each timed stretch")
    parser.add_argument("--only", default="", help="regular expression of case names")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--list-keys", type=int, default=1_000_000, help="keys in the listed bucket (0: skip)")
    parser.add_argument("--rss", action="store_true", help="only the resident size under 32 uploads and 32 downloads of 256 MiB")
    parser.add_argument("--rss-streams", type=int, default=32)
    parser.add_argument("--rss-mib", type=int, default=256)
    parser.add_argument("--dir", type=Path, default=ROOT / "target/bench", help="the disk that is measured")
    parser.add_argument("--json", type=Path, default=ROOT / "target/bench/bench.json")
    return parser.parse_args()


class Bench:
    def __init__(self, said: argparse.Namespace, directory: Path) -> None:
        self.said, self.directory = said, directory
        self.servers = {}
        for name in said.servers.split(","):
            (directory / name).mkdir()
            self.servers[name] = SERVERS[name](directory / name)
        self.large = bench_stream.make_file(directory / "large.bin", 64 * MIB)
        self.results: dict = {"cases": {}, "listing": [], "rss": {}}

    def start(self) -> None:
        for name, server in self.servers.items():
            server.up()
            client = Client(server.host, server.port, server.credentials)
            if name != "nginx":
                client.call("PUT", "/bench")
            if name == "anybucket":
                client.call("PUT", "/versioned")
                enabled = client.call("PUT", "/versioned", {"versioning": ""}, body=VERSIONING)
                if enabled.status != 200:
                    raise RuntimeError(f"no versions: {enabled.status} {enabled.body!r}")

    def compare(self) -> None:
        """Rounds over cases over servers: a slow minute of the machine hits all of them."""
        cases = [case for case in CASES if re.search(self.said.only, case.name)]
        self.fill(cases)
        samples: dict[tuple[str, str], list[Sample]] = {}
        for round_ in range(self.said.rounds):
            for case in cases:
                names = [name for name in self.servers if name == "anybucket" or not case.versioned]
                for name in rotated(names, round_):
                    sample = self.measure(self.servers[name], case, round_)
                    samples.setdefault((case.name, name), []).append(sample)
                    print(f"round {round_ + 1}: {case.name}: {name}: {sample.per_s:.1f}/s, {sample.cpu_us:.0f} µs CPU", file=sys.stderr)
        for case in cases:
            self.results["cases"][case.name] = {
                name: median(samples[case.name, name]) for name in self.servers if (case.name, name) in samples
            }

    def fill(self, cases: list[Case]) -> None:
        wanted = {case.keys for case in cases}
        for server in self.servers.values():
            for folder in {"read", "over"} & wanted:
                # Racing PUTs into a folder that has to be made first are refused by some.
                first = Client(server.host, server.port, server.credentials).call("PUT", f"/bench/{folder}/0", body=b"r" * 4 * KIB)
                if first.status >= 300:
                    raise RuntimeError(f"{server.name}: {first.status} {first.body!r}")
                preload.fill(
                    server.host, server.port, server.credentials, "bench", SMALL_KEYS,
                    lambda number, folder=folder: f"{folder}/{number}", b"r" * 4 * KIB,
                )
            if any(case.large and case.method == "GET" for case in cases):
                with bench_stream.connect(server) as connection:
                    for number in range(LARGE_KEYS):
                        bench_stream.put_file(connection, server, f"/bench/read-large/{number}", self.large)

    def measure(self, server, case: Case, round_: int) -> Sample:
        # What others left unwritten must not be written on this one's time: only anybucket syncs by itself.
        os.sync()
        if case.large and case.method == "PUT":
            return bench_stream.measure_put(server, self.large, case.connections, self.said.seconds)
        urls = bench_wrk.prepare(self.directory / "urls", server, case.method, self.targets(case, round_))
        return bench_wrk.run(server, case.method, urls, case.bytes, case.connections, self.said.seconds, case.keys == "new")

    def targets(self, case: Case, round_: int) -> list[str]:
        bucket = "versioned" if case.versioned else "bench"
        if case.keys == "new":
            count = round(self.said.seconds * NEW_KEYS_PER_S)
            return [f"/{bucket}/new-{round_}-{case.connections}/{number}" for number in range(count)]
        folder, count = ("read-large", LARGE_KEYS) if case.large else (case.keys, SMALL_KEYS)
        return [f"/{bucket}/{folder}/{number}" for number in range(count)]

    def listing(self) -> None:
        if self.said.list_keys and "anybucket" in self.servers:
            self.results["listing"] = bench_listing.measure(self.servers["anybucket"], self.said.list_keys)

    def rss(self) -> None:
        source = bench_stream.make_file(self.directory / "rss.bin", self.said.rss_mib * MIB)
        for name, server in self.servers.items():
            self.results["rss"][name] = bench_stream.measure_rss(server, source, self.said.rss_streams)

    def end(self) -> None:
        self.results["peak_rss_mib"] = {name: server.rss_peak_mib() for name, server in self.servers.items()}
        for server in self.servers.values():
            server.stop()


def rotated(names: list[str], by: int) -> list[str]:
    return names[by % len(names):] + names[: by % len(names)]


def median(samples: list[Sample]) -> dict[str, float]:
    return {field: statistics.median(asdict(sample)[field] for sample in samples) for field in asdict(samples[0])}


def table(results: dict) -> str:
    lines = []
    if results["cases"]:
        lines.append(f"{'case':<28}{'server':<11}{'per s':>10}{'MiB/s':>9}{'÷ nginx':>9}{'÷ rclone':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>10}")
    for case, servers in results["cases"].items():
        for name, row in servers.items():
            ratios = [f"{row['per_s'] / servers[other]['per_s']:.3f}" if other in servers else "" for other in ("nginx", "rclone")]
            lines.append(
                f"{case:<28}{name:<11}{row['per_s']:>10.1f}{row['mib_per_s']:>9.1f}{ratios[0]:>9}{ratios[1]:>10}"
                f"{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['cpu_us']:>10.0f}"
            )
    for row in results["listing"]:
        lines.append(
            f"LIST {row['page']:<32}{row['entries']:>5} entries{row['p50_ms']:>9.2f} ms p50{row['p99_ms']:>9.2f} p99"
            f"{row['max_ms']:>9.2f} max{row['cpu_ms']:>8.2f} ms server CPU"
        )
    for name, row in results["rss"].items():
        lines.append(f"RSS {name}: peak {row['rss_peak_mib']:.0f} MiB under {row['streams']} uploads and as many downloads, {row['mib_per_s']:.0f} MiB/s")
    lines += [f"peak RSS of the whole run, {name}: {mib:.0f} MiB" for name, mib in results.get("peak_rss_mib", {}).items()]
    return "\n".join(lines)


def promises(results: dict) -> list[str]:
    """Each promise that this run can judge, kept or not."""
    lines = []
    for case, other, least in PROMISES:
        row = results["cases"].get(case, {})
        if {"anybucket", other} <= row.keys():
            lines.append(compared(row["anybucket"]["per_s"] / row[other]["per_s"], case, other, least))
    for case, other, least in PROMISES_OF_ITSELF:
        rows = [results["cases"].get(name, {}).get("anybucket") for name in (case, other)]
        if all(rows):
            lines.append(compared(rows[0]["per_s"] / rows[1]["per_s"], case, other, least))
    if results["listing"]:
        worst = max(results["listing"], key=lambda row: row["p50_ms"])
        said = f"slowest listing page ({worst['page']}) {worst['p50_ms']:.1f} ms at the client, promised {PAGE_MS_MAX} ms at the server"
        lines.append(verdict(worst["p50_ms"] <= PAGE_MS_MAX, said))
    if row := results["rss"].get("anybucket"):
        lines.append(verdict(row["rss_peak_mib"] <= RSS_MIB_MAX, f"RSS {row['rss_peak_mib']:.0f} MiB, promised {RSS_MIB_MAX} MiB"))
    return lines


def compared(ratio: float, case: str, other: str, least: float) -> str:
    return verdict(ratio >= least, f"{case} is {ratio:.2f} × {other}, promised {least} ×")


def verdict(is_kept: bool, said: str) -> str:
    return f"{'kept' if is_kept else 'MISSED'}: {said}"


def missing_tools(said: argparse.Namespace) -> list[str]:
    names = [name for name in said.servers.split(",") if name != "anybucket"] + ([] if said.rss else ["wrk"])
    lines = []
    for name in names:
        try:
            find_tool(name)
        except FileNotFoundError as error:
            lines.append(str(error))
    return lines


def main() -> int:
    said = arguments()
    if lines := missing_tools(said):
        print("\n".join(lines), file=sys.stderr)
        return 2
    said.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=said.dir))
    bench = Bench(said, directory)
    try:
        bench.start()
        if said.rss:
            bench.rss()
        else:
            if said.rounds:
                bench.compare()
            bench.listing()
        bench.end()
    finally:
        for server in bench.servers.values():
            if server.alive():
                server.kill()
        shutil.rmtree(directory, ignore_errors=True)
    said.json.parent.mkdir(parents=True, exist_ok=True)
    said.json.write_text(json.dumps(bench.results, indent=2) + "\n")
    print(table(bench.results))
    print("\n".join(promises(bench.results)))
    print(f"written to {said.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
