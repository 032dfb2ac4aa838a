"""One set of promises for the SDKs of other languages and the libraries that data frames stand on (see driver.py).

What a client has no call for is not asked of it: `asked_of` says so, and nothing is skipped.
"""

import json
import os
import urllib.request

import pytest

from conftest import write_file
from driver import PROGRAMS, Driver, Refused
from expect import MIB, etag, etag_of_parts, put_empty

BODIES = {"empty": b"", "one byte": b"\x00", "text": "über\n".encode() * 3, "chunks": os.urandom(200_001), "large": os.urandom(9 * MIB + 5)}
# object_store takes no empty segment and no control characters in a path; everybody takes these.
KEYS = ["plain.txt", "a b+c&d=e;f@g:h,i$j!k'(l)", "über/日本/🏔.jpg", "per%20cent%", "q?uery#frag", "deep/" * 40 + "leaf", "~tilde-_.*"]


@pytest.fixture(scope="session")
def drivers(endpoint, tmp_path_factory):
    """Each program is started once, when the first test asks for it."""
    logs, running = tmp_path_factory.mktemp("drivers"), {}
    env = {
        "AWS_ENDPOINT_URL": endpoint.url, "AWS_REGION": endpoint.who.region, "HOME": str(logs), "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": endpoint.who.access_key, "AWS_SECRET_ACCESS_KEY": endpoint.who.secret_key,
    }

    def running_one(program):
        if not program.installed():
            pytest.skip(f"{program.name} is not installed")
        if program.name not in running:
            running[program.name] = Driver(program, env, logs / f"{program.name}.log")
        return running[program.name]

    yield running_one
    for one in running.values():
        one.stop()


@pytest.fixture
def client(drivers, request):
    return drivers(request.param)


def asked_of(*acts):
    """Runs a test with every client that can do all of these."""
    return pytest.mark.parametrize("client", [one for one in PROGRAMS if one.can(*acts)], ids=lambda one: one.name, indirect=True)


def refused(client, code, status):
    """What is inside must be refused so; a client that keeps no status is believed its code."""

    class Expected:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            assert kind is Refused, error or "nothing was refused"
            assert error.code in code, error
            assert error.status == status or not client.program.statuses, error
            return True

    return Expected()


def put(client, bucket, key, path, **more):
    return client("put", bucket=bucket, key=key, file=str(path), **{"type": "text/x-test", "metadata": {}} | more)


@asked_of()
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_goes_and_comes_back_byte_for_byte(client, s3, bucket, tmp_path, body):
    stored = put(client, bucket, "k", write_file(tmp_path / "up", body))
    assert stored["etag"] == etag(body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    got = client("get", bucket=bucket, key="k", file=str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == body
    assert (got["etag"], got["size"]) == (etag(body), len(body))


@asked_of()
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_the_same_to_every_client(client, s3, bucket, tmp_path, key):
    put(client, bucket, key, write_file(tmp_path / "up", key.encode()))
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    client("get", bucket=bucket, key=key, file=str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == key.encode()


@asked_of()
def test_type_and_metadata_come_back(client, s3, bucket, tmp_path):
    put(client, bucket, "k", write_file(tmp_path / "up", b"hello"), metadata={"colour": "blue", "note": "a b=c"})
    seen = s3.head_object(Bucket=bucket, Key="k")
    assert (seen["ContentType"], seen["Metadata"]) == ("text/x-test", {"colour": "blue", "note": "a b=c"})
    for said in [client("head", bucket=bucket, key="k"), client("get", bucket=bucket, key="k", file=str(tmp_path / "down"))]:
        assert said == {"etag": etag(b"hello"), "size": 5, "type": "text/x-test", "metadata": {"colour": "blue", "note": "a b=c"}}


@asked_of()
@pytest.mark.parametrize("range_, first, end", [("bytes=0-0", 0, 1), ("bytes=70000-70999", 70_000, 71_000), ("bytes=99990-", 99_990, 100_000), ("bytes=-7", 99_993, 100_000)])
def test_a_range_is_those_bytes(client, s3, bucket, tmp_path, range_, first, end):
    body = os.urandom(100_000)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    said = client("get", bucket=bucket, key="k", file=str(tmp_path / "down"), range=range_)
    assert (tmp_path / "down").read_bytes() == body[first:end]
    assert said["size"] == end - first


@pytest.fixture(scope="module")
def many(new_bucket, s3):
    """More keys than a page holds, and folders beside them."""
    bucket = new_bucket()
    keys = [f"many/{number:04}" for number in range(1_100)] + ["many/a/x", "many/b/y", "other"]
    put_empty(s3, bucket, keys)
    return bucket, keys


@asked_of()
def test_a_listing_of_several_pages_is_whole_and_in_order(client, many):
    bucket, keys = many
    assert client("list", bucket=bucket, prefix="many/")["keys"] == keys[:-1]


@asked_of()
def test_folders_are_told_from_keys(client, many):
    bucket, keys = many
    said = client("list", bucket=bucket, prefix="many/", delimiter="/")
    assert (sorted(said["keys"]), sorted(said["prefixes"])) == (keys[:1_100], ["many/a/", "many/b/"])


@asked_of()
def test_a_large_file_goes_in_parts(client, s3, bucket, tmp_path):
    body = os.urandom(12 * MIB + 3)
    stored = client("upload", bucket=bucket, key="k", file=str(write_file(tmp_path / "up", body)), part=5 * MIB)
    assert stored["etag"] == etag_of_parts([body[: 5 * MIB], body[5 * MIB : 10 * MIB], body[10 * MIB :]])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    client("get", bucket=bucket, key="k", file=str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == body


@asked_of()
def test_a_copy_has_the_bytes_and_the_metadata(client, s3, bucket, tmp_path):
    put(client, bucket, "from", write_file(tmp_path / "up", b"hello"), metadata={"colour": "blue"})
    assert client("copy", bucket=bucket, key="to", **{"from": f"{bucket}/from"})["etag"] == etag(b"hello")
    seen = s3.get_object(Bucket=bucket, Key="to")
    assert (seen["Body"].read(), seen["Metadata"], seen["ContentType"]) == (b"hello", {"colour": "blue"}, "text/x-test")


@asked_of()
def test_what_is_deleted_is_gone_and_the_rest_stays(client, s3, bucket, tmp_path):
    for key in ["a", "b", "c", "d"]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    client("delete", bucket=bucket, key="a")
    assert client("delete_many", bucket=bucket, keys=["b", "c"]) == {"deleted": 2, "errors": 0}
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["d"]
    with refused(client, ["NoSuchKey"], 404):
        client("get", bucket=bucket, key="a", file=str(tmp_path / "down"))


@asked_of("create_bucket", "delete_bucket")
def test_a_bucket_is_made_and_removed_when_empty(client, s3, new_bucket):
    name = f"made-by-{client.program.name}-{os.getpid()}"
    client("create_bucket", bucket=name)
    s3.put_object(Bucket=name, Key="k")
    with refused(client, ["BucketNotEmpty"], 409):
        client("delete_bucket", bucket=name)
    s3.delete_object(Bucket=name, Key="k")
    client("delete_bucket", bucket=name)
    assert name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


@asked_of()
def test_what_must_be_new_is_never_replaced(client, s3, bucket, tmp_path):
    put(client, bucket, "k", write_file(tmp_path / "first", b"first"), if_none_match="*")
    with refused(client, ["PreconditionFailed"], 412):
        put(client, bucket, "k", write_file(tmp_path / "second", b"second"), if_none_match="*")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"


@asked_of("if_match")
def test_only_what_is_named_is_replaced(client, s3, bucket, tmp_path):
    seen = put(client, bucket, "k", write_file(tmp_path / "first", b"first"))["etag"]
    put(client, bucket, "k", write_file(tmp_path / "second", b"second"), if_match=seen)
    with refused(client, ["PreconditionFailed"], 412):
        put(client, bucket, "k", write_file(tmp_path / "third", b"third"), if_match=seen)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"second"


@asked_of("presign")
def test_a_presigned_url_is_all_one_needs(client, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"hello")
    with urllib.request.urlopen(client("presign", bucket=bucket, key="a b/ü")["url"]) as answer:
        assert answer.read() == b"hello"


@asked_of("count")
def test_a_counter_of_eight_racing_writers_loses_no_step(client, s3, bucket):
    said = client("count", bucket=bucket, key="counter", threads=8, steps=25)
    assert (said["created"], said["won"]) == (1, 200), said
    assert json.loads(s3.get_object(Bucket=bucket, Key="counter")["Body"].read()) == 200
