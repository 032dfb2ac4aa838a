"""While the store is down writes wait on the site's disk: answered, read, kept over kill -9, and then in the store, byte for byte."""

from __future__ import annotations

import json
import random
import time

import pytest
from botocore.exceptions import ClientError

import server
import stores
from boto import at_site, at_store
from process import accepts

BUCKET = "waits"
HEADER = "x-anybucket-buffered"
PATIENCE_S = 90
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def start(tmp_path, store):
    """Starts the one site, again where it was ended, with a buffer that takes such writes."""
    sites = []

    def started(when: str) -> server.Anybucket:
        if not sites:
            buffer = {stores.MAIN + "BUFFER__WHEN": when, stores.MAIN + "BUFFER__FREE_BYTES_MIN": "1MiB"}
            sites.append(server.Anybucket(tmp_path, env=store.settings | buffer))
        sites[0].up()
        return sites[0]

    yield started
    for site in sites:
        if site.alive():
            site.kill()


def put(s3, key: str, body: bytes) -> bool:
    """As clients do: again while it is answered with 503. Whether it waits on the site's disk."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            headers = s3.put_object(Bucket=BUCKET, Key=key, Body=body)["ResponseMetadata"]["HTTPHeaders"]
            return HEADER in headers
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
            assert time.monotonic() < end, error
            time.sleep(0.2)


def read(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def waiting(site) -> dict:
    told = site.command("status", "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)["buffers"][0]


def until(done, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def is_there(s3, key: str, body: bytes) -> bool:
    try:
        return read(s3, key) == body
    except ClientError:
        return False


def bodies(count: int) -> dict[str, bytes]:
    chance = random.Random(7)
    return {f"dir-{n % 3}/{n:02}": chance.randbytes(size) for n, size in zip(range(count), [0, 10, 70_000, 1 << 20, 3 << 20] * count)}


def test_what_was_acknowledged_while_the_store_was_down_comes_there(start, store):
    site = start("down")
    s3 = at_site(site)
    s3.create_bucket(Bucket=BUCKET)
    assert not put(s3, "before", b"the store has it")
    store.kill()
    all_bodies = bodies(20)
    assert all([put(s3, key, body) for key, body in all_bodies.items()])
    s3.put_object(Bucket=BUCKET, Key="deleted", Body=b"never to be seen there")
    s3.delete_object(Bucket=BUCKET, Key="deleted")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=BUCKET, Key="dir-0/00", Body=b"another", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert all(read(s3, key) == body for key, body in all_bodies.items())
    assert HEADER in s3.head_object(Bucket=BUCKET, Key="dir-0/00")["ResponseMetadata"]["HTTPHeaders"]
    # A carrier may have had the deleted one in its hands.
    until(lambda: waiting(site)["objects"] == len(all_bodies), "what was deleted still waits")
    site.kill()
    # What waits for a store that was not seen since the start is neither lost nor missing.
    site.start(lambda: accepts(site.port))
    with pytest.raises(ClientError) as early:
        read(s3, "dir-0/00")
    assert early.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    store.up()
    until(site.is_ready, "the site does not find its store")
    assert all(read(s3, key) == body for key, body in all_bodies.items())
    until(lambda: waiting(site)["objects"] == 0, "not everything was carried")
    direct = at_store(store)
    for key, body in all_bodies.items():
        until(lambda key=key, body=body: is_there(direct, key, body), f"{key} is not at its name")
    assert all(read(s3, key) == body for key, body in all_bodies.items())
    assert HEADER not in s3.head_object(Bucket=BUCKET, Key="dir-0/00")["ResponseMetadata"]["HTTPHeaders"]
    assert [file.name for file in (site.data / "buffer/main").iterdir()] == ["mark"]
    names = [found["Key"] for found in direct.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert "deleted" not in names and not put(s3, "after", b"well again")


def test_with_always_every_write_is_answered_from_the_disk_and_comes_to_the_store(start, store):
    site = start("always")
    s3 = at_site(site)
    s3.create_bucket(Bucket=BUCKET)
    all_bodies = bodies(10)
    for key, body in all_bodies.items():
        put(s3, key, body)
    for key, body in all_bodies.items():
        until(lambda key=key, body=body: is_there(at_store(store), key, body), f"{key} is not at its name")
    assert all(read(s3, key) == body for key, body in all_bodies.items())
