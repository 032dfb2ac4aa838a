"""Pages of a listing, however deep: latency seen by a client on the same machine, and the server's CPU for each page."""

from __future__ import annotations

import statistics
import sys
import time

import preload
from rawhttp import Client

BUCKET = "listing"
PER_DIRECTORY = 1000
PAGES = 200


def key(number: int) -> str:
    """Keys in order of their number: directories of a thousand."""
    return f"d{number // PER_DIRECTORY:06}/k{number % PER_DIRECTORY:04}"


def measure(server, keys: int) -> list[dict]:
    """Fills a bucket with `keys` empty objects and times pages of it."""
    client = Client(server.host, server.port, server.credentials)
    client.call("PUT", f"/{BUCKET}")
    preload.fill(server.host, server.port, server.credentials, BUCKET, keys, key, b"")
    rows = []
    for percent in (0, 50, 90):
        after = key(keys * percent // 100)
        rows.append(page(server, client, f"flat, {percent} % deep", {"list-type": "2", "start-after": after}))
        rows.append(page(server, client, f"delimiter, {percent} % deep", {"list-type": "2", "start-after": after, "delimiter": "/"}))
        rows.append(page(server, client, f"version 1, {percent} % deep", {"marker": after}))
        rows.append(page(server, client, f"one directory, {percent} % deep", {"list-type": "2", "prefix": after[:8], "delimiter": "/"}))
    rows.append(token_page(server, client))
    return rows


def token_page(server, client: Client) -> dict:
    """A page by continuation token, which must cost what a page by name costs."""
    first = client.call("GET", f"/{BUCKET}", {"list-type": "2"}).xml()
    return page(server, client, "by token", {"list-type": "2", "continuation-token": first.findtext("NextContinuationToken") or ""})


def page(server, client: Client, name: str, query: dict[str, str]) -> dict:
    took, cpu = [], server.cpu_s()
    for _ in range(PAGES):
        began = time.perf_counter()
        answer = client.call("GET", f"/{BUCKET}", query)
        took.append((time.perf_counter() - began) * 1e3)
        if answer.status != 200:
            raise RuntimeError(f"LIST {query} answered {answer.status}: {answer.body[:300]!r}")
    tree = answer.xml()
    entries = len(tree.findall("Contents")) + len(tree.findall("CommonPrefixes"))
    row = {
        "page": name, "entries": entries, "p50_ms": statistics.median(took), "p99_ms": sorted(took)[int(PAGES * 0.99)],
        "max_ms": max(took), "cpu_ms": (server.cpu_s() - cpu) / PAGES * 1e3,
    }
    print("  ".join(f"{k}={v:.2f}" if isinstance(v, float) else f"{v}" for k, v in row.items()), file=sys.stderr)
    return row
