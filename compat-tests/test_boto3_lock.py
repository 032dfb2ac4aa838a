"""Object lock as boto3 sees it: what is protected is not destroyed, whoever asks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest

from expect import refused


def hours(number: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(hours=number)


@pytest.fixture
def locked(s3):
    name = f"lock-{uuid4()}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def put(s3, bucket: str, **lock) -> str:
    return s3.put_object(Bucket=bucket, Key="k", Body=b"x", **lock)["VersionId"]


def test_a_bucket_with_lock_has_versions_and_keeps_them(s3, locked):
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    suspended = {"Status": "Suspended"}
    with refused("InvalidBucketState", 409):
        s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration=suspended)


def test_a_default_retention_protects_what_asks_for_none(s3, locked):
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})
    version = put(s3, locked)
    shown = s3.head_object(Bucket=locked, Key="k")
    assert shown["ObjectLockMode"] == "GOVERNANCE" and shown["ObjectLockRetainUntilDate"] > hours(23)
    with refused("AccessDenied", 403):
        s3.delete_object(Bucket=locked, Key="k", VersionId=version)
    s3.delete_object(Bucket=locked, Key="k", VersionId=version, BypassGovernanceRetention=True)


def test_compliance_yields_to_nobody(s3, locked):
    version = put(s3, locked, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=hours(1))
    named = {"Bucket": locked, "Key": "k", "VersionId": version}
    with refused("AccessDenied", 403):
        s3.delete_object(**named, BypassGovernanceRetention=True)
    for retention in ({"Mode": "GOVERNANCE", "RetainUntilDate": hours(2)}, {"Mode": "COMPLIANCE", "RetainUntilDate": hours(0.5)}):
        with refused("AccessDenied", 403):
            s3.put_object_retention(**named, Retention=retention, BypassGovernanceRetention=True)
    s3.put_object_retention(**named, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": hours(2)})


def test_a_legal_hold_holds_until_it_is_off(s3, locked):
    version = put(s3, locked, ObjectLockLegalHoldStatus="ON")
    named = {"Bucket": locked, "Key": "k", "VersionId": version}
    with refused("AccessDenied", 403):
        s3.delete_object(**named, BypassGovernanceRetention=True)
    assert s3.delete_object(Bucket=locked, Key="k")["DeleteMarker"] is True
    s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": "OFF"}
    s3.delete_object(**named)
    with refused("NoSuchVersion", 404):
        s3.get_object(**named)


def test_nothing_is_locked_in_a_bucket_without_lock(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("ObjectLockConfigurationNotFoundError", 404):
        s3.get_object_lock_configuration(Bucket=bucket)
    until = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": hours(1)}
    with refused("InvalidRequest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"y", **until)
    with refused("InvalidRequest", 400):
        s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"})
