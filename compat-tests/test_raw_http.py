"""HTTP beneath S3: connections that break off, wait, flood or talk nonsense. None may store a part or end the server."""

import hashlib
import http.client
import os
import socket
import time

import pytest

import rawhttp
import sigv4


def head_of(raw, verb, path, headers=None, payload=sigv4.UNSIGNED):
    """The bytes of a signed request up to its body."""
    signed = sigv4.signed_headers(raw.who, verb, raw.name, path, None, headers, payload)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    return f"{verb} {sigv4.target(path)} HTTP/1.1\r\n{lines}\r\n".encode()


def read_status(connection) -> int:
    """The status of the next answer on a bare connection; 0 when the server only hangs up."""
    try:
        line = connection.makefile("rb").readline()
    except ConnectionError:
        return 0
    return int(line.split()[1]) if line.startswith(b"HTTP/1.") else 0


@pytest.mark.parametrize("sent", [0, 1, 1000, 70_000, 999_999])
@pytest.mark.parametrize("before", [None, b"old"], ids=["new key", "overwrite"])
def test_an_upload_that_breaks_off_stores_nothing(raw, bucket, sent, before):
    path = f"/{bucket}/k"
    if before:
        raw.call("PUT", path, body=before)
    with raw.socket() as connection:
        connection.sendall(head_of(raw, "PUT", path, {"content-length": "1000000"}) + b"n" * sent)
    time.sleep(0.1)
    answer = raw.call("GET", path)
    assert (answer.status, answer.body) == (200, before) if before else answer.status == 404
    assert raw.call("GET", f"/{bucket}").body.count(b"<Contents>") == (1 if before else 0)


def test_a_part_that_breaks_off_is_not_a_part(raw, bucket):
    path = f"/{bucket}/k"
    upload = raw.call("POST", path, {"uploads": ""}).field("UploadId")
    query = {"partNumber": "1", "uploadId": upload}
    signed = sigv4.signed_headers(raw.who, "PUT", raw.name, path, query, {"content-length": "1000000"})
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    with raw.socket() as connection:
        connection.sendall(f"PUT {sigv4.target(path, query)} HTTP/1.1\r\n{lines}\r\n".encode() + b"n" * 500_000)
    time.sleep(0.1)
    assert not raw.call("GET", path, {"uploadId": upload}).xml().findall("Part")


def test_a_client_that_asks_first_is_told_to_go_on(raw, bucket):
    body = b"after the hundred"
    head = head_of(raw, "PUT", f"/{bucket}/k", {"content-length": str(len(body)), "expect": "100-continue"})
    with raw.socket() as connection:
        connection.sendall(head)
        answers = connection.makefile("rb")
        assert answers.readline().startswith(b"HTTP/1.1 100")
        assert answers.readline() == b"\r\n"
        connection.sendall(body)
        assert answers.readline().startswith(b"HTTP/1.1 200")
    assert raw.call("GET", f"/{bucket}/k").body == body


def test_a_client_that_asks_first_and_may_not_is_told_so_at_once(raw, bucket):
    head = head_of(raw, "PUT", f"/{bucket}/k", {"content-length": "1000000", "expect": "100-continue"})
    with raw.socket() as connection:
        connection.sendall(head.replace(b"Signature=", b"Signature=0"))
        assert read_status(connection) == 403
    with raw.socket() as connection:
        connection.sendall(head_of(raw, "PUT", "/never-made-bucket/k", {"content-length": "1000000", "expect": "100-continue"}))
        assert read_status(connection) == 404


@pytest.mark.parametrize(
    ("path", "length", "status"), [("/{}/k", 0, 200), ("/never-made-bucket/k", 0, 404), ("/never-made-bucket/k", 1000, 404)]
)
def test_an_answer_without_a_hundred_ends_the_connection(raw, bucket, path, length, status):
    """aws-cli v1 asks first even for an empty file. When the final answer comes without a 100 and the connection lives on,
    it takes that answer's status for the next request too, and then waits for headers that never come."""
    with raw.socket() as connection:
        connection.sendall(head_of(raw, "PUT", path.format(bucket), {"content-length": str(length), "expect": "100-continue"}))
        answers = connection.makefile("rb")
        line = answers.readline()
        if line.startswith(b"HTTP/1.1 100"):
            return
        assert int(line.split()[1]) == status
        headers = http.client.parse_headers(answers)
        assert (headers["connection"] or "").lower() == "close", headers.items()


def test_a_put_without_a_length_is_refused(raw, bucket):
    with raw.socket() as connection:
        connection.sendall(head_of(raw, "PUT", f"/{bucket}/k", {"transfer-encoding": "chunked"}) + b"3\r\nabc\r\n0\r\n\r\n")
        status = read_status(connection)
    # A body in HTTP chunks has an end of its own: S3 says 411; taking it whole is no lie either.
    assert status in (200, 411, 501), status
    got = raw.call("GET", f"/{bucket}/k")
    assert (got.status, got.body) == (200, b"abc") if status == 200 else got.status == 404


def test_http_chunks_that_break_off_store_nothing(raw, bucket):
    with raw.socket() as connection:
        connection.sendall(head_of(raw, "PUT", f"/{bucket}/k", {"transfer-encoding": "chunked"}) + b"3\r\nabc\r\n")
    time.sleep(0.1)
    assert raw.call("HEAD", f"/{bucket}/k").status == 404


def test_requests_sent_ahead_are_answered_in_order(raw, bucket):
    for number in range(5):
        raw.call("PUT", f"/{bucket}/k{number}", body=b"body %d" % number)
    with raw.socket() as connection:
        connection.sendall(b"".join(head_of(raw, "GET", f"/{bucket}/k{number}") for number in range(5)))
        seen, wanted = b"", [b"body %d" % number for number in range(5)]
        while wanted[-1] not in seen:
            seen += connection.recv(65_536) or pytest.fail(f"hung up after {seen!r}")
    places = [seen.index(body) for body in wanted]
    assert places == sorted(places)


def test_one_connection_serves_many_requests(raw, bucket):
    raw.call("PUT", f"/{bucket}/k", body=b"x" * 100)
    used = raw.connection.sock
    for _ in range(50):
        assert raw.call("GET", f"/{bucket}/k").status == 200
        assert raw.call("GET", f"/{bucket}/none").status == 404
    assert raw.connection.sock is used


def test_a_request_after_a_refused_upload_is_not_taken_for_its_body(raw, bucket):
    """A client that asked first, and was refused, does not send its body: what comes next on the connection is a new request."""
    raw.call("PUT", f"/{bucket}/there", body=b"x")
    asked = head_of(raw, "PUT", f"/{bucket}/there", {"if-none-match": "*", "content-length": "6", "expect": "100-continue"})
    for _ in range(100):
        with raw.socket() as connection:
            connection.sendall(asked)
            assert read_status(connection) == 412
            try:
                connection.sendall(head_of(raw, "GET", f"/{bucket}/there"))
                assert read_status(connection) in (0, 200)
            except OSError:
                pass  # closed: then nothing was mistaken


REFUSALS = {
    "missing bucket": ("/never-made-bucket/k", {}),
    "condition": ("/{}/there", {"if-none-match": "*"}),
    "digest that is none": ("/{}/k", {"content-md5": "not-base64!"}),
    "not built": ("/{}/k", {"x-amz-object-lock-legal-hold": "ON"}),
    "key too long": ("/{}/" + "k" * 1025, {}),
}


@pytest.mark.parametrize("body_bytes", [3, 60_000])
@pytest.mark.parametrize("why", REFUSALS)
def test_a_refused_upload_leaves_a_usable_connection_or_says_that_it_ends(raw, bucket, why, body_bytes):
    """A connection closed without `connection: close` breaks the next request of every client that pools connections."""
    path, headers = REFUSALS[why]
    client = rawhttp.Client(raw.host, raw.port, raw.who)
    client.call("PUT", f"/{bucket}/there", body=b"x")
    for _ in range(20):
        assert client.call("PUT", path.format(bucket), headers=headers, body=b"b" * body_bytes).status >= 400
        time.sleep(0.002)
        assert client.call("GET", f"/{bucket}/there").body == b"x"


def test_a_refusal_reaches_a_client_that_is_still_sending(raw, bucket):
    """As SDKs send: they write a body to its end before they read the answer, and a broken pipe tells them nothing."""
    raw.call("PUT", f"/{bucket}/k", body=b"there")
    with raw.socket() as connection:
        connection.sendall(head_of(raw, "PUT", f"/{bucket}/k", {"content-length": "60000", "if-none-match": "*"}))
        for _ in range(3):
            time.sleep(0.1)
            connection.sendall(b"n" * 20_000)
        assert read_status(connection) == 412


@pytest.mark.parametrize("header_bytes", [9_000, 70_000, 2_000_000])
def test_huge_headers_are_refused(raw, bucket, header_bytes):
    with raw.socket() as connection:
        try:
            connection.sendall(head_of(raw, "GET", f"/{bucket}/k", {"x-amz-meta-huge": "h" * header_bytes}))
        except OSError:
            pass  # hung up while we were still talking: refused
        assert read_status(connection) in (0, 400, 404, 413, 431)


def test_ten_thousand_headers_are_refused(raw, bucket):
    with raw.socket() as connection:
        try:
            connection.sendall(head_of(raw, "GET", f"/{bucket}/k", {f"x-h{number}": "v" for number in range(10_000)}))
        except OSError:
            pass
        assert read_status(connection) in (0, 400, 403, 413, 431)


GARBAGE = {
    "nothing": b"",
    "line ends": b"\r\n\r\n\r\n",
    "binary": bytes(range(256)) * 40,
    "TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no version": b"GET / \r\nhost: x\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "bad percent": b"GET /%zz%/%c3%28 HTTP/1.1\r\nhost: x\r\n\r\n",
    "nul in path": b"GET /b/%00k HTTP/1.1\r\nhost: x\r\n\r\n",
    "not utf-8 in path": b"GET /b/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "negative length": b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
    "two lengths": b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
    "length and chunks": b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "length too large for any integer": b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    "bad chunk size": b"PUT /b/k HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "absolute form": b"GET http://elsewhere/b/k HTTP/1.1\r\nhost: x\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    "connect": b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\n\r\n",
    "long path": b"GET /" + b"p" * 200_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "many slashes": b"GET " + b"/" * 5_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "presigned nonsense": b"GET /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%2F%2F&X-Amz-Expires=-1&X-Amz-Date=x HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_answered_with_a_4xx_or_a_hang_up(raw, bucket, name):
    with raw.socket() as connection:
        connection.settimeout(10)
        try:
            connection.sendall(GARBAGE[name])
            connection.shutdown(socket.SHUT_WR)
            status = read_status(connection)
        except OSError:
            status = 0
    assert status == 0 or 400 <= status < 500 or status in (501, 505), status
    assert raw.call("PUT", f"/{bucket}/k", body=b"alive").status == 200


def test_random_bytes_never_end_the_server(raw, bucket):
    for _ in range(100):
        with raw.socket() as connection:
            try:
                connection.sendall(os.urandom(300))
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
    assert raw.call("PUT", f"/{bucket}/k", body=b"alive").status == 200


def test_readers_that_hang_up_half_way_harm_nobody(raw, bucket):
    body = os.urandom(20_000_000)
    raw.call("PUT", f"/{bucket}/k", body=body)
    for _ in range(20):
        with raw.socket() as connection:
            connection.sendall(head_of(raw, "GET", f"/{bucket}/k"))
            connection.recv(1000)
    assert hashlib.md5(raw.call("GET", f"/{bucket}/k").body).digest() == hashlib.md5(body).digest()


def test_idle_connections_do_not_keep_others_out(raw, bucket):
    idle = [raw.socket() for _ in range(300)]
    try:
        assert raw.call("PUT", f"/{bucket}/k", body=b"served").status == 200
    finally:
        for connection in idle:
            connection.close()
