"""What is not built says so: 501 NotImplemented, never a silent success. A verb that gets built moves to a suite of its own."""

import json
from datetime import datetime

import pytest

from expect import refused

STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*"}
RULES = {
    "put_bucket_cors": {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}},
    "put_bucket_lifecycle_configuration": {
        "LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
    },
    "put_bucket_policy": {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})},
    "put_bucket_website": {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}},
    "put_bucket_notification_configuration": {"NotificationConfiguration": {}},
    "put_bucket_logging": {"BucketLoggingStatus": {}},
    "put_bucket_request_payment": {"RequestPaymentConfiguration": {"Payer": "Requester"}},
    "put_bucket_accelerate_configuration": {"AccelerateConfiguration": {"Status": "Enabled"}},
    "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Enabled"}},
    "put_object_lock_configuration": {
        "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    },
    "put_bucket_encryption": {
        "ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    },
}
OBJECT_RULES = {
    "put_object_retention": {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": datetime(2040, 1, 1)}},
    "put_object_legal_hold": {"LegalHold": {"Status": "ON"}},
    "restore_object": {"RestoreRequest": {"Days": 1}},
    "select_object_content": {
        "Expression": "SELECT * FROM S3Object", "ExpressionType": "SQL", "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}
    },
    "rename_object": {"RenameSource": "/other"},
}


@pytest.mark.parametrize("verb", RULES)
def test_a_rule_for_a_bucket_that_nobody_would_keep_is_refused(s3, bucket, verb):
    with refused("NotImplemented", 501):
        getattr(s3, verb)(Bucket=bucket, **RULES[verb])


@pytest.mark.parametrize("verb", OBJECT_RULES)
def test_a_rule_for_an_object_that_nobody_would_keep_is_refused(s3, bucket, verb):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    with refused("NotImplemented", 501):
        getattr(s3, verb)(Bucket=bucket, Key="k", **OBJECT_RULES[verb])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_an_unversioned_bucket_says_that_it_is(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
