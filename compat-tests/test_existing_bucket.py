"""A bucket of an S3 service that has objects before the site comes: they are what they were, to every client."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from boto import at_site, at_store

BUCKET = "before"
PART = 5 << 20
SHOWN = ("ETag", "ContentType", "ContentLength", "CacheControl", "ContentDisposition", "ContentLanguage", "ContentEncoding", "Metadata")
SAID = {
    "ContentType": "text/plain; charset=utf-8", "CacheControl": "max-age=60", "ContentDisposition": 'attachment; filename="a.txt"',
    "ContentLanguage": "de", "Metadata": {"colour": "red", "made-by": "another client"},
}
pytestmark = pytest.mark.timeout(120)


def shown(s3, key: str) -> dict:
    head = s3.head_object(Bucket=BUCKET, Key=key)
    tags = s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
    return {name: head.get(name) for name in SHOWN} | {"tags": sorted((tag["Key"], tag["Value"]) for tag in tags)}


def read(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def multipart(s3, key: str, **said) -> bytes:
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key, **said)["UploadId"]
    bodies = [b"1" * PART, b"2" * 1000]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    return b"".join(bodies)


def test_what_was_there_keeps_its_etag_headers_metadata_and_tags(store, site):
    there = at_store(store)
    there.create_bucket(Bucket=BUCKET)
    there.put_object(Bucket=BUCKET, Key="said", Body=b"a" * 100, Tagging="team=blue&stage=one", **SAID)
    there.put_object(Bucket=BUCKET, Key="plain", Body=b"")
    whole = multipart(there, "of/parts", **SAID)
    was = {key: shown(there, key) for key in ("said", "plain", "of/parts")}
    assert was["of/parts"]["ETag"].endswith('-2"') and was["said"]["tags"], was
    # What is younger is not believed to stay what it is.
    time.sleep(3)

    site.up()
    here = at_site(site)
    for _ in ("at once", "when all was read"):
        assert {key: shown(here, key) for key in was} == was
        assert {found["Key"]: found["ETag"] for found in here.list_objects_v2(Bucket=BUCKET)["Contents"]} == {
            key: head["ETag"] for key, head in was.items()
        }
        assert read(here, "of/parts") == whole
        site.import_all()

    there.put_object(Bucket=BUCKET, Key="said", Body=b"changed", ContentType="image/png", Metadata={"colour": "green"})
    assert read(here, "said") == b"changed"
    assert shown(here, "said") == shown(there, "said")
    here.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/of/parts")
    assert shown(here, "copy")["Metadata"] == SAID["Metadata"]


def test_a_key_that_the_store_cannot_have_is_not_taken_for_another(store, site, tmp_path):
    """Services refuse such names, and some take `/a` or `a/` for `a`. Where others write too, each is asked for."""
    there = at_store(store)
    there.create_bucket(Bucket=BUCKET)
    there.put_object(Bucket=BUCKET, Key="a", Body=b"a")
    there.put_object(Bucket=BUCKET, Key="f/a", Body=b"f/a")
    (tmp_path / "config.toml").write_text(f'[[bucket]]\nmatch = "{BUCKET}"\nownership = "shared"\n')
    site.up()
    here = at_site(site)
    odd = ["/a", "a/", "./a", "f//a", "f/./a", "f/../a", "//"]
    for key in odd:
        with pytest.raises(ClientError) as missing:
            here.head_object(Bucket=BUCKET, Key=key)
        assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404, key
        here.delete_object(Bucket=BUCKET, Key=key)
    for key in odd:
        here.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    site.import_all()
    assert {key: read(here, key) for key in ["a", "f/a", *odd]} == {key: key.encode() for key in ["a", "f/a", *odd]}
    assert (there.get_object(Bucket=BUCKET, Key="a")["Body"].read(), len(here.list_objects_v2(Bucket=BUCKET)["Contents"])) == (b"a", 9)
