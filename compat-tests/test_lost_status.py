"""status.redb is removed, or put back as it was earlier, while the objects stay: the next start rebuilds it."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from botocore.exceptions import ClientError

import server
import stores
from boto import at_site

BUCKET = "kept"
PART = 5 << 20


@pytest.fixture
def site(tmp_path):
    if os.environ.get("COMPAT_ENDPOINT"):
        pytest.skip("needs a directory of its own")
    store = stores.asked(tmp_path)
    process = server.Anybucket(tmp_path, env=store.settings if store else None)
    process.up()
    yield process
    if process.alive():
        process.stop()
    if store:
        store.kill()


def fill(s3) -> None:
    s3.create_bucket(Bucket=BUCKET)
    for n in range(200):
        described = {"ContentType": "text/plain", "Metadata": {"number": str(n)}, "Tagging": f"n={n}"}
        s3.put_object(Bucket=BUCKET, Key=f"dir-{n % 7}/{n:03}", Body=b"x" * n * 13, **described)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    named = {"Bucket": BUCKET, "Key": "parts", "UploadId": upload}
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=bytes([n]) * size, **named)["ETag"]} for n, size in [(1, PART), (2, 99)]
    ]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)
    s3.delete_object(Bucket=BUCKET, Key="dir-0/007")


def seen(s3) -> dict:
    """Everything that can be read, once the site lists again."""
    for _ in range(100):
        try:
            listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
            break
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
            time.sleep(0.1)
    world = {}
    for entry in listed:
        key = entry["Key"]
        got = s3.get_object(Bucket=BUCKET, Key=key)
        tags = s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
        world[key] = (got["ETag"], got["ContentType"], got["Metadata"], got["LastModified"], tags, got["Body"].read())
    return world


def test_a_removed_status_store_is_rebuilt_after_an_orderly_end(site):
    fill(at_site(site))
    before = seen(at_site(site))
    assert len(before) == 200
    site.stop()
    (site.data / "status.redb").unlink()
    site.up()
    assert seen(at_site(site)) == before


def test_a_removed_status_store_costs_no_byte_after_a_kill(site):
    s3 = at_site(site)
    fill(s3)
    before = seen(s3)
    time.sleep(11)
    s3.put_object(Bucket=BUCKET, Key="late", Body=b"written last")
    site.kill()
    (site.data / "status.redb").unlink()
    site.up()
    after = seen(at_site(site))
    late = after.pop("late")
    assert late[5] == b"written last"
    assert after == before


def test_what_was_acknowledged_just_before_a_kill_is_found_again(site):
    """Over services it lies under a name of its own then, and may have been copied to its key's or not."""
    s3 = at_site(site)
    fill(s3)
    before = seen(s3)
    time.sleep(11)
    written = {}
    for n in range(300):
        key, body = (f"late/{n:03}", f"late {n}".encode()) if n % 3 else (f"dir-{n % 7}/{n % 200:03}", f"later {n}".encode())
        if key in before or key.startswith("late/"):
            written[key] = (s3.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="text/late")["ETag"], body)
    site.kill()
    (site.data / "status.redb").unlink()
    site.up()
    after = seen(at_site(site))
    assert after.keys() == before.keys() | written.keys()
    assert {key: (after[key][0], after[key][5]) for key in written} == written
    assert {key: after[key] for key in before if key not in written} == {key: before[key] for key in before if key not in written}
    if os.environ.get("COMPAT_STORE", "fs") not in ("", "fs"):
        assert {after[key][1] for key in written} == {"text/late"}


def test_a_status_store_from_a_backup_catches_up(site):
    s3 = at_site(site)
    fill(s3)
    site.stop()
    backup = site.directory / "backup.redb"
    shutil.copy(site.data / "status.redb", backup)
    site.up()
    s3 = at_site(site)
    for n in range(20, 40):
        s3.put_object(Bucket=BUCKET, Key=f"dir-{n % 7}/{n:03}", Body=b"newer", Metadata={"newer": "yes"})
    s3.delete_object(Bucket=BUCKET, Key="dir-1/050")
    before = seen(s3)
    site.stop()
    shutil.copy(backup, site.data / "status.redb")
    site.up()
    assert seen(at_site(site)) == before
