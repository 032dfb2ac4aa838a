"""Who may come in: signatures that are wrong, old, missing or do not cover what was sent."""

import hashlib
import time

import pytest

import rawhttp
import sigv4


@pytest.fixture
def key(raw, bucket):
    raw.call("PUT", f"/{bucket}/k", body=b"old")
    return f"/{bucket}/k"


def as_somebody(raw, access, secret, region="us-east-1"):
    return rawhttp.Client(raw.host, raw.port, sigv4.Credentials(access, secret, region))


def test_a_wrong_secret_is_refused_in_every_verb(raw, key):
    wrong = as_somebody(raw, raw.who.access_key, "wrong")
    for verb in ["GET", "PUT", "DELETE"]:
        answer = wrong.call(verb, key, body=b"new" if verb == "PUT" else b"")
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert wrong.call("HEAD", key).status == 403
    assert raw.call("GET", key).body == b"old"


def test_an_unknown_key_is_refused(raw, key):
    answer = as_somebody(raw, "NOBODY", "wrong").call("GET", key)
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")


def test_nobody_comes_in_without_a_signature(raw, bucket, key):
    for verb, path in [("GET", "/"), ("GET", f"/{bucket}"), ("GET", key), ("PUT", key), ("DELETE", key), ("POST", f"/{bucket}?delete")]:
        answer = raw.send(verb, path, {"host": raw.name}, b"new" if verb in ("PUT", "POST") else b"")
        assert (answer.status, answer.code) == (403, "AccessDenied"), (verb, path)
    assert raw.call("GET", key).body == b"old"


def test_another_regions_signature_is_refused(raw, key):
    answer = as_somebody(raw, raw.who.access_key, raw.who.secret_key, "eu-north-1").call("GET", key)
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_an_hour_off_is_refused(raw, key, hours):
    signed = sigv4.signed_headers(raw.who, "GET", raw.name, key, at=time.time() + 3600 * hours)
    answer = raw.send("GET", key, signed)
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")


def test_a_header_added_on_the_way_is_refused(raw, key):
    signed = sigv4.signed_headers(raw.who, "PUT", raw.name, key)
    answer = raw.send("PUT", key, signed | {"x-amz-meta-added": "by somebody"}, b"new")
    assert answer.status in (400, 403), answer.status
    assert raw.call("GET", key).body == b"old"


def test_a_changed_query_or_path_is_refused(raw, bucket, key):
    signed = sigv4.signed_headers(raw.who, "GET", raw.name, key)
    assert raw.send("GET", key + "?versionId=null", signed).status == 403
    assert raw.send("GET", key + "2", signed).status == 403
    signed = sigv4.signed_headers(raw.who, "GET", raw.name, f"/{bucket}")
    assert raw.send("DELETE", key, signed).status == 403


def test_another_body_than_the_signed_one_stores_nothing(raw, key):
    answer = raw.call("PUT", key, body=b"new", payload=hashlib.sha256(b"signed").hexdigest())
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert raw.call("GET", key).body == b"old"


def test_another_large_body_than_the_signed_one_stores_nothing(raw, key):
    answer = raw.call("PUT", key, body=b"n" * 9_000_000, payload=hashlib.sha256(b"signed").hexdigest())
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert raw.call("GET", key).body == b"old"


@pytest.mark.parametrize(
    "authorization",
    ["", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=", "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0",
     "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;;, Signature=zz", "Basic YTpi", "Bearer x", "AWS key:c2lnbmF0dXJl", "\u00ff\u00fe", "x" * 4000],
)
def test_senseless_authorization_is_refused_and_harms_nobody(raw, key, authorization):
    headers = {"host": raw.name, "x-amz-date": sigv4.amz_date(), "x-amz-content-sha256": sigv4.UNSIGNED, "authorization": authorization}
    assert raw.send("GET", key, headers).status in (400, 403, 501)
    assert raw.call("GET", key).body == b"old"


def test_a_session_token_nobody_issued_is_refused(raw, key):
    answer = raw.call("GET", key, headers={"x-amz-security-token": "made-up"})
    assert (answer.status, answer.code) in ((400, "InvalidToken"), (403, "InvalidToken"), (403, "InvalidAccessKeyId"), (403, "AccessDenied"))
