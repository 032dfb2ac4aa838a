"""Checksums: computed by the client, verified before anything is stored, kept, and given back."""

import base64
import hashlib
import os
import zlib

import pytest

from expect import MIB, refusal, refused

# XXHASH* and friends need packages botocore does not bring; what boto3[crt] can compute is what people send.
ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
BODY = b"checked all the way" * 1000
PARTS = [os.urandom(5 * MIB), os.urandom(5 * MIB), os.urandom(1234)]


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def crc32(body: bytes) -> str:
    return encoded(zlib.crc32(body).to_bytes(4, "big"))


@pytest.fixture(scope="module", autouse=True)
def runtime():
    pytest.importorskip("awscrt", reason="boto3[crt] is not installed")


def field(algorithm: str) -> str:
    return "Checksum" + algorithm


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_is_stored_and_given_back(s3, bucket, algorithm):
    put = s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == BODY  # botocore verifies the checksum here
    assert put[field(algorithm)] == got[field(algorithm)]
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[field(algorithm)] == put[field(algorithm)]
    said = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])
    assert said["Checksum"][field(algorithm)] == put[field(algorithm)]
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ChecksumAlgorithm"] == [algorithm]


def test_checksums_come_only_when_asked(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm="SHA256")
    headers = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]
    assert not [name for name in headers if name.startswith("x-amz-checksum-")]


def test_what_boto3_sends_by_itself_is_a_crc32(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert put["ChecksumCRC32"] == crc32(BODY)


def test_a_client_that_sends_none_is_served(new_s3, bucket):
    quiet = new_s3(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    quiet.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert quiet.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


def test_a_stream_carries_its_checksum_in_a_trailer(s3, bucket, tmp_path):
    """A file body is sent aws-chunked where boto3 thinks it worthwhile; either way the bytes and the sum must agree."""
    (tmp_path / "f").write_bytes(BODY)
    with open(tmp_path / "f", "rb") as file:
        put = s3.put_object(Bucket=bucket, Key="k", Body=file, ChecksumAlgorithm="CRC32C")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ChecksumCRC32C"]) == (BODY, put["ChecksumCRC32C"])
    assert "aws-chunked" not in got.get("ContentEncoding", "")


WRONG = {
    "CRC32": crc32(b"another"),
    "CRC32C": encoded(b"\1\2\3\4"),
    "CRC64NVME": encoded(b"\1\2\3\4\5\6\7\x08"),
    "SHA1": encoded(hashlib.sha1(b"another").digest()),
    "SHA256": encoded(hashlib.sha256(b"another").digest()),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_wrong_checksum_stores_nothing(s3, bucket, algorithm):
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=BODY, **{field(algorithm): WRONG[algorithm]})
    assert refusal(lambda: s3.head_object(Bucket=bucket, Key="k")) == "404"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_wrong_checksum_leaves_the_old_object(s3, bucket, algorithm):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=BODY, **{field(algorithm): WRONG[algorithm]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


def test_content_md5_is_verified(raw, bucket):
    right, wrong = encoded(hashlib.md5(BODY).digest()), encoded(hashlib.md5(b"another").digest())
    assert raw.call("PUT", f"/{bucket}/k", headers={"content-md5": right}, body=BODY).status == 200
    answer = raw.call("PUT", f"/{bucket}/k2", headers={"content-md5": wrong}, body=BODY)
    assert (answer.status, answer.code) == (400, "BadDigest")
    answer = raw.call("PUT", f"/{bucket}/k2", headers={"content-md5": "not-base64!"}, body=BODY)
    assert (answer.status, answer.code) == (400, "InvalidDigest")
    assert raw.call("HEAD", f"/{bucket}/k2").status == 404


def upload(s3, bucket, algorithm, kind):
    """A multipart upload whose parts carry checksums; returns Complete's answer and the parts' checksums."""
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    to, parts = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}, []
    for number, body in enumerate(PARTS, 1):
        sent = s3.upload_part(**to, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": sent["ETag"], field(algorithm): sent[field(algorithm)]})
    return s3.complete_multipart_upload(**to, MultipartUpload={"Parts": parts}, ChecksumType=kind), parts


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_a_composite_checksum_is_that_of_the_parts_checksums(s3, bucket, algorithm):
    done, parts = upload(s3, bucket, algorithm, "COMPOSITE")
    raw_sums = b"".join(base64.b64decode(part[field(algorithm)]) for part in parts)
    if algorithm in ("SHA1", "SHA256"):
        assert done[field(algorithm)] == encoded(hashlib.new(algorithm.lower(), raw_sums).digest()) + "-3"
    if algorithm == "CRC32":
        assert done[field(algorithm)] == crc32(raw_sums) + "-3"
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[field(algorithm)], head["ChecksumType"]) == (done[field(algorithm)], "COMPOSITE")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_full_object_checksum_is_that_of_the_whole(s3, bucket, algorithm):
    done, _ = upload(s3, bucket, algorithm, "FULL_OBJECT")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"".join(PARTS), ChecksumAlgorithm=algorithm)
    plain = s3.head_object(Bucket=bucket, Key="plain", ChecksumMode="ENABLED")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert done[field(algorithm)] == head[field(algorithm)] == plain[field(algorithm)]
    assert head["ChecksumType"] == "FULL_OBJECT"


def test_a_wrong_full_object_checksum_refuses_complete(s3, bucket):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    to = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    sent = s3.upload_part(**to, PartNumber=1, Body=BODY, ChecksumAlgorithm="CRC32")
    parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]}]}
    with refused("BadDigest", 400):
        s3.complete_multipart_upload(**to, MultipartUpload=parts, ChecksumCRC32=WRONG["CRC32"], ChecksumType="FULL_OBJECT")
    s3.complete_multipart_upload(**to, MultipartUpload=parts, ChecksumCRC32=crc32(BODY), ChecksumType="FULL_OBJECT")


def test_a_wrong_part_checksum_refuses_the_part_and_complete(s3, bucket):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")
    to = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    with refused("BadDigest", 400):
        s3.upload_part(**to, PartNumber=1, Body=BODY, ChecksumSHA256=WRONG["SHA256"])
    sent = s3.upload_part(**to, PartNumber=1, Body=BODY, ChecksumAlgorithm="SHA256")
    wrong = [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": WRONG["SHA256"]}]
    with refused(("InvalidPart", "BadDigest"), 400):
        s3.complete_multipart_upload(**to, MultipartUpload={"Parts": wrong})


def test_a_copy_keeps_its_checksum_or_makes_the_one_asked_for(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm="SHA256")
    where = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="same", CopySource=where)
    s3.copy_object(Bucket=bucket, Key="other", CopySource=where, ChecksumAlgorithm="CRC32")
    sha256 = encoded(hashlib.sha256(BODY).digest())
    assert s3.head_object(Bucket=bucket, Key="same", ChecksumMode="ENABLED")["ChecksumSHA256"] == sha256
    assert s3.head_object(Bucket=bucket, Key="other", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc32(BODY)
