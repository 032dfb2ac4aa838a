"""Access control lists: kept and returned as S3 does, and counted for strangers, for other owners, and never against a bucket's will."""

import subprocess

import pytest

from expect import refused

EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
KNOWN = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


@pytest.fixture(scope="module")
def stranger(new_s3):
    """Signs nothing."""
    from botocore import UNSIGNED

    return new_s3(signature_version=UNSIGNED)


@pytest.fixture(scope="module")
def other(endpoint, tmp_path_factory):
    """A key of another owner: everything, but only in buckets of its own."""
    if not endpoint.process:
        pytest.skip("keys of a server that runs elsewhere are made by hand")
    import boto3
    from botocore.config import Config

    process, access_key, secret_key = endpoint.process, "OTHERSKEY", "a-secret-of-the-other-one"
    secret = tmp_path_factory.mktemp("other") / "secret"
    secret.write_text(secret_key)
    wanted = ["--owner", "other-owner", "--rights", "READ,WRITE,DELETE,ADMIN", "--secret-file", str(secret)]
    argv = [process.argv[0], "keys", "add", access_key, *wanted, *process.argv[2:]]
    done = subprocess.run(argv, env=process.env, cwd=process.directory, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return boto3.client(
        "s3", endpoint_url=endpoint.url, region_name=endpoint.who.region, aws_access_key_id=access_key,
        aws_secret_access_key=secret_key, config=Config(signature_version="s3v4", retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def owner(s3):
    return s3.list_buckets()["Owner"]["ID"]


def grants(answer) -> set[tuple[str, str]]:
    whom = lambda grantee: grantee.get("URI") or grantee["ID"]
    return {(whom(grant["Grantee"]), grant["Permission"]) for grant in answer["Grants"]}


def test_what_has_no_list_is_its_owners(s3, bucket, owner):
    s3.put_object(Bucket=bucket, Key="k", Body=b"mine")
    for answer in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        assert answer["Owner"]["ID"] == owner
        assert grants(answer) == {(owner, "FULL_CONTROL")}


@pytest.mark.parametrize(
    "canned, more",
    [
        ("private", set()),
        ("public-read", {(EVERYBODY, "READ")}),
        ("public-read-write", {(EVERYBODY, "READ"), (EVERYBODY, "WRITE")}),
        ("authenticated-read", {(KNOWN, "READ")}),
        ("bucket-owner-read", set()),
        ("bucket-owner-full-control", set()),
    ],
)
def test_a_canned_list_is_kept_wherever_it_is_said(s3, bucket, owner, canned, more):
    wanted = more | {(owner, "FULL_CONTROL")}
    s3.put_object(Bucket=bucket, Key="put", Body=b"x", ACL=canned)
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "put"}, ACL=canned)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ACL=canned)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    s3.put_object(Bucket=bucket, Key="later", Body=b"x")
    s3.put_object_acl(Bucket=bucket, Key="later", ACL=canned)
    for key in ("put", "copied", "parts", "later"):
        assert grants(s3.get_object_acl(Bucket=bucket, Key=key)) == wanted, key
    s3.put_bucket_acl(Bucket=bucket, ACL=canned)
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == wanted


def test_strangers_get_exactly_what_lists_say(s3, stranger, bucket):
    s3.put_object(Bucket=bucket, Key="open", Body=b"for all", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="shut", Body=b"for me")
    assert stranger.get_object(Bucket=bucket, Key="open")["Body"].read() == b"for all"
    for call in (
        lambda: stranger.get_object(Bucket=bucket, Key="shut"),
        lambda: stranger.list_objects_v2(Bucket=bucket),
        lambda: stranger.put_object(Bucket=bucket, Key="open", Body=b""),
        lambda: stranger.delete_object(Bucket=bucket, Key="open"),
        lambda: stranger.get_object_acl(Bucket=bucket, Key="open"),
        lambda: stranger.list_buckets(),
        lambda: stranger.create_bucket(Bucket="by-a-stranger"),
    ):
        with refused("AccessDenied", 403):
            call()
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    assert [found["Key"] for found in stranger.list_objects_v2(Bucket=bucket)["Contents"]] == ["open", "shut"]
    stranger.put_object(Bucket=bucket, Key="left", Body=b"by nobody")
    assert s3.get_object(Bucket=bucket, Key="left")["Body"].read() == b"by nobody"
    stranger.delete_object(Bucket=bucket, Key="left")
    with refused("NoSuchKey", 404):
        stranger.get_object(Bucket=bucket, Key="left")


def test_another_owner_gets_what_is_granted(s3, other, bucket, owner):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("AccessDenied", 403):
        other.get_object(Bucket=bucket, Key="k")
    s3.put_object_acl(Bucket=bucket, Key="k", GrantRead='id="other-owner"', GrantFullControl=f'id="{owner}"')
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    with refused("AccessDenied", 403):
        other.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.put_bucket_acl(Bucket=bucket, GrantWrite='id="other-owner"')
    other.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    assert other.get_object_acl(Bucket=bucket, Key="theirs")["Owner"]["ID"] == "other-owner"
    with refused("AccessDenied", 403):
        other.list_objects_v2(Bucket=bucket)


def test_a_document_is_kept_and_one_that_is_none_is_refused(s3, bucket, owner):
    me = {"ID": owner, "Type": "CanonicalUser"}
    policy = {"Owner": {"ID": owner}, "Grants": [{"Grantee": me, "Permission": "READ_ACP"}, {"Grantee": {"URI": EVERYBODY, "Type": "Group"}, "Permission": "READ"}]}
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy)
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == {(owner, "READ_ACP"), (EVERYBODY, "READ")}
    for grantee, code in [
        ({"ID": "nobody-has-this", "Type": "CanonicalUser"}, "InvalidArgument"),
        ({"URI": "http://example.org/group", "Type": "Group"}, "InvalidArgument"),
        ({"EmailAddress": "who@example.org", "Type": "AmazonCustomerByEmail"}, "UnresolvableGrantByEmailAddress"),
    ]:
        bad = {"Owner": {"ID": owner}, "Grants": [{"Grantee": grantee, "Permission": "READ"}]}
        with refused(code, 400):
            s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=bad)
    with refused("AccessDenied", 403):
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={**policy, "Owner": {"ID": "somebody-else"}})
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == {(owner, "READ_ACP"), (EVERYBODY, "READ")}


def test_each_version_has_its_own_list(s3, stranger, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", ACL="public-read")
    assert stranger.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=bucket, Key="k", VersionId=first)
    s3.put_object_acl(Bucket=bucket, Key="k", VersionId=first, ACL="public-read")
    assert stranger.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"


def test_public_access_can_be_blocked_and_ignored(s3, stranger, bucket):
    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        s3.get_public_access_block(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    switches = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)
    blocked = switches | {"BlockPublicAcls": True}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == blocked
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="new", Body=b"", ACL="public-read")
    assert stranger.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=switches | {"IgnorePublicAcls": True})
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=bucket, Key="k")
    s3.delete_public_access_block(Bucket=bucket)
    assert stranger.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_ownership_says_whether_there_are_lists(s3, bucket):
    with refused("OwnershipControlsNotFoundError", 404):
        s3.get_bucket_ownership_controls(Bucket=bucket)
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=enforced)
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == enforced
    with refused("AccessControlListNotSupported", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="bucket-owner-full-control")
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="public-read")
