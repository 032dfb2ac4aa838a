"""What travels with an object: content headers, user metadata, tags; and what a copy makes of them."""

import http.client
from datetime import datetime, timezone

import pytest

from expect import etag, refused

HEADERS = {
    "ContentType": "text/html; charset=utf-8",
    "CacheControl": "public, max-age=31536000",
    "ContentDisposition": "attachment; filename=\"r.html\"; filename*=UTF-8''%C3%BC.html",
    "ContentEncoding": "gzip",
    "ContentLanguage": "de, en",
}
EXPIRES = datetime(2031, 2, 3, 4, 5, 6, tzinfo=timezone.utc)


def test_content_headers_come_back_as_given(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Expires=EXPIRES, **HEADERS)
    for said in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert {name: said[name] for name in HEADERS} == HEADERS
        assert said["ResponseMetadata"]["HTTPHeaders"]["expires"] == "Mon, 03 Feb 2031 04:05:06 GMT"


def test_an_unparsable_expires_comes_back_too(raw, bucket):
    raw.call("PUT", f"/{bucket}/k", headers={"expires": "when it is done"}, body=b"x")
    assert raw.call("HEAD", f"/{bucket}/k").headers["expires"] == "when it is done"


def test_the_default_type_is_binary(raw, bucket):
    raw.call("PUT", f"/{bucket}/k", body=b"x")
    assert raw.call("HEAD", f"/{bucket}/k").headers["content-type"] == "binary/octet-stream"


def test_a_put_replaces_every_header(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "1"}, Tagging="t=1", **HEADERS)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == {} and "CacheControl" not in head
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


def test_user_metadata_round_trips(s3, bucket):
    metadata = {"plain": "value", "with-dash_and.dot": "a, b; c=d", "spaces": "in the  middle", "number": "42", "quotes": "\"it's\""}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata=metadata)
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == metadata


def test_metadata_beyond_ascii_survives(raw, bucket):
    """Clients send UTF-8 bytes or RFC 2047; either must come back meaning the same."""
    rfc2047 = "=?UTF-8?B?w7xiZXIg5pel5pys?="
    assert raw.call("PUT", f"/{bucket}/a", headers={"x-amz-meta-name": rfc2047}, body=b"x").status == 200
    assert raw.call("HEAD", f"/{bucket}/a").headers["x-amz-meta-name"] in (rfc2047, "über 日本".encode().decode("latin-1"))
    utf8 = "über 日本"
    answer = raw.call("PUT", f"/{bucket}/b", headers={"x-amz-meta-name": Utf8(utf8)}, body=b"x")
    assert answer.status == 200, answer.body
    back = raw.call("HEAD", f"/{bucket}/b").headers["x-amz-meta-name"]
    assert _decoded(back) == utf8


class Utf8(str):
    """A header value that http.client sends as UTF-8 (its own choice would be Latin-1) while the signer sees the text."""

    def strip(self, *_):
        return self

    def encode(self, *_):
        return str.encode(self, "utf-8")


def _decoded(header: str) -> str:
    from email.header import decode_header, make_header

    if "=?" in header:
        return str(make_header(decode_header(header)))
    return header.encode("latin-1").decode("utf-8")


def test_metadata_may_have_as_many_names_as_fit(raw, bucket, monkeypatch):
    """S3 counts bytes. HTTP libraries count header lines: most servers' and Python's own stop at a hundred."""
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1000)
    sent = {f"x-amz-meta-{number}": str(number % 10) for number in range(450)}
    assert raw.call("PUT", f"/{bucket}/k", headers=sent, body=b"x").status == 200
    back = raw.call("HEAD", f"/{bucket}/k").headers
    assert {name: value for name, value in back.items() if name in sent} == sent


def test_too_much_metadata_is_refused(raw, bucket):
    answer = raw.call("PUT", f"/{bucket}/k", headers={"x-amz-meta-big": "v" * 2100}, body=b"x")
    assert (answer.status, answer.code) == (400, "MetadataTooLarge")


def test_a_copy_carries_everything_along(s3, bucket, new_bucket):
    s3.put_object(Bucket=bucket, Key="a ü", Body=b"x", Metadata={"m": "1"}, Tagging="t=1", Expires=EXPIRES, **HEADERS)
    there = new_bucket()
    done = s3.copy_object(Bucket=there, Key="b", CopySource={"Bucket": bucket, "Key": "a ü"})
    head = s3.head_object(Bucket=there, Key="b")
    assert done["CopyObjectResult"]["ETag"] == head["ETag"] == etag(b"x")
    assert {name: head[name] for name in HEADERS} == HEADERS and head["Metadata"] == {"m": "1"}
    assert s3.get_object_tagging(Bucket=there, Key="b")["TagSet"] == [{"Key": "t", "Value": "1"}]


def test_a_copy_may_replace_metadata_and_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"m": "1"}, Tagging="t=1", **HEADERS)
    s3.copy_object(
        Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"}, MetadataDirective="REPLACE", Metadata={"n": "2"},
        ContentType="x/y", TaggingDirective="REPLACE", Tagging="u=2",
    )
    head = s3.head_object(Bucket=bucket, Key="b")
    assert (head["Metadata"], head["ContentType"], "CacheControl" in head) == ({"n": "2"}, "x/y", False)
    assert s3.get_object_tagging(Bucket=bucket, Key="b")["TagSet"] == [{"Key": "u", "Value": "2"}]


def test_a_copy_onto_itself_must_change_something(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"m": "1"})
    where = {"Bucket": bucket, "Key": "k"}
    with refused("InvalidRequest", 400):
        s3.copy_object(**where, CopySource=where)
    s3.copy_object(**where, CopySource=where, MetadataDirective="REPLACE", Metadata={"m": "2"})
    got = s3.get_object(**where)
    assert (got["Body"].read(), got["Metadata"]) == (b"x", {"m": "2"})


def test_copying_what_is_not_there_is_404(s3, bucket):
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "none"})
    with refused("NoSuchBucket", 404):
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": "never-made-bucket", "Key": "a"})


def test_tags_are_set_read_counted_and_removed(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="colour=deep%20blue&empty=")
    where = {"Bucket": bucket, "Key": "k"}
    assert s3.get_object_tagging(**where)["TagSet"] == [{"Key": "colour", "Value": "deep blue"}, {"Key": "empty", "Value": ""}]
    assert s3.get_object(**where)["TagCount"] == 2
    s3.put_object_tagging(**where, Tagging={"TagSet": [{"Key": "größe", "Value": "1+1 = 2"}]})
    assert s3.get_object_tagging(**where)["TagSet"] == [{"Key": "größe", "Value": "1+1 = 2"}]
    s3.delete_object_tagging(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []
    assert s3.get_object(**where)["Body"].read() == b"x"


@pytest.mark.parametrize(
    "tags, code",
    [
        ([("k", "v"), ("k", "w")], "InvalidTag"),
        ([(f"k{n}", "v") for n in range(11)], "BadRequest"),
        ([("k" * 129, "v")], "InvalidTag"),
        ([("k", "v" * 257)], "InvalidTag"),
    ],
    ids=["twice", "eleven", "long key", "long value"],
)
def test_illegal_tags_are_refused(s3, bucket, tags, code):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(code, 400):
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in tags]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


def test_tags_of_nothing_are_404(s3, bucket):
    with refused("NoSuchKey", 404):
        s3.get_object_tagging(Bucket=bucket, Key="none")
    with refused("NoSuchKey", 404):
        s3.put_object_tagging(Bucket=bucket, Key="none", Tagging={"TagSet": []})
