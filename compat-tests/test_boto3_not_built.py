"""What is not built says so: 501 NotImplemented, never a silent success. A verb that gets built moves to a suite of its own."""

import json

import pytest

from expect import refused

STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*"}
RULES = {
    "put_bucket_policy": {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})},
    "put_bucket_website": {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}},
    "put_bucket_notification_configuration": {"NotificationConfiguration": {}},
    "put_bucket_logging": {"BucketLoggingStatus": {}},
    "put_bucket_request_payment": {"RequestPaymentConfiguration": {"Payer": "Requester"}},
    "put_bucket_accelerate_configuration": {"AccelerateConfiguration": {"Status": "Enabled"}},
    "put_bucket_encryption": {
        "ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    },
}
OBJECT_RULES = {
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
