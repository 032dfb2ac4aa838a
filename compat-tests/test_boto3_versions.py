"""Versions as boto3 sees them: what is written stays, what is deleted is hidden, what is purged is gone."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from expect import refused


def enable(s3, bucket: str, status: str = "Enabled") -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def body(s3, bucket: str, **which) -> bytes:
    return s3.get_object(Bucket=bucket, Key="k", **which)["Body"].read()


def units(s3, bucket: str, page_size: int = 1000) -> list[tuple[str, str]]:
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": page_size})
    rows = [row for page in pages for kind in ("Versions", "DeleteMarkers") for row in page.get(kind, [])]
    return sorted((row["Key"], row["VersionId"]) for row in rows)


@pytest.fixture
def versioned(s3, bucket):
    enable(s3, bucket)
    return bucket


def test_a_bucket_says_whether_it_has_versions(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        enable(s3, bucket, status)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


def test_every_write_stays_under_its_id_and_the_last_is_current(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    enable(s3, bucket)
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=text)["VersionId"] for text in (b"one", b"two")]
    assert body(s3, bucket) == b"two"
    assert [body(s3, bucket, VersionId=which) for which in ["null", *ids]] == [b"before", b"one", b"two"]
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(row["VersionId"], row["IsLatest"]) for row in listed] == [(ids[1], True), (ids[0], False), ("null", False)]


def test_a_delete_hides_and_its_marker_can_be_taken_away(s3, versioned):
    s3.put_object(Bucket=versioned, Key="k", Body=b"one")
    deleted = s3.delete_object(Bucket=versioned, Key="k")
    assert deleted["DeleteMarker"] is True
    with pytest.raises(ClientError) as hidden:
        s3.get_object(Bucket=versioned, Key="k")
    headers = hidden.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", deleted["VersionId"])
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned)
    with refused("MethodNotAllowed", 405):
        s3.get_object(Bucket=versioned, Key="k", VersionId=deleted["VersionId"])
    s3.delete_object(Bucket=versioned, Key="k", VersionId=deleted["VersionId"])
    assert body(s3, versioned) == b"one"


def test_a_purge_destroys_one_version_and_the_next_is_current(s3, versioned):
    ids = [s3.put_object(Bucket=versioned, Key="k", Body=text)["VersionId"] for text in (b"one", b"two", b"three")]
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[1])
    with refused("NoSuchVersion", 404):
        s3.get_object(Bucket=versioned, Key="k", VersionId=ids[1])
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[2])
    assert body(s3, versioned) == b"one"


def test_suspended_writes_replace_the_null_version_and_nothing_else(s3, versioned):
    kept = s3.put_object(Bucket=versioned, Key="k", Body=b"kept")["VersionId"]
    enable(s3, versioned, "Suspended")
    for text in (b"first", b"second"):
        assert "VersionId" not in s3.put_object(Bucket=versioned, Key="k", Body=text)
    assert (body(s3, versioned), body(s3, versioned, VersionId=kept)) == (b"second", b"kept")
    assert s3.delete_object(Bucket=versioned, Key="k")["VersionId"] == "null"
    assert units(s3, versioned) == sorted([("k", kept), ("k", "null")])


@pytest.mark.parametrize("page_size", [1, 2, 3, 7])
def test_a_listing_in_pages_leaves_no_version_out(s3, versioned, page_size):
    for key in ("a", "a/b", "a-b", "z"):
        for text in (b"1", b"2", b"3"):
            s3.put_object(Bucket=versioned, Key=key, Body=text)
        s3.delete_object(Bucket=versioned, Key=key)
    assert len(units(s3, versioned)) == 16
    assert units(s3, versioned, page_size) == units(s3, versioned)


def test_copies_and_uploads_name_the_versions_they_made_and_took(s3, versioned):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"one")["VersionId"]
    s3.put_object(Bucket=versioned, Key="k", Body=b"two")
    copied = s3.copy_object(Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first})
    assert copied["CopySourceVersionId"] == first
    assert s3.get_object(Bucket=versioned, Key="c", VersionId=copied["VersionId"])["Body"].read() == b"one"
    upload = s3.create_multipart_upload(Bucket=versioned, Key="m")["UploadId"]
    part = s3.upload_part(Bucket=versioned, Key="m", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    done = s3.complete_multipart_upload(Bucket=versioned, Key="m", UploadId=upload, MultipartUpload=parts)
    assert s3.head_object(Bucket=versioned, Key="m")["VersionId"] == done["VersionId"]


def test_a_delete_marker_is_no_source_of_a_copy(s3, versioned):
    s3.put_object(Bucket=versioned, Key="k", Body=b"1")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    source = {"Bucket": versioned, "Key": "k"}
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket=versioned, Key="c", CopySource=source)
    with refused("InvalidRequest", 400):
        s3.copy_object(Bucket=versioned, Key="c", CopySource={**source, "VersionId": marker})


def test_each_version_has_its_own_tags(s3, versioned):
    ids = [s3.put_object(Bucket=versioned, Key="k", Body=b"x")["VersionId"] for _ in range(2)]
    s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=ids[0], Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    tags = [s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=which)["TagSet"] for which in ids]
    assert tags == [[{"Key": "a", "Value": "b"}], []]


def test_many_versions_are_deleted_in_one_request(s3, versioned):
    for _ in range(3):
        s3.put_object(Bucket=versioned, Key="k", Body=b"x")
    s3.delete_object(Bucket=versioned, Key="k")
    named = [{"Key": key, "VersionId": which} for key, which in units(s3, versioned)]
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": named})
    assert len(answer["Deleted"]) == 4 and [row for row in answer["Deleted"] if row.get("DeleteMarker")]
    assert units(s3, versioned) == []
    s3.delete_bucket(Bucket=versioned)
