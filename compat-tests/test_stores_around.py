"""Objects that clients carried over every kind of store are what they were: ETags, bytes, headers, tags, checksums, versions in their order.

A directory, Azure, Google, S3 and a directory again, each under a site of its own. `ANYBUCKET_AROUND=1000` is what a release is tried with.
"""

import os
from dataclasses import dataclass
from itertools import zip_longest

import pytest

import around
import server
import stores

COUNT = int(os.environ.get("ANYBUCKET_AROUND", "200"))
WAY = ("fs", "azurite", "gcs", "versitygw", "fs")
FS = {stores.MAIN + "KIND": "fs"}
DIFFERENT_SHOWN_MAX = 5
pytestmark = pytest.mark.timeout(240)


@dataclass
class Stop:
    """One site of the way, over a store of its own."""

    name: str
    site: server.Anybucket
    store: stores.Service | None

    def end(self) -> None:
        for process in (self.site, self.store):
            if process and process.alive():
                process.kill()


@pytest.fixture
def stop_at(tmp_path):
    """Starts a site over a store of this name; where that is not installed, the test is skipped."""
    stops = []

    def start(name: str) -> Stop:
        directory = tmp_path / f"{len(stops)}-{name}"
        directory.mkdir()
        try:
            store = None if name == "fs" else stores.SERVICES[name](directory)
        except FileNotFoundError as error:
            pytest.skip(str(error))
        stops.append(Stop(name, server.Anybucket(directory, env=store.settings if store else FS), store))
        if store:
            store.up()
        stops[-1].site.up()
        return stops[-1]

    yield start
    for stop in stops:
        stop.end()


def client_of(stop: Stop):
    """Sends the checksums it is told to send, and no others. What a service has a bad moment for is asked again, as all clients do."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    pytest.importorskip("awscrt", reason="boto3[crt] is not installed")
    from botocore.config import Config

    who, config = stop.site.credentials, Config(
        signature_version="s3v4", retries={"total_max_attempts": 4, "mode": "standard"}, max_pool_connections=2 * around.WORKERS,
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3", endpoint_url=f"http://{stop.site.host}:{stop.site.port}", region_name=who.region, aws_access_key_id=who.access_key,
        aws_secret_access_key=who.secret_key, config=config,
    )


def differences(one: around.Picture, other: around.Picture) -> list[str]:
    """Of each key that differs the first version that does."""
    pairs = {name: zip_longest(one.get(name, []), other.get(name, [])) for name in sorted({*one, *other})}
    found = {name: next((pair for pair in enumerate(versions) if pair[1][0] != pair[1][1]), None) for name, versions in pairs.items()}
    return [f"{name}, version {pair[0]}:\n  {pair[1][0]}\n  {pair[1][1]}" for name, pair in found.items() if pair]


def test_what_went_around_all_stores_is_what_it_was(stop_at):
    source = stop_at(WAY[0])
    around.fill(client_of(source), COUNT, seed=COUNT)
    first = around.look(client_of(source))
    all_seen = [seen for versions in first.values() for seen in versions]
    assert len(all_seen) > 0.9 * COUNT and any(not seen.etag for seen in all_seen) and any(len(seen.sizes) > 1 for seen in all_seen)
    for name in [*WAY[1:], None]:
        target = stop_at(name) if name else None
        seen = around.copy(client_of(source), client_of(target) if target else None)
        if different := differences(first, seen):
            shown = "\n".join(different[:DIFFERENT_SHOWN_MAX])
            pytest.fail(f"{len(different)} of {len(first)} keys are not at {source.name} what they were at first:\n{shown}")
        source.end()
        source = target
