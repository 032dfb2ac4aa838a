"""A bucket's tags, and what clients ask of a bucket before they use it."""

import pytest

from expect import refused


def test_a_bucket_has_tags_of_its_own(s3, bucket):
    with refused("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=bucket)
    tags = [{"Key": f"name-{n:02}", "Value": "über"} for n in range(50)]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    with refused("BadRequest", 400):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [*tags, {"Key": "one", "Value": "more"}]})
    s3.delete_bucket_tagging(Bucket=bucket)
    with refused("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=bucket)


@pytest.mark.parametrize(
    "verb, code",
    [
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("get_bucket_website", "NoSuchWebsiteConfiguration"),
        ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
    ],
)
def test_what_a_bucket_does_not_have_is_not_found(s3, bucket, verb, code):
    with refused(code, 404):
        getattr(s3, verb)(Bucket=bucket)


def test_what_every_bucket_has_is_told(s3, bucket):
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    told = s3.get_bucket_notification_configuration(Bucket=bucket)
    assert not any(name.endswith("Configurations") for name in told)
