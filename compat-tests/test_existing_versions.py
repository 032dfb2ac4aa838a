"""A bucket of an S3 service that has versions before the site comes: all of them are served, and go on being what they were."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from boto import at_site, at_store
from conftest import gateway

BUCKET = "before"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def store(tmp_path):
    yield from gateway(tmp_path, has_versions=True)


@pytest.fixture
def there(store):
    """The service, with a history: a version of before it had versioning, two others, a delete marker; a key that is only a marker."""
    s3 = at_store(store)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"null", Metadata={"state": "null"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"one", ContentType="text/plain", Metadata={"state": "one"})
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"two")
    s3.put_object(Bucket=BUCKET, Key="a-below", Body=b"below")
    s3.put_object(Bucket=BUCKET, Key="gone", Body=b"gone")
    s3.delete_object(Bucket=BUCKET, Key="gone")
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"three")
    # What is younger is not believed to stay what it is.
    time.sleep(3)
    return s3


def history(s3) -> list[tuple]:
    """Key, whether it is a delete marker, whether it is current, ETag, size, bytes, metadata: by key, the newest first."""
    page = s3.list_object_versions(Bucket=BUCKET)
    entries = [(entry, False) for entry in page.get("Versions", [])] + [(entry, True) for entry in page.get("DeleteMarkers", [])]
    entries.sort(key=lambda entry: entry[0]["LastModified"], reverse=True)
    entries.sort(key=lambda entry: (entry[0]["Key"], not entry[0]["IsLatest"]))
    return [
        (entry["Key"], is_marker, entry["IsLatest"], entry.get("ETag"), entry.get("Size"), *(read(s3, entry) if not is_marker else ()))
        for entry, is_marker in entries
    ]


def read(s3, entry: dict) -> tuple:
    answer = s3.get_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])
    return answer["Body"].read(), answer["ContentType"], answer["Metadata"]


def ids(s3, key: str) -> list[str]:
    page = s3.list_object_versions(Bucket=BUCKET, Prefix=key)
    return [entry["VersionId"] for entry in page.get("Versions", []) + page.get("DeleteMarkers", []) if entry["Key"] == key]


def current(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def refused(call, **what) -> str:
    with pytest.raises(ClientError) as error:
        call(**what)
    return error.value.response["Error"]["Code"]


def test_every_version_is_what_it_was(store, site, there):
    was, of_a = history(there), ids(there, "a")
    site.up()
    here = at_site(site)
    assert here.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert current(here, "a") == b"three"
    for missing in ["gone", "/a", "a//b", "./a", "a/../a"]:
        assert refused(here.get_object, Bucket=BUCKET, Key=missing) == "NoSuchKey", missing
    site.import_all()
    assert history(here) == was
    # By the ids that clients of the service know.
    by_their_ids = [here.get_object(Bucket=BUCKET, Key="a", VersionId=version)["Body"].read() for version in of_a]
    assert by_their_ids == [there.get_object(Bucket=BUCKET, Key="a", VersionId=version)["Body"].read() for version in of_a]

    site.kill()
    (site.data / "status.redb").unlink()
    site.up()
    site.import_all()
    here = at_site(site)
    end = time.monotonic() + 60
    while True:
        try:
            assert history(here) == was
            break
        except ClientError as error:
            # As long as it is not known whether the rows are complete.
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503 and time.monotonic() < end, error
            time.sleep(0.2)


def test_a_null_version_of_ours_lies_apart_from_the_service_s(store, site, there):
    """In a bucket that is suspended: at the key's own name it would be the service's current version."""
    there.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    first = ids(there, "a")
    site.up()
    site.import_all()
    here = at_site(site)
    assert here.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Suspended"
    here.put_object(Bucket=BUCKET, Key="a", Body=b"ours")
    here.put_object(Bucket=BUCKET, Key="new", Body=b"ours too")
    # Elsewhere they would be at their keys within a second.
    time.sleep(2)
    assert current(there, "a") == b"three" and ids(there, "new") == []
    assert [version for version in first if version not in ids(there, "a")] == ["null"], "ours took the place of this one alone"
    bodies = [entry[5] for entry in history(here) if entry[0] in ("a", "new")]
    assert bodies == [b"ours", b"three", b"two", b"one", b"ours too"]


def test_what_either_writes_or_removes_goes_on(store, site, there):
    site.up()
    site.import_all()
    here = at_site(site)
    first = ids(there, "a")
    here.put_object(Bucket=BUCKET, Key="a", Body=b"ours")
    # Elsewhere it would be at its key within a second.
    time.sleep(2)
    assert ids(there, "a") == first and current(there, "a") == b"three", "others see theirs"
    assert current(here, "a") == b"ours"
    victim = next(version for version in first if there.get_object(Bucket=BUCKET, Key="a", VersionId=version)["Body"].read() == b"two")
    here.delete_object(Bucket=BUCKET, Key="a", VersionId=victim)
    assert sorted(ids(there, "a")) == sorted(version for version in first if version != victim)
    assert refused(here.get_object, Bucket=BUCKET, Key="a", VersionId=victim) == "NoSuchVersion"

    there.put_object(Bucket=BUCKET, Key="a", Body=b"theirs")
    there.put_object(Bucket=BUCKET, Key="new", Body=b"new")
    time.sleep(3)
    ran = site.command("reconcile", BUCKET)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (current(here, "a"), current(here, "new")) == (b"theirs", b"new")
    bodies = [body for key, is_marker, *_, body, _, _ in (entry for entry in history(here) if not entry[1]) if key == "a"]
    assert bodies == [b"theirs", b"ours", b"three", b"one", b"null"]
    assert "0 differences" in site.command("reconcile", BUCKET).stdout

    here.delete_object(Bucket=BUCKET, Key="a")
    assert refused(here.get_object, Bucket=BUCKET, Key="a") == "NoSuchKey"
    for key in {entry[0] for entry in history(here)}:
        # The oldest first: the service takes the wrong one for current, and loses the others, when the current one is removed by its id.
        for version in reversed(ids(here, key)):
            here.delete_object(Bucket=BUCKET, Key=key, VersionId=version)
    assert history(here) == []
    here.delete_bucket(Bucket=BUCKET)
    assert BUCKET not in [bucket["Name"] for bucket in there.list_buckets()["Buckets"]]
    here.create_bucket(Bucket=BUCKET)
    assert "Status" not in here.get_bucket_versioning(Bucket=BUCKET)
