"""Buckets by boto3: made, found, listed, removed."""

import os

import pytest

from expect import refused


def test_a_new_bucket_is_there_until_it_is_deleted(s3):
    s3.create_bucket(Bucket="made-and-removed")
    assert s3.head_bucket(Bucket="made-and-removed")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert "made-and-removed" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    s3.delete_bucket(Bucket="made-and-removed")
    with refused("404", 404):
        s3.head_bucket(Bucket="made-and-removed")
    assert "made-and-removed" not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


def test_the_list_of_buckets_is_sorted_paged_and_filtered(s3):
    stem = f"paged-{os.getpid()}-"
    names = [f"{stem}{n:02}" for n in range(7)]
    for name in reversed(names):
        s3.create_bucket(Bucket=name)
    found, token = [], {}
    while True:
        page = s3.list_buckets(MaxBuckets=3, Prefix=stem, **token)
        assert len(page["Buckets"]) <= 3
        found += [b["Name"] for b in page["Buckets"]]
        if "ContinuationToken" not in page:
            break
        token = {"ContinuationToken": page["ContinuationToken"]}
    assert found == names


def test_a_bucket_with_objects_is_not_deleted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)


def test_the_default_region_has_no_location_constraint(s3, bucket):
    assert s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") in (None, "us-east-1")


@pytest.mark.parametrize("verb", ["get_object", "head_object", "delete_object", "put_object", "list_objects_v2", "create_multipart_upload"])
def test_nothing_works_in_a_bucket_that_is_not_there(s3, verb):
    key = {} if verb == "list_objects_v2" else {"Key": "k"}
    with refused(("NoSuchBucket", "404"), 404):
        getattr(s3, verb)(Bucket="never-made-bucket", **key)


@pytest.mark.parametrize("name", ["Upper-Case", "ab", "under_score", "two..dots", "-dash", "192.168.1.1", "a" * 64])
def test_illegal_bucket_names_are_refused(raw, name):
    answer = raw.call("PUT", f"/{name}")
    assert (answer.status, answer.code) == (400, "InvalidBucketName")
