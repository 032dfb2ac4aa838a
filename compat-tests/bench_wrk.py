"""Small requests and large reads, by wrk with presigned URLs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import sigv4
from peers import find_tool

HERE = Path(__file__).resolve().parent
WRK_THREADS = 2


@dataclass(frozen=True)
class Sample:
    """One timed stretch against one server."""

    per_s: float
    mib_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # the server's, for one request


def prepare(path: Path, server, method: str, targets: list[str]) -> Path:
    path.write_text("\n".join(sigv4.presign_many(server.credentials, method, f"{server.host}:{server.port}", targets)) + "\n")
    return path


def run(server, method: str, urls: Path, bytes_: int, connections: int, seconds: float, once: bool) -> Sample:
    argv = [
        find_tool("wrk"), f"-t{WRK_THREADS}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "--latency",
        "-s", str(HERE / "bench_wrk.lua"), f"http://{server.host}:{server.port}/",
        "--", method, str(urls), str(bytes_), str(WRK_THREADS), "once" if once else "cycle",
    ]
    before = server.cpu_s()
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    cpu_s = server.cpu_s() - before
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise RuntimeError(f"wrk said no result:\n{done.stdout}\n{done.stderr}")
    requests, duration_us, received, p50, p99, refused, broken = map(int, found[0].split()[1:])
    if method == "GET" and bytes_ >= 1 << 20:
        # Few large answers finish within a stretch: count what came of the unfinished too.
        requests = received / bytes_
    if refused and server.name == "rclone":
        # Racing PUTs into a folder it has just made: a few are refused, and count for it here.
        print(f"rclone refused {refused} of {requests} requests", file=sys.stderr)
        refused = 0
    if refused or broken or not requests:
        raise RuntimeError(f"{server.name}: {method}: {requests} requests, {refused} refused, {broken} broken\n{done.stdout}")
    moved = received if method == "GET" else requests * bytes_
    seconds = duration_us / 1e6
    return Sample(requests / seconds, moved / seconds / (1 << 20), p50 / 1e3, p99 / 1e3, cpu_s / requests * 1e6)
