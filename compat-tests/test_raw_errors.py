"""Answers themselves: request ids everywhere, errors in S3's form, nonsense refused."""

import base64
import hashlib

import pytest

XML = "application/xml"


def test_every_answer_has_its_own_request_id(raw, bucket):
    raw.call("PUT", f"/{bucket}/k", body=b"x")
    asked = [("GET", "/k"), ("HEAD", "/k"), ("GET", "/none"), ("HEAD", "/none"), ("PUT", "/k2"), ("DELETE", "/k2"), ("GET", "")]
    answers = [raw.call(verb, f"/{bucket}{path}") for verb, path in asked]
    answers += [raw.call("GET", "/"), raw.send("GET", "/", {"host": raw.name}), raw.call("PUT", "/Bad_Name")]
    ids = [answer.headers["x-amz-request-id"] for answer in answers]
    assert all(ids) and len(set(ids)) == len(ids)
    assert all(answer.headers["x-amz-id-2"] for answer in answers)


@pytest.mark.parametrize(
    ("verb", "path", "status", "code"),
    [("GET", "/k", 404, "NoSuchKey"), ("GET", "/a%2520b", 404, "NoSuchKey"), ("POST", "/k?uploadId=none", 404, "NoSuchUpload")],
)
def test_an_error_names_code_message_resource_and_request(raw, bucket, verb, path, status, code):
    path, _, query = path.partition("?")
    body = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>" if verb == "POST" else b""
    answer = raw.call(verb, f"/{bucket}{path}", dict([query.split("=")]) if query else None, body=body)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"].startswith(XML)
    assert answer.field("Message")
    assert answer.field("Resource").startswith(f"/{bucket}")
    assert answer.field("RequestId") == answer.headers["x-amz-request-id"]


def test_a_missing_bucket_says_so_in_the_same_form(raw):
    answer = raw.call("GET", "/never-made-bucket/k")
    assert (answer.status, answer.code, answer.field("RequestId")) == (404, "NoSuchBucket", answer.headers["x-amz-request-id"])


def test_a_refused_signature_says_so_in_the_same_form(raw):
    answer = raw.send("GET", "/", {"host": raw.name})
    assert (answer.status, answer.code, answer.field("RequestId")) == (403, "AccessDenied", answer.headers["x-amz-request-id"])


@pytest.mark.parametrize(
    "header",
    [{"x-amz-server-side-encryption": "aws:kms"}, {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
     {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2040-01-01T00:00:00Z"},
     {"x-amz-object-lock-legal-hold": "ON"}, {"x-amz-write-offset-bytes": "1"}],
    ids=lambda header: next(iter(header)),
)
def test_a_promise_that_would_not_be_kept_is_refused(raw, bucket, header):
    """Storing plainly what was asked to be encrypted, locked or public would be a lie."""
    answer = raw.call("PUT", f"/{bucket}/k", headers=header, body=b"x")
    assert answer.status in (400, 403, 501), answer.status
    assert raw.call("HEAD", f"/{bucket}/k").status == 404


@pytest.mark.parametrize("acl", ["private", "bucket-owner-full-control"])
def test_an_acl_that_changes_nothing_is_taken(raw, bucket, acl):
    assert raw.call("PUT", f"/{bucket}/k", headers={"x-amz-acl": acl}, body=b"x").status == 200


@pytest.mark.parametrize("verb", ["PATCH", "OPTIONS", "TRACE", "MKCOL", "FOO"])
def test_an_unknown_verb_is_refused(raw, bucket, verb):
    answer = raw.call(verb, f"/{bucket}/k")
    assert answer.status in (400, 403, 405, 501), answer.status


@pytest.mark.parametrize("body", [b"", b"not xml", b"<Delete>", b"<Delete></Delete>", b"<Other/>", b"<Delete>" + b"<Object>" * 50_000])
def test_a_broken_document_is_malformed(raw, bucket, body):
    raw.call("PUT", f"/{bucket}/k", body=b"kept")
    answer = raw.call("POST", f"/{bucket}", {"delete": ""}, body=body)
    assert 400 <= answer.status < 500, (answer.status, answer.body[:200])
    assert raw.call("GET", f"/{bucket}/k").body == b"kept"


def test_entities_in_a_document_are_not_expanded(raw, bucket, tmp_path):
    (tmp_path / "secret").write_text("secret-content")
    body = f"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e SYSTEM "file://{tmp_path}/secret">
        <!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
        <Delete><Object><Key>&e;&b;</Key></Object></Delete>""".encode()
    answer = raw.call("POST", f"/{bucket}", {"delete": ""}, body=body)
    assert b"secret-content" not in answer.body and b"aaaaaaaaaa" not in answer.body


def test_more_than_a_thousand_deletes_in_one_request_are_refused(raw, bucket):
    raw.call("PUT", f"/{bucket}/k0", body=b"kept")
    body = b"<Delete>" + b"".join(b"<Object><Key>k%d</Key></Object>" % n for n in range(1001)) + b"</Delete>"
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = raw.call("POST", f"/{bucket}", {"delete": ""}, {"content-md5": md5}, body)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert raw.call("GET", f"/{bucket}/k0").body == b"kept"
