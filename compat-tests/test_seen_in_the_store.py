"""What clients store through the site is, to whoever reads the store beside it, what it is to them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from boto import at_site, at_store

BUCKET = "beside"
PART = 5 << 20
SHOWN = ("ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "ContentEncoding", "ExpiresString")
SAID = {
    "ContentType": "text/plain; charset=utf-8", "CacheControl": "max-age=60", "ContentDisposition": 'attachment; filename="a.txt"',
    "ContentLanguage": "de", "ContentEncoding": "identity", "Expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    "Metadata": {"colour": "red", "mtime": "1795359600.123"},
}
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def here(site):
    site.up()
    client = at_site(site)
    client.create_bucket(Bucket=BUCKET)
    return client


def shown(s3, key: str) -> dict:
    head = s3.head_object(Bucket=BUCKET, Key=key)
    # What is there for the site alone is no client's.
    metadata = {name: value for name, value in head["Metadata"].items() if not name.startswith("anybucket-")}
    return {name: head.get(name) for name in SHOWN} | {"Metadata": metadata}


def read(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def check_same(site, here, store, *keys: str) -> None:
    site.settle()
    there = at_store(store)
    for key in keys:
        assert shown(there, key) == shown(here, key), key
        assert read(there, key) == read(here, key), key


def test_headers_and_metadata_of_a_put(store, site, here):
    here.put_object(Bucket=BUCKET, Key="small", Body=b"a", **SAID)
    here.put_object(Bucket=BUCKET, Key="large", Body=b"a" * (3 << 20), **SAID)
    assert shown(here, "small")["Metadata"] == SAID["Metadata"]
    # Sent in chunks to the store, which may keep that for what they are.
    here.put_object(Bucket=BUCKET, Key="large and plain", Body=b"a" * (3 << 20))
    check_same(site, here, store, "small", "large", "large and plain")
    here.put_object(Bucket=BUCKET, Key="small", Body=b"b", ContentType="image/png")
    check_same(site, here, store, "small")


def test_headers_and_metadata_of_an_upload_in_parts(store, site, here):
    upload = here.create_multipart_upload(Bucket=BUCKET, Key="parts", **SAID)["UploadId"]
    part = here.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=b"1" * PART)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    here.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload=parts)
    check_same(site, here, store, "parts")


def test_headers_and_metadata_of_a_copy(store, site, here):
    here.put_object(Bucket=BUCKET, Key="source", Body=b"a", **SAID)
    here.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/source")
    said = {"ContentType": "image/png", "Metadata": {"colour": "blue"}, "MetadataDirective": "REPLACE"}
    here.copy_object(Bucket=BUCKET, Key="other", CopySource=f"{BUCKET}/source", **said)
    here.copy_object(Bucket=BUCKET, Key="source", CopySource=f"{BUCKET}/source", **said)
    assert shown(here, "source")["Metadata"] == said["Metadata"]
    check_same(site, here, store, "copy", "other", "source")


def test_as_much_as_goes_to_the_store(store, site, here):
    long = {"ContentDisposition": "attachment; filename=" + "a" * 700, "CacheControl": "max-age=5, " + "b" * 700, "ContentType": "a/" + "c" * 20}
    here.put_object(Bucket=BUCKET, Key="much", Body=b"a", **long, Metadata={f"name-{n:02}": "x" * 40 for n in range(20)})
    check_same(site, here, store, "much")


def test_what_the_store_would_not_take_is_kept_here(store, site, here):
    long = {"ContentDisposition": "attachment; filename=" + "a" * 1000, "CacheControl": "max-age=5, " + "b" * 1000}
    odd = {"ContentType": "no type", "ContentLanguage": "de_DE;q=1"} | long
    metadata = {"anybucket-write": "1", "colour": "two  spaces", "snowball-auto-extract": "true"} | {f"name-{n}": "1" for n in range(60)}
    metadata["a" * 250] = "1"
    here.put_object(Bucket=BUCKET, Key="odd", Body=b"a", **odd, Metadata=metadata)
    site.settle()
    head = here.head_object(Bucket=BUCKET, Key="odd")
    assert {name: head[name] for name in odd} == odd
    assert head["Metadata"] == metadata
    assert read(at_store(store), "odd") == read(here, "odd") == b"a"
