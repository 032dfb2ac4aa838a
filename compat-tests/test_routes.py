"""A site with two stores of which one has buckets elsewhere: under an older name, or several in one. Clients see none of it."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

import server
import stores
from boto import at_site, at_store

CLOUD = "ANYBUCKET__BACKEND__CLOUD__"
ROUTE = "ANYBUCKET__ROUTE__"
PHOTOS, OLD = "photos", "corp-photos-2019"
ONE, TWO, ALL = "team-one", "team-two", "corp-all"
PATIENCE_S = 60
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def start(tmp_path, store):
    """Starts the one site, with these settings of its second store."""
    sites = []

    def started(**more: str) -> server.Anybucket:
        cloud = {name.replace(stores.MAIN, CLOUD): value for name, value in store.settings.items()}
        cloud |= {CLOUD + name: value for name, value in more.items()}
        routes = {
            ROUTE + "0__BUCKETS": PHOTOS, ROUTE + "0__BACKEND": "cloud", ROUTE + "0__BUCKET": OLD,
            ROUTE + "1__BUCKETS": "team-*", ROUTE + "1__BACKEND": "cloud", ROUTE + "1__BUCKET": ALL, ROUTE + "1__PREFIX": "teams/{bucket}/",
            ROUTE + "2__BUCKETS": "*", ROUTE + "2__BACKEND": "main",
        }
        sites.append(server.Anybucket(tmp_path, env=cloud | routes | {stores.MAIN + "KIND": "fs"}))
        sites[-1].up()
        return sites[-1]

    yield started
    for site in sites:
        if site.alive():
            site.kill()


def buckets(s3) -> list[str]:
    return [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def read(s3, bucket: str, key: str) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def keys(s3, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def refusal(call, **what) -> int:
    with pytest.raises(ClientError) as refused:
        call(**what)
    return refused.value.response["ResponseMetadata"]["HTTPStatusCode"]


def until(done, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def is_removed(s3, bucket: str) -> bool:
    try:
        s3.delete_bucket(Bucket=bucket)
        return True
    except ClientError as error:
        assert error.response["Error"]["Code"] == "BucketNotEmpty", error
        return False


def test_a_bucket_keeps_its_old_name_in_the_store(start, store):
    direct = at_store(store)
    direct.create_bucket(Bucket=OLD)
    direct.put_object(Bucket=OLD, Key="2019/old.jpg", Body=b"from before")
    site = start()
    s3 = at_site(site)
    s3.create_bucket(Bucket="near")
    assert buckets(s3) == ["near", PHOTOS]
    assert read(s3, PHOTOS, "2019/old.jpg") == b"from before"
    s3.put_object(Bucket=PHOTOS, Key="2020/new.jpg", Body=b"of now")
    s3.copy_object(Bucket="near", Key="copy", CopySource={"Bucket": PHOTOS, "Key": "2020/new.jpg"})
    upload = s3.create_multipart_upload(Bucket=PHOTOS, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=PHOTOS, Key="parts", UploadId=upload, PartNumber=1, Body=b"in parts")
    told = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=PHOTOS, Key="parts", UploadId=upload, MultipartUpload=told)
    assert refusal(s3.create_bucket, Bucket=OLD) == 400
    assert refusal(s3.delete_bucket, Bucket=PHOTOS) == 409
    assert keys(s3, PHOTOS) == ["2019/old.jpg", "2020/new.jpg", "parts"]
    assert read(s3, PHOTOS, "parts") == b"in parts" and read(s3, "near", "copy") == b"of now"
    until(lambda: keys(direct, OLD)[-1:] == ["parts"], "whoever works at the store never sees what was written")
    for key in keys(s3, PHOTOS):
        s3.delete_object(Bucket=PHOTOS, Key=key)
    until(lambda: is_removed(s3, PHOTOS), "the bucket is never empty in the store")
    assert buckets(s3) == ["near"] and OLD not in buckets(direct)
    s3.create_bucket(Bucket=PHOTOS)
    assert OLD in buckets(direct) and PHOTOS not in buckets(direct)
    # What a crash leaves on its way is found under the same name.
    s3.put_object(Bucket=PHOTOS, Key="last", Body=b"before the end")
    site.kill()
    site.up()
    assert buckets(s3) == ["near", PHOTOS] and read(s3, PHOTOS, "last") == b"before the end"


def test_what_waits_for_the_store_comes_to_the_old_name(start, store):
    s3, direct = at_site(start(BUFFER__WHEN="always", BUFFER__FREE_BYTES_MIN="1MiB")), at_store(store)
    s3.create_bucket(Bucket=PHOTOS)
    s3.put_object(Bucket=PHOTOS, Key="a", Body=b"waits")
    assert read(s3, PHOTOS, "a") == b"waits"
    until(lambda: keys(direct, OLD) == ["a"], "what waits never comes to the store")
    assert read(direct, OLD, "a") == read(s3, PHOTOS, "a") == b"waits"


def test_several_buckets_lie_in_one(start, store):
    direct = at_store(store)
    direct.create_bucket(Bucket=ALL)
    direct.put_object(Bucket=ALL, Key=f"teams/{ONE}/old", Body=b"from before")
    direct.put_object(Bucket=ALL, Key="others", Body=b"nobody's here")
    site = start()
    s3 = at_site(site)
    assert buckets(s3) == []
    for bucket in (ONE, TWO):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="new", Body=bucket.encode())
    s3.put_bucket_versioning(Bucket=TWO, VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket=TWO, Key="v", Body=body)["VersionId"] for body in (b"1", b"22")]
    assert (buckets(s3), keys(s3, ONE), keys(s3, TWO)) == ([ONE, TWO], ["new", "old"], ["new", "v"])
    assert read(s3, ONE, "old") == b"from before" and read(s3, ONE, "new") == ONE.encode()
    assert s3.get_object(Bucket=TWO, Key="v", VersionId=versions[0])["Body"].read() == b"1"
    until(lambda: {f"teams/{ONE}/new", f"teams/{TWO}/new"} <= {*keys(direct, ALL)}, "whoever works at the store never sees what was written")
    assert refusal(s3.put_object, Bucket=ONE, Key="x" * 1020, Body=b"") == 400
    assert refusal(s3.create_bucket, Bucket=ALL) == 400
    assert refusal(s3.delete_bucket, Bucket=ONE) == 409
    for key in keys(s3, ONE):
        s3.delete_object(Bucket=ONE, Key=key)
    until(lambda: is_removed(s3, ONE), "the bucket is never empty in the store")
    site.kill()
    site.up()
    assert (buckets(s3), keys(s3, TWO), read(s3, TWO, "new")) == ([TWO], ["new", "v"], TWO.encode())
    assert s3.get_object(Bucket=TWO, Key="v", VersionId=versions[1])["Body"].read() == b"22"
    assert read(direct, ALL, "others") == b"nobody's here"
