"""CORS: rules are kept, browsers are answered before they sign, and every answer says whether its page may see it."""

import http.client

import pytest

from expect import refused

PAGE = "https://app.example.org"
RULES = [
    {
        "ID": "app", "AllowedOrigins": ["https://*.example.org"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["x-amz-*", "content-type"],
        "ExposeHeaders": ["ETag", "x-amz-meta-a"], "MaxAgeSeconds": 3000,
    },
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
]


def ask(endpoint, method: str, target: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=30)
    connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


@pytest.fixture
def open_bucket(s3, bucket):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    return bucket


def test_rules_are_kept_and_removed(s3, bucket):
    with refused("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    s3.delete_bucket_cors(Bucket=bucket)
    with refused("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)


@pytest.mark.parametrize(
    "change",
    [{"AllowedOrigins": ["*://*.org"]}, {"AllowedMethods": ["PATCH"]}, {"AllowedHeaders": ["x-*-*"]}, {"ExposeHeaders": ["x-amz-*"]}],
)
def test_rules_that_are_none_are_refused(s3, bucket, change):
    with refused("InvalidRequest", 400):
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [RULES[0] | change]})
    with refused("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)


def test_a_browser_is_answered_before_it_signs(endpoint, open_bucket):
    asked = {"Origin": PAGE, "Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "x-amz-date,content-type"}
    answer = ask(endpoint, "OPTIONS", f"/{open_bucket}/k", **asked)
    assert answer.status == 200, answer.body
    assert answer.getheader("access-control-allow-origin") == PAGE
    assert answer.getheader("access-control-allow-methods") == "GET, PUT"
    assert answer.getheader("access-control-allow-headers") == "x-amz-date, content-type"
    assert answer.getheader("access-control-expose-headers") == "ETag, x-amz-meta-a"
    assert answer.getheader("access-control-max-age") == "3000"
    assert "Origin" in answer.getheader("vary")
    anyone = ask(endpoint, "OPTIONS", f"/{open_bucket}/k", Origin="https://b.com", Access_Control_Request_Method="HEAD")
    assert (anyone.status, anyone.getheader("access-control-allow-origin")) == (200, "*")
    for change in ({"Origin": "https://b.com"}, {"Access_Control_Request_Method": "DELETE"}, {"Access_Control_Request_Headers": "authorization"}):
        assert ask(endpoint, "OPTIONS", f"/{open_bucket}/k", **(asked | change)).status == 403, change
    assert ask(endpoint, "OPTIONS", f"/{open_bucket}/k").status == 400
    assert ask(endpoint, "OPTIONS", "/never-made-bucket/k", **asked).status == 404


def test_every_answer_says_whether_its_page_may_see_it(endpoint, s3, open_bucket):
    s3.put_object(Bucket=open_bucket, Key="k", Body=b"seen")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": open_bucket, "Key": "k"})
    target = url.split(f"{endpoint.port}", 1)[1]
    answer = ask(endpoint, "GET", target, Origin=PAGE)
    assert (answer.status, answer.body, answer.getheader("access-control-allow-origin")) == (200, b"seen", PAGE)
    assert ask(endpoint, "GET", target, Origin="https://b.com").getheader("access-control-allow-origin") is None
    refused_one = ask(endpoint, "GET", f"/{open_bucket}/k", Origin=PAGE)
    assert (refused_one.status, refused_one.getheader("access-control-allow-origin")) == (403, PAGE)
