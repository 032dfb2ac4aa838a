"""Multipart uploads by hand: what may be finished, what is refused, what is visible meanwhile."""

import base64
import hashlib
import os

import pytest

from expect import MIB, etag, etag_of_parts, refused

# AWS answers 416 InvalidPartNumber; ceph's suite wants 400 InvalidPart. Clients take either for an end of parts.
NO_SUCH_PART = ("InvalidPartNumber", "InvalidPart")
BODIES = [os.urandom(5 * MIB), os.urandom(5 * MIB + 3), os.urandom(17)]


def start(s3, bucket, key="k", **said):
    return {"Bucket": bucket, "Key": key, "UploadId": s3.create_multipart_upload(Bucket=bucket, Key=key, **said)["UploadId"]}


def send(s3, upload, bodies=BODIES, first=1):
    """Uploads the bodies as consecutive parts. Returns what Complete wants to hear."""
    return [
        {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, first)
    ]


def finish(s3, upload, parts, **said):
    return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **said)


def test_parts_become_one_object_with_s3s_etag(s3, bucket):
    upload = start(s3, bucket, Metadata={"a": "b"}, ContentType="text/x", CacheControl="no-store")
    parts = send(s3, upload)
    assert [part["ETag"] for part in parts] == [etag(body) for body in BODIES]
    assert finish(s3, upload, parts)["ETag"] == etag_of_parts(BODIES)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(BODIES)
    assert (got["ETag"], got["Metadata"], got["ContentType"], got["CacheControl"]) == (etag_of_parts(BODIES), {"a": "b"}, "text/x", "no-store")


def test_part_numbers_may_have_gaps(s3, bucket):
    upload = start(s3, bucket)
    parts = send(s3, upload, BODIES[:1], first=3) + send(s3, upload, BODIES[1:2], first=77) + send(s3, upload, BODIES[2:], first=10_000)
    finish(s3, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(BODIES)


def test_only_the_parts_named_are_in_the_object(s3, bucket):
    upload = start(s3, bucket)
    parts = send(s3, upload)
    assert finish(s3, upload, [parts[0], parts[2]])["ETag"] == etag_of_parts([BODIES[0], BODIES[2]])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == BODIES[0] + BODIES[2]


def test_a_part_sent_again_replaces_the_first(s3, bucket):
    upload = start(s3, bucket)
    old = send(s3, upload, [b"old"])
    new = send(s3, upload, [b"newer"])
    with refused("InvalidPart", 400):
        finish(s3, upload, old)
    finish(s3, upload, new)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"newer"


def test_nothing_is_visible_before_complete_or_after_abort(s3, bucket):
    upload = start(s3, bucket)
    send(s3, upload, BODIES[:1])
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="k")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    s3.abort_multipart_upload(**upload)
    with refused("NoSuchUpload", 404):
        send(s3, upload, [b"late"])
    with refused("NoSuchUpload", 404):
        s3.list_parts(**upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_what_cannot_be_finished_says_why_and_stays_open(s3, bucket):
    upload = start(s3, bucket)
    parts = send(s3, upload)
    with refused("InvalidPartOrder", 400):
        finish(s3, upload, [parts[1], parts[0]])
    with refused("InvalidPart", 400):
        finish(s3, upload, [parts[0], {"PartNumber": 2, "ETag": etag(b"another")}])
    with refused("InvalidPart", 400):
        finish(s3, upload, [parts[0], {"PartNumber": 9, "ETag": parts[1]["ETag"]}])
    with refused("MalformedXML", 400):
        finish(s3, upload, [])
    finish(s3, upload, parts)


def test_a_small_part_may_only_be_the_last(s3, bucket):
    upload = start(s3, bucket)
    parts = send(s3, upload, [b"too small", b"last"])
    with refused("EntityTooSmall", 400):
        finish(s3, upload, parts)


@pytest.mark.parametrize("number", [0, 10_001])
def test_part_numbers_have_limits(s3, bucket, number):
    with refused("InvalidArgument", 400):
        s3.upload_part(**start(s3, bucket), PartNumber=number, Body=b"x")


def test_an_unknown_upload_is_refused_in_every_verb(s3, bucket):
    upload = {"Bucket": bucket, "Key": "k", "UploadId": "bm90LW91cnM"}
    with refused("NoSuchUpload", 404):
        s3.upload_part(**upload, PartNumber=1, Body=b"x")
    with refused("NoSuchUpload", 404):
        s3.list_parts(**upload)
    with refused("NoSuchUpload", 404):
        s3.abort_multipart_upload(**upload)
    with refused("NoSuchUpload", 404):
        finish(s3, upload, [{"PartNumber": 1, "ETag": etag(b"x")}])


def test_an_upload_belongs_to_its_key(s3, bucket):
    upload = start(s3, bucket) | {"Key": "another"}
    with refused("NoSuchUpload", 404):
        s3.upload_part(**upload, PartNumber=1, Body=b"x")


def test_complete_may_be_repeated(s3, bucket):
    upload = start(s3, bucket)
    parts = send(s3, upload, BODIES[:1])
    first = finish(s3, upload, parts)
    assert finish(s3, upload, parts)["ETag"] == first["ETag"]


def test_two_uploads_of_one_key_do_not_mix(s3, bucket):
    one, two = start(s3, bucket), start(s3, bucket)
    parts_one, parts_two = send(s3, one, [b"one"]), send(s3, two, [b"two"])
    finish(s3, two, parts_two)
    finish(s3, one, parts_one)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"


def test_parts_are_listed_in_pages(s3, bucket):
    upload = start(s3, bucket)
    send(s3, upload, [bytes([n]) * (n + 1) for n in range(7)])
    pages = list(s3.get_paginator("list_parts").paginate(**upload, PaginationConfig={"PageSize": 3}))
    parts = [part for page in pages for part in page["Parts"]]
    assert len(pages) == 3
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in parts] == [(n + 1, n + 1, etag(bytes([n]) * (n + 1))) for n in range(7)]


def test_open_uploads_are_listed_by_key_with_prefix_delimiter_and_pages(s3, bucket):
    for key in ["b/2", "a", "b/1", "c", "b/1"]:
        start(s3, bucket, key)
    pages = list(s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}))
    assert [u["Key"] for page in pages for u in page["Uploads"]] == ["a", "b/1", "b/1", "b/2", "c"]
    assert len({u["UploadId"] for page in pages for u in page["Uploads"]}) == 5
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket, Prefix="b/2")["Uploads"]] == ["b/2"]
    cut = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert ([u["Key"] for u in cut["Uploads"]], [p["Prefix"] for p in cut["CommonPrefixes"]]) == (["a", "c"], ["b/"])


def test_parts_are_read_back_by_number(s3, bucket):
    upload = start(s3, bucket)
    finish(s3, upload, send(s3, upload))
    for number, body in enumerate(BODIES, 1):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (got["Body"].read(), got["PartsCount"], got["ETag"]) == (body, 3, etag_of_parts(BODIES))
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert s3.head_object(Bucket=bucket, Key="k", PartNumber=number)["ContentLength"] == len(body)
    at = len(BODIES[0])
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=2)["ResponseMetadata"]["HTTPHeaders"]["content-range"] == (
        f"bytes {at}-{at + len(BODIES[1]) - 1}/{sum(map(len, BODIES))}"
    )
    with refused(NO_SUCH_PART):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=4)


def test_a_plain_object_has_one_part(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"whole")
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert got["Body"].read() == b"whole"
    with refused(NO_SUCH_PART):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=2)


def test_parts_may_be_ranges_of_other_objects(s3, bucket):
    source = os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="source ü", Body=source)
    upload = start(s3, bucket)
    where = {"Bucket": bucket, "Key": "source ü"}
    first = s3.upload_part_copy(**upload, PartNumber=1, CopySource=where, CopySourceRange=f"bytes=0-{5 * MIB - 1}")
    second = s3.upload_part_copy(**upload, PartNumber=2, CopySource=where, CopySourceRange=f"bytes={6 * MIB - 9}-{6 * MIB - 1}")
    assert second["CopyPartResult"]["ETag"] == etag(source[-9:])
    named = [{"PartNumber": n, "ETag": c["CopyPartResult"]["ETag"]} for n, c in ((1, first), (2, second))]
    finish(s3, upload, named)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == source[: 5 * MIB] + source[-9:]


def test_a_part_copy_outside_its_source_is_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"ten bytes!")
    upload, where = start(s3, bucket), {"Bucket": bucket, "Key": "source"}
    with refused(("InvalidArgument", "InvalidRange", "InvalidRequest")):
        s3.upload_part_copy(**upload, PartNumber=1, CopySource=where, CopySourceRange="bytes=5-99")
    with refused("PreconditionFailed", 412):
        s3.upload_part_copy(**upload, PartNumber=1, CopySource=where, CopySourceIfMatch=etag(b"another"))


def test_attributes_of_a_multipart_object_name_its_parts(s3, bucket):
    upload = start(s3, bucket, ChecksumAlgorithm="SHA256")
    parts = []
    for number, body in enumerate(BODIES, 1):
        sent = s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]})
    finish(s3, upload, parts)
    asked = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    said = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=asked)
    assert (said["ETag"], said["ObjectSize"], said["StorageClass"]) == (etag_of_parts(BODIES).strip('"'), sum(map(len, BODIES)), "STANDARD")
    assert said["ObjectParts"]["TotalPartsCount"] == 3
    assert [(p["PartNumber"], p["Size"]) for p in said["ObjectParts"]["Parts"]] == [(n, len(b)) for n, b in enumerate(BODIES, 1)]
    assert [p["ChecksumSHA256"] for p in said["ObjectParts"]["Parts"]] == [p["ChecksumSHA256"] for p in parts]
    page = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1)["ObjectParts"]
    assert ([p["PartNumber"] for p in page["Parts"]], page["IsTruncated"], page["NextPartNumberMarker"]) == ([2], True, 2)


def test_a_wrong_content_md5_refuses_the_part(raw, s3, bucket):
    upload = start(s3, bucket)
    query = {"uploadId": upload["UploadId"], "partNumber": "1"}
    md5 = base64.b64encode(hashlib.md5(b"another").digest()).decode()
    assert raw.call("PUT", f"/{bucket}/k", query, {"content-md5": md5}, b"body").code == "BadDigest"
    assert "Parts" not in s3.list_parts(**upload)
