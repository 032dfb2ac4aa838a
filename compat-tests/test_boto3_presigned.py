"""Presigned URLs (SigV4): used by programs that have no keys."""

import time
import urllib.error
import urllib.request

import pytest

import sigv4

ODD = "a ü+%/🏔 b"


def fetch(url, method="GET", body=None, **headers):
    """Status and body, as any HTTP client gets them."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_get_put_head_and_delete_by_url_alone(s3, bucket):
    where = {"Bucket": bucket, "Key": ODD}
    assert fetch(s3.generate_presigned_url("put_object", where), "PUT", b"by url")[0] == 200
    assert fetch(s3.generate_presigned_url("get_object", where)) == (200, b"by url")
    assert fetch(s3.generate_presigned_url("head_object", where), "HEAD") == (200, b"")
    assert fetch(s3.generate_presigned_url("delete_object", where), "DELETE")[0] == 204
    assert fetch(s3.generate_presigned_url("get_object", where))[0] == 404


def test_a_url_may_choose_the_answers_headers(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k", "ResponseContentType": "text/x-chosen"})
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["content-type"] == "text/x-chosen"


def test_what_was_signed_must_be_sent(s3, bucket):
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k", "ContentType": "text/signed"})
    assert fetch(url, "PUT", b"x", **{"Content-Type": "text/other"})[0] == 403
    assert fetch(url, "PUT", b"x", **{"Content-Type": "text/signed"})[0] == 200


@pytest.mark.parametrize("change", [("X-Amz-Signature=", "X-Amz-Signature=0"), ("X-Amz-Expires=3600", "X-Amz-Expires=3601"), ("/k?", "/l?")])
def test_a_changed_url_is_refused(s3, bucket, change):
    s3.put_object(Bucket=bucket, Key="k", Body=b"not for you")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert change[0] in url
    status, body = fetch(url.replace(*change))
    assert status in (400, 403) and b"not for you" not in body


def test_a_url_for_one_verb_does_not_serve_another(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert fetch(url, "PUT", b"x")[0] == 403
    assert fetch(url, "DELETE")[0] == 403
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def presigned(raw, bucket, **said):
    return f"http://{raw.name}" + sigv4.presign(raw.who, "GET", raw.name, f"/{bucket}/k", **said)


def test_a_url_dies_at_its_time(raw, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert fetch(presigned(raw, bucket, lives_s=60, at=time.time() - 30))[0] == 200
    status, body = fetch(presigned(raw, bucket, lives_s=60, at=time.time() - 61))
    assert status == 403 and b"AccessDenied" in body


def test_a_url_from_tomorrow_or_for_more_than_a_week_is_refused(raw, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert fetch(presigned(raw, bucket, at=time.time() + 86_400))[0] == 403
    assert fetch(presigned(raw, bucket, lives_s=604_801))[0] in (400, 403)


def test_a_multipart_upload_by_urls(s3, bucket):
    upload = {"Bucket": bucket, "Key": "k", "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]}
    url = s3.generate_presigned_url("upload_part", upload | {"PartNumber": 1})
    assert fetch(url, "PUT", b"part")[0] == 200
    parts = [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]} for p in s3.list_parts(**upload)["Parts"]]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert fetch(s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})) == (200, b"part")
