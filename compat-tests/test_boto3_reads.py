"""GET and HEAD: ranges, conditions, and headers that belong to the body."""

from datetime import timedelta

import pytest

from expect import at_once, etag, refused

BODY = bytes(range(256)) * 4


@pytest.fixture
def key(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    return {"Bucket": bucket, "Key": "k"}


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=1000-", 1000, 1023), ("bytes=-24", 1000, 1023),
     ("bytes=1000-9999", 1000, 1023), ("bytes=-9999", 0, 1023), ("bytes=0-1023", 0, 1023)],
)
def test_a_range_gives_just_its_bytes(s3, key, asked, first, last):
    got = s3.get_object(**key, Range=asked)
    assert got["Body"].read() == BODY[first : last + 1]
    assert (got["ContentRange"], got["ContentLength"]) == (f"bytes {first}-{last}/1024", last - first + 1)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["ETag"]) == (206, etag(BODY))
    assert s3.head_object(**key, Range=asked)["ContentLength"] == last - first + 1


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_the_object_is_416(s3, key, asked):
    with refused("InvalidRange", 416):
        s3.get_object(**key, Range=asked)


@pytest.mark.parametrize("asked", ["bytes=9-3", "lines=1-2", "bytes=a-b"])
def test_a_range_that_is_none_is_ignored(s3, key, asked):
    got = s3.get_object(**key, Range=asked)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()) == (200, BODY)


def test_ranges_are_promised(s3, key):
    assert s3.head_object(**key)["AcceptRanges"] == "bytes"


def test_an_empty_object_is_an_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    got = s3.get_object(Bucket=bucket, Key="empty")
    assert (got["Body"].read(), got["ContentLength"], got["ETag"]) == (b"", 0, etag(b""))
    with refused("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="empty", Range="bytes=0-0")


@pytest.mark.parametrize("verb", ["get_object", "head_object"])
def test_reads_by_etag(s3, key, verb):
    read = getattr(s3, verb)
    assert read(**key, IfMatch=etag(BODY))["ETag"] == etag(BODY)
    assert read(**key, IfNoneMatch=etag(b"another"))["ETag"] == etag(BODY)
    with refused(("PreconditionFailed", "412"), 412):
        read(**key, IfMatch=etag(b"another"))
    with refused("304", 304):
        read(**key, IfNoneMatch=etag(BODY))


@pytest.mark.parametrize("verb", ["get_object", "head_object"])
def test_reads_by_date(s3, key, verb):
    read, changed = getattr(s3, verb), s3.head_object(**key)["LastModified"]
    before, after = changed - timedelta(hours=1), changed
    assert read(**key, IfModifiedSince=before)["ETag"] == etag(BODY)
    assert read(**key, IfUnmodifiedSince=after)["ETag"] == etag(BODY)
    with refused("304", 304):
        read(**key, IfModifiedSince=after)
    with refused(("PreconditionFailed", "412"), 412):
        read(**key, IfUnmodifiedSince=before)


def test_an_etag_outranks_a_date(s3, key):
    changed = s3.head_object(**key)["LastModified"]
    assert s3.get_object(**key, IfMatch=etag(BODY), IfUnmodifiedSince=changed - timedelta(hours=1))["ETag"] == etag(BODY)
    with refused("304", 304):
        s3.get_object(**key, IfNoneMatch=etag(BODY), IfModifiedSince=changed - timedelta(hours=1))


def test_a_304_carries_the_etag_and_no_body(raw, s3, key):
    answer = raw.call("GET", f"/{key['Bucket']}/k", headers={"if-none-match": etag(BODY)})
    assert (answer.status, answer.headers["etag"], answer.body) == (304, etag(BODY), b"")


def test_a_missing_key_is_404(s3, bucket):
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="none")
    with refused("404", 404):
        s3.head_object(Bucket=bucket, Key="none")
    s3.delete_object(Bucket=bucket, Key="none")


def test_attributes_of_a_plain_object(s3, key):
    said = s3.get_object_attributes(**key, ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"])
    assert (said["ETag"], said["ObjectSize"], said["StorageClass"]) == (etag(BODY).strip('"'), 1024, "STANDARD")
    assert "ObjectParts" not in said and said["Checksum"]


def test_a_reader_may_choose_the_answers_headers(s3, key):
    got = s3.get_object(
        **key, ResponseContentType="text/x-chosen", ResponseContentDisposition='attachment; filename="a.txt"',
        ResponseCacheControl="max-age=7", ResponseContentLanguage="de", ResponseContentEncoding="br",
        ResponseExpires="Thu, 01 Dec 2033 16:00:00 GMT",
    )
    assert (got["ContentType"], got["CacheControl"], got["ContentLanguage"]) == ("text/x-chosen", "max-age=7", "de")
    assert got["ContentDisposition"] == 'attachment; filename="a.txt"' and got["ContentEncoding"] == "br"
    assert got["ResponseMetadata"]["HTTPHeaders"]["expires"] == "Thu, 01 Dec 2033 16:00:00 GMT"


def test_headers_and_body_are_of_one_write_while_the_object_is_replaced(s3, bucket):
    """Sizes differ from write to write, small (read whole) and large (streamed): a mix would show at once."""
    sizes = [10, 4_000, 70_000, 900_000]

    def write(round_: int) -> None:
        size = sizes[round_ % len(sizes)]
        s3.put_object(Bucket=bucket, Key="hot", Body=bytes([round_ % 251]) * size, Metadata={"size": str(size), "byte": str(round_ % 251)})

    def read_one() -> None:
        got = s3.get_object(Bucket=bucket, Key="hot")
        body = got["Body"].read()
        assert body == bytes([int(got["Metadata"]["byte"])]) * int(got["Metadata"]["size"])
        assert got["ETag"] == etag(body)

    def act(number: int) -> None:
        for round_ in range(60):
            if number < 2:
                write(round_ * 2 + number)
            else:
                read_one()

    write(0)
    at_once(6, act)
