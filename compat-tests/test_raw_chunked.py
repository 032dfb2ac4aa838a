"""aws-chunked uploads: signatures and checksums inside the body are verified before anything is stored."""

import base64
import zlib

import pytest

from chunked import SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER, Upload

CHUNKS = [b"a" * 65_536, b"b" * 65_536, b"c" * 100]
BODY = b"".join(CHUNKS)


def crc32(body: bytes) -> dict[str, str]:
    return {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()}


GOOD = {
    "signed": Upload(CHUNKS),
    "signed with trailer": Upload(CHUNKS, SIGNED_TRAILER, crc32(BODY)),
    "unsigned with trailer": Upload(CHUNKS, UNSIGNED_TRAILER, crc32(BODY)),
    "one chunk": Upload([BODY], SIGNED),
    "empty": Upload([], SIGNED_TRAILER, crc32(b"")),
    "many small chunks": Upload([bytes([n]) * 8192 for n in range(64)], UNSIGNED_TRAILER, crc32(b"".join(bytes([n]) * 8192 for n in range(64)))),
}

BAD = {
    "a chunk signature is wrong": Upload(CHUNKS, tamper=1),
    "the last chunk's signature is wrong": Upload(CHUNKS, tamper=3),
    "a chunk signature is wrong before a trailer": Upload(CHUNKS, SIGNED_TRAILER, crc32(BODY), tamper=0),
    "the signed trailer's checksum is wrong": Upload(CHUNKS, SIGNED_TRAILER, crc32(b"another")),
    "the unsigned trailer's checksum is wrong": Upload(CHUNKS, UNSIGNED_TRAILER, crc32(b"another")),
    "more is promised than comes": Upload(CHUNKS, length=len(BODY) + 1),
    "less is promised than comes": Upload(CHUNKS, length=len(BODY) - 1),
    "the stream ends at a chunk's end": Upload(CHUNKS[:2], length=len(BODY), final=False),
    "the stream ends within a chunk": Upload(CHUNKS, final=False, cut=50),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_upload_is_stored_without_its_framing(raw, bucket, name):
    upload = GOOD[name]
    answer = upload.send(raw, f"/{bucket}/k")
    assert answer.status == 200, answer.body
    got = raw.call("GET", f"/{bucket}/k", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got.body == b"".join(upload.chunks)
    assert "aws-chunked" not in (got.headers["content-encoding"] or "")
    for header, value in upload.trailer.items():
        assert got.headers[header] == value


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_is_refused_and_the_old_object_stays(raw, bucket, name):
    raw.call("PUT", f"/{bucket}/k", body=b"old")
    answer = BAD[name].send(raw, f"/{bucket}/k")
    assert answer.status in (400, 403), (answer.status, answer.body)
    assert raw.call("GET", f"/{bucket}/k").body == b"old"


def test_a_wrong_trailer_is_called_a_bad_digest(raw, bucket):
    answer = BAD["the unsigned trailer's checksum is wrong"].send(raw, f"/{bucket}/k")
    assert (answer.status, answer.code) == (400, "BadDigest")


def test_a_trailer_that_was_announced_must_come(raw, bucket):
    upload = Upload(CHUNKS, UNSIGNED_TRAILER, {}, more={"x-amz-trailer": "x-amz-checksum-crc32"})
    assert upload.send(raw, f"/{bucket}/k").status == 400
    assert raw.call("HEAD", f"/{bucket}/k").status == 404


def test_an_encoding_besides_aws_chunked_is_kept(raw, bucket):
    upload = Upload(CHUNKS, more={"content-encoding": "aws-chunked,gzip"})
    assert upload.send(raw, f"/{bucket}/k").status == 200
    assert raw.call("HEAD", f"/{bucket}/k").headers["content-encoding"] == "gzip"
