"""Requests that no client sends by mistake: each is answered 4xx or hung up on, stores nothing, and harms nobody.

A table of them: what is sent is written out, and one test judges all. `CASES` maps a name to a function that sends one request and
returns the status, 0 where the server only hung up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import select
import socket
import time
from typing import Callable

import pytest

import chunked
import rawhttp
import sigv4
from chunked import SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER

PATIENCE_S = 15
ANSWER_S = 0.5  # a whole request is answered by then
Case = Callable[[rawhttp.Client, str], int]
CASES: dict[str, Case] = {}


def case(name: str, send: Case) -> None:
    assert name not in CASES, name
    CASES[name] = send


# How requests are sent.


def status_of(connection: socket.socket) -> int:
    """The status of the first final answer; 0 where there is none."""
    try:
        answers = connection.makefile("rb")
        while line := answers.readline():
            status = int(line.split()[1]) if line.startswith(b"HTTP/1.") else 0
            if status != 100:
                return status
            while answers.readline().strip():
                pass
    except ConnectionError:
        pass
    return 0


def wire(raw: rawhttp.Client, sent: bytes) -> int:
    """Sends these bytes and nothing more, ever."""
    with raw.socket() as connection:
        connection.settimeout(PATIENCE_S)
        try:
            connection.sendall(sent)
            # Who hangs up early may lose an answer that is on its way; who never does waits for one that never comes.
            if not select.select([connection], [], [], ANSWER_S)[0]:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # hung up while we were still talking
        return status_of(connection)


def lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")


def signed(
    raw: rawhttp.Client, verb: str, path: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None,
    body: bytes = b"", payload: str | None = None, at: float | None = None,
) -> bytes:
    """A signed request as it travels."""
    hashed = payload or hashlib.sha256(body).hexdigest()
    length = {} if "transfer-encoding" in (headers or {}) else {"content-length": str(len(body))}
    said = sigv4.signed_headers(raw.who, verb, raw.name, path, query, length | (headers or {}), hashed, at)
    return f"{verb} {sigv4.target(path, query)} HTTP/1.1\r\n".encode() + lines(said) + b"\r\n" + body


def md5_of(body: bytes) -> dict[str, str]:
    return {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}


def call(verb: str, path: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None, body: bytes = b"", payload: str | None = None) -> Case:
    """A signed request; `{b}` in the path and in headers is the bucket."""

    def send(raw: rawhttp.Client, bucket: str) -> int:
        said = {name: value.replace("{b}", bucket) for name, value in (headers or {}).items()}
        return wire(raw, signed(raw, verb, path.replace("{b}", bucket), query, said, body, payload))

    return send


def edited(edit: Callable[[bytes], bytes], verb: str = "PUT", path: str = "/{b}/k", headers: dict[str, str] | None = None, body: bytes = b"abc") -> Case:
    """A good request that was changed behind the signer's back."""
    return lambda raw, bucket: wire(raw, edit(signed(raw, verb, path.replace("{b}", bucket), None, headers, body)))


def sent(text: bytes) -> Case:
    return lambda raw, bucket: wire(raw, text.replace(b"{b}", bucket.encode()))


# Framing: where one request ends and the next begins.

for name, value in {
    "negative": "-3", "plus": "+3", "hex": "0x3", "exponent": "3e0", "fraction": "3.0", "list": "3, 4", "words": "three", "empty": "",
    "two numbers": "3 3", "semicolon": "3;", "too large": "9" * 30, "overflow": "18446744073709551619", "quoted": '"3"',
}.items():
    case(f"length: {name}", edited(lambda out, value=value: out.replace(b"content-length: 3", b"content-length: " + value.encode())))
for name, header in {
    "space before colon": b"content-length : 3", "tab before colon": b"content-length\t: 3", "two that differ": b"content-length: 3\r\ncontent-length: 4",
    "folded": b"content-length:\r\n 3", "nul in name": b"content\x00-length: 3", "space before name": b" content-length: 3",
    "no colon": b"content-length", "no name": b": 3", "bare cr": b"content-length: 3\rx: y", "vertical tab": b"content-length: \x0b3",
    "nul": b"content-length: 3\x00", "in parentheses": b"(content-length): 3",
}.items():
    case(f"length header: {name}", edited(lambda out, header=header: out.replace(b"content-length: 3", header)))
for coding in [
    "identity", "chunked, identity", "xchunked", "chunked;q=1", "chunked x", "gzip", "chunkedchunked", "\x0bchunked", "'chunked'", "chunked,", ", ,", "deflate, gzip",
]:
    case(f"transfer-encoding: {coding!r}", edited(lambda out, coding=coding: out.replace(b"content-length: 3", b"transfer-encoding: " + coding.encode())))
for name, framing in {
    "length then chunks": b"content-length: 3\r\ntransfer-encoding: chunked", "chunks then length": b"transfer-encoding: chunked\r\ncontent-length: 3",
    "chunks twice": b"transfer-encoding: chunked\r\ntransfer-encoding: identity", "chunks in 1.0": b"transfer-encoding: chunked",
}.items():
    def smuggled(out: bytes, framing: bytes = framing, old: bool = name.endswith("1.0")) -> bytes:
        out = out.replace(b"content-length: 3", framing).replace(b"abc", b"3\r\nabc\r\n0\r\n\r\n")
        return out.replace(b"HTTP/1.1", b"HTTP/1.0") if old else out
    case(f"smuggling: {name}", edited(smuggled))
for name, chunks in {
    "negative": b"-3\r\nabc\r\n0\r\n\r\n", "hex prefix": b"0x3\r\nabc\r\n0\r\n\r\n", "not hex": b"zz\r\nabc\r\n0\r\n\r\n", "overflow": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n",
    "no end of size": b"3abc", "no end of data": b"3\r\nabc0\r\n\r\n", "longer than said": b"3\r\nabcd\r\n0\r\n\r\n", "empty size": b"\r\nabc\r\n0\r\n\r\n",
    "cut in size": b"3", "cut in data": b"3\r\nab", "cut before the end": b"3\r\nabc\r\n", "endless extension": b"3;" + b"x" * 100_000 + b"\r\nabc\r\n0\r\n\r\n",
    "bad trailer": b"3\r\nabc\r\n0\r\nno colon\r\n\r\n", "endless trailers": b"3\r\nabc\r\n0\r\n" + b"x: y\r\n" * 20_000 + b"\r\n", "spaces in size": b"3 4\r\nabc\r\n0\r\n\r\n",
}.items():
    def in_chunks(raw: rawhttp.Client, bucket: str, chunks: bytes = chunks) -> int:
        head = signed(raw, "PUT", f"/{bucket}/k", None, {"transfer-encoding": "chunked"}, b"", hashlib.sha256(b"abc").hexdigest())
        return wire(raw, head + chunks)
    case(f"http chunk: {name}", in_chunks)
for name, line in {
    "no version": b"PUT /{b}/k", "HTTP/0.9": b"PUT /{b}/k HTTP/0.9", "HTTP/3.0": b"PUT /{b}/k HTTP/3.0", "lower case": b"PUT /{b}/k http/1.1", "two spaces": b"PUT  /{b}/k HTTP/1.1",
    "tab": b"PUT\t/{b}/k\tHTTP/1.1", "space in target": b"PUT /{b}/k k HTTP/1.1", "no slash": b"PUT {b}/k HTTP/1.1", "backslash": b"PUT \\{b}\\k HTTP/1.1",
    "nul in target": b"PUT /{b}/\x00 HTTP/1.1", "raw bytes in target": b"PUT /{b}/\xff\xfe HTTP/1.1", "star": b"PUT * HTTP/1.1", "authority": b"CONNECT {b}:80 HTTP/1.1",
    "method with a slash": b"PU/T /{b}/k HTTP/1.1", "method unknown": b"STORE /{b}/k HTTP/1.1", "method in lower case": b"put /{b}/k HTTP/1.1", "endless method": b"P" * 9_000 + b" /{b}/k HTTP/1.1",
    "endless target": b"PUT /{b}/" + b"k" * 500_000 + b" HTTP/1.1", "another scheme": b"PUT ftp://x/{b}/k HTTP/1.1", "empty target": b"PUT  HTTP/1.1", "only spaces": b"   ",
}.items():
    case(f"request line: {name}", sent(line + b"\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"))
for name, header in {
    "no host": b"x: y", "two hosts": b"host: a\r\nhost: b", "host with a space": b"host: a b", "host with a path": b"host: a/b", "host with a user": b"host: u:p@a",
    "host of bytes": b"host: \xff\xfe", "empty name": b"host: x\r\n: y", "name of bytes": b"host: x\r\n\xff: y", "name with a space": b"host: x\r\na b: y",
    "control character": b"host: x\r\na: \x01", "line of a hundred kilobytes": b"host: x\r\na: " + b"y" * 100_000, "ten thousand headers": b"host: x\r\n" + b"\r\n".join(b"a%d: y" % n for n in range(10_000)),
    "expectation unknown": b"host: x\r\nexpect: 200-ok", "upgrade": b"host: x\r\nconnection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
}.items():
    case(f"headers: {name}", sent(b"PUT /{b}/k HTTP/1.1\r\n" + header + b"\r\ncontent-length: 3\r\n\r\nabc"))
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    return (len(body) if length is None else length).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


SETTINGS = frame(4, 0, 0, b"")
for name, frames in {
    "garbage": b"\xff" * 200, "frame too large": SETTINGS + frame(0, 0, 1, b"x", 0xFFFFFF), "data before headers": SETTINGS + frame(0, 1, 1, b"abc"),
    "headers that are none": SETTINGS + frame(1, 5, 1, b"\xff\xff\xff\xff"), "even stream": SETTINGS + frame(1, 5, 2, b"\x82"), "settings of odd length": frame(4, 0, 0, b"12345"),
    "settings for a stream": frame(4, 0, 1, b""), "window of nothing": SETTINGS + frame(8, 0, 0, b"\0\0\0\0"), "window too large": SETTINGS + frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "continuation of nothing": SETTINGS + frame(9, 4, 1, b"\x82"), "endless continuation": SETTINGS + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x40" + b"\x01a\x01b") * 5_000,
    "ping of odd length": SETTINGS + frame(6, 0, 0, b"1"), "push": SETTINGS + frame(5, 4, 1, b"\0\0\0\2\x82"),
    "opened and reset a thousand times": SETTINGS + b"".join(frame(1, 5, n, b"\x82\x84\x86\x41\x01x") + frame(3, 0, n, b"\0\0\0\x08") for n in range(1, 2_001, 2)),
}.items():
    case(f"HTTP/2: {name}", sent(PREFACE + frames))

# Signatures.

for name, value in {
    "empty": "", "scheme only": "AWS4-HMAC-SHA256", "basic": "Basic dXNlcjpwYXNz", "bearer": "Bearer x", "version 2": "AWS KEY:c2ln", "no parts": "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=",
    "no signature": "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, SignedHeaders=host", "short scope": "AWS4-HMAC-SHA256 Credential=A/20260101, SignedHeaders=host, Signature=00",
    "SHA-1": "AWS4-HMAC-SHA1 Credential=A/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00", "4A": "AWS4-ECDSA-P256-SHA256 Credential=A/20260101/s3/aws4_request, SignedHeaders=host, Signature=00",
    "signature of another length": "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + "0" * 63, "bytes": "\xff\xfe\xfd", "commas": "," * 5_000, "slashes": "AWS4-HMAC-SHA256 Credential=" + "/" * 3_000 + ", SignedHeaders=host, Signature=00",
}.items():
    case(f"authorization: {name}", lambda raw, bucket, value=value: wire(raw, f"PUT /{bucket}/k HTTP/1.1\r\nhost: {raw.name}\r\nx-amz-date: {sigv4.amz_date()}\r\nx-amz-content-sha256: {sigv4.UNSIGNED}\r\nauthorization: {value}\r\ncontent-length: 3\r\n\r\nabc".encode("latin-1")))
for name, edit in {
    "another verb": lambda out: out.replace(b"PUT ", b"POST ", 1), "another key": lambda out: out.replace(b"/k HTTP", b"/j HTTP"), "a query added": lambda out: out.replace(b"/k HTTP", b"/k?acl HTTP"),
    "body": lambda out: out[:-3] + b"xyz", "date": lambda out: out.replace(b"x-amz-date: 20", b"x-amz-date: 19"), "no date": lambda out: out.replace(b"x-amz-date", b"x-other-date"),
    "two dates": lambda out: out.replace(b"x-amz-date:", b"x-amz-date: 20260101T000000Z\r\nx-amz-date:"), "no payload hash": lambda out: out.replace(b"x-amz-content-sha256:", b"x-other:"),
    "host": lambda out: out.replace(b"host: ", b"host: evil."), "header added": lambda out: out.replace(b"\r\nhost:", b"\r\nx-amz-meta-a: b\r\nhost:"), "acl added": lambda out: out.replace(b"\r\nhost:", b"\r\nx-amz-acl: private\r\nhost:"),
    "copy source added": lambda out: out.replace(b"\r\nhost:", b"\r\nx-amz-copy-source: /a/b\r\nhost:"), "signature in upper case": lambda out: out.split(b"Signature=")[0] + b"Signature=" + out.split(b"Signature=")[1][:64].upper().replace(b"0", b"1") + out.split(b"Signature=")[1][64:],
    "signature cut": lambda out: out.replace(b"Signature=", b"Signature=0"), "two signatures": lambda out: out.replace(b"\r\nhost:", b"\r\nauthorization: AWS4-HMAC-SHA256 x\r\nhost:"),
    "session token": lambda out: out.replace(b"\r\nhost:", b"\r\nx-amz-security-token: bogus\r\nhost:"), "service": lambda out: out.replace(b"/s3/aws4", b"/ec2/aws4"), "region": lambda out: out.replace(b"/us-east-1/", b"/mars-1/"),
    "terminator": lambda out: out.replace(b"aws4_request", b"aws5_request"), "unknown key": lambda out: out.replace(b"Credential=C", b"Credential=X"), "length not as signed": lambda out: out.replace(b"content-length: 3", b"content-length: 2"),
}.items():
    case(f"tampered: {name}", edited(edit))
for name, shift in {"an hour old": -3_600, "an hour ahead": 3_600, "a year old": -31_000_000, "the year 1970": -1_700_000_000}.items():
    case(f"clock: {name}", lambda raw, bucket, shift=shift: wire(raw, signed(raw, "PUT", f"/{bucket}/k", None, None, b"abc", at=time.time() + shift)))
for secret in ["", "wrong", "x" * 5_000]:
    case(f"secret: {secret[:9]!r}", lambda raw, bucket, secret=secret: wire(raw, signed(rawhttp.Client(raw.host, raw.port, sigv4.Credentials(raw.who.access_key, secret)), "PUT", f"/{bucket}/k", None, None, b"abc")))


def presigned(edit: Callable[[str], str] = lambda target: target, verb: str = "PUT", lives_s: int = 60, at: float = 0, headers: str = "") -> Case:
    def send(raw: rawhttp.Client, bucket: str) -> int:
        target = edit(sigv4.presign(raw.who, "PUT", raw.name, f"/{bucket}/k", lives_s=lives_s, at=time.time() + at))
        return wire(raw, f"{verb} {target} HTTP/1.1\r\nhost: {raw.name}\r\n{headers}content-length: 3\r\n\r\nabc".encode("latin-1"))
    return send


for lives in [0, -1, 604_801, 10**12]:
    case(f"presigned for {lives} s", presigned(lives_s=lives))
for text in ["abc", "", "1e3", "60.5", "0x3c", "+60", "99999999999999999999999", "%00"]:
    case(f"presigned for {text!r}", presigned(lambda target, text=text: target.replace("X-Amz-Expires=60", f"X-Amz-Expires={text}")))
for parameter in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"]:
    case(f"presigned without {parameter}", presigned(lambda target, parameter=parameter: target.replace(f"X-Amz-{parameter}=", f"X-Was-{parameter}=")))
    case(f"presigned with two of {parameter}", presigned(lambda target, parameter=parameter: target + f"&X-Amz-{parameter}=x"))
    case(f"presigned with an empty {parameter}", presigned(lambda target, parameter=parameter: "&".join(f"X-Amz-{parameter}=" if f"X-Amz-{parameter}=" in part and "?" not in part else part for part in target.replace("?", "?a&").split("&"))))
case("presigned for another verb", presigned(verb="DELETE"))
case("presigned and expired", presigned(at=-120))
case("presigned in the future", presigned(at=7_200))
case("presigned with a header added", presigned(headers="x-amz-meta-a: b\r\n"))
case("presigned with a copy source added", presigned(headers="x-amz-copy-source: /a/b\r\n"))
case("presigned with a query added", presigned(lambda target: target + "&tagging"))
case("presigned with a token", presigned(lambda target: target + "&X-Amz-Security-Token=bogus"))
case("presigned by version 2", sent(b"PUT /{b}/k?AWSAccessKeyId=A&Signature=c2ln&Expires=9999999999 HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"))

# Bodies in aws-chunks, checksums and digests.


def upload(**said) -> Case:
    def send(raw: rawhttp.Client, bucket: str) -> int:
        client = rawhttp.Client(raw.host, raw.port, raw.who, timeout_s=PATIENCE_S)
        one = chunked.Upload([b"a" * 8_192, b"b" * 100], **said)
        headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(8_292 if one.length is None else one.length)} | one.more
        if one.trailer:
            headers["x-amz-trailer"] = ",".join(one.trailer)
        path = f"/{bucket}/k"
        said_headers = sigv4.signed_headers(client.who, "PUT", client.name, path, None, headers, one.payload)
        body = one.encode(client.who, said_headers)
        body = body[: len(body) - one.cut]
        return wire(client, f"PUT {path} HTTP/1.1\r\n".encode() + lines(said_headers | {"content-length": str(len(body))}) + b"\r\n" + body)
    return send


CRC = {"x-amz-checksum-crc32": "AAAAAA=="}
for number in range(3):
    case(f"aws-chunk {number} tampered", upload(tamper=number))
for cut in [1 + 4, 40, 90, 200, 5_000, 8_400]:
    case(f"aws-chunks cut by {cut}", upload(cut=cut))
case("aws-chunks without their end", upload(final=False))
for length in [0, 1, 8_291, 8_293, 10**15, -1]:
    for payload in [SIGNED, UNSIGNED_TRAILER]:
        trailer = CRC if payload == UNSIGNED_TRAILER else {}
        case(f"decoded length {length} in {payload[10:18]}", upload(length=length, payload=payload, trailer=trailer))
for text in ["abc", "", "1.5", "0x10"]:
    case(f"decoded length {text!r}", upload(more={"x-amz-decoded-content-length": text}))
for payload in [SIGNED_TRAILER, UNSIGNED_TRAILER]:
    word = payload[10:18]
    case(f"trailer wrong in {word}", upload(payload=payload, trailer=CRC))
    case(f"trailer malformed in {word}", upload(payload=payload, trailer={"x-amz-checksum-crc32": "%%%"}))
    case(f"trailer unknown in {word}", upload(payload=payload, trailer={"x-amz-checksum-rot13": "AAAA"}))
    case(f"trailer that is none in {word}", upload(payload=payload, trailer={"x-amz-meta-a": "b"}))
    case(f"trailer promised and absent in {word}", upload(payload=payload, more={"x-amz-trailer": "x-amz-checksum-crc32"}))
    case(f"trailer cut in {word}", upload(payload=payload, trailer=CRC, cut=12))
for payload in ["STREAMING", "STREAMING-NOTHING", "0" * 63, "g" * 64, "", "signed", "0" * 64]:
    case(f"payload hash {payload[:30]!r} of {len(payload)}", call("PUT", "/{b}/k", body=b"abc", payload=payload or " "))
for name, body in {
    "no chunks at all": b"abc", "size that is none": b"zz;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n", "no signature": b"3\r\nabc\r\n0\r\n\r\n", "negative size": b"-3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n",
    "endless size line": b"3;" + b"x" * 50_000, "size of 4 GiB": b"ffffffff;chunk-signature=" + b"0" * 64 + b"\r\nabc", "size past 64 bits": b"fffffffffffffffff;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n", "empty": b"",
}.items():
    case(f"aws-chunk body: {name}", call("PUT", "/{b}/k", headers={"x-amz-decoded-content-length": "3", "content-encoding": "aws-chunked"}, body=body, payload=SIGNED))
for name, headers in {
    "md5 of something else": md5_of(b"other"), "md5 that is none": {"content-md5": "%%%"}, "md5 too short": {"content-md5": "AAAA"}, "empty md5": {"content-md5": ""},
    "crc32 wrong": CRC, "crc32c wrong": {"x-amz-checksum-crc32c": "AAAAAA=="}, "crc64 wrong": {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}, "sha1 wrong": {"x-amz-checksum-sha1": base64.b64encode(bytes(20)).decode()},
    "sha256 wrong": {"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}, "sha512 wrong": {"x-amz-checksum-sha512": base64.b64encode(bytes(64)).decode()}, "md5 checksum wrong": {"x-amz-checksum-md5": base64.b64encode(bytes(16)).decode()},
    "xxhash64 wrong": {"x-amz-checksum-xxhash64": "AAAAAAAAAAA="}, "xxhash3 wrong": {"x-amz-checksum-xxhash3": "AAAAAAAAAAA="}, "xxhash128 wrong": {"x-amz-checksum-xxhash128": base64.b64encode(bytes(16)).decode()},
    "unknown": {"x-amz-checksum-rot13": "AAAA"}, "too short": {"x-amz-checksum-sha256": "AAAA"}, "two": CRC | {"x-amz-checksum-crc32c": "AAAAAA=="}, "not the one announced": CRC | {"x-amz-sdk-checksum-algorithm": "SHA1"},
    "announced and absent": {"x-amz-sdk-checksum-algorithm": "CRC32"},
}.items():
    case(f"digest: {name}", call("PUT", "/{b}/k", headers=headers, body=b"abc"))

# XML.

LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">' + b"".join(b'<!ENTITY %c "&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;">' % ((98 + n,) + (97 + n,) * 10) for n in range(12)) + b"]>"
DOCUMENTS = {
    "empty": b"", "no xml": b"hello", "cut": b"<Delete><Object><Key>k", "another root": b"<Other/>", "bytes": b"\xff\xfe\xfd", "nul": b"<Delete>\0</Delete>", "tags crossed": b"<Delete><Object></Delete></Object>",
    "laughs": LAUGHS + b"<Delete><Object><Key>&m;</Key></Object></Delete>", "outer entity": b'<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>',
    "outer dtd": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><Delete/>', "deep": b"<Delete>" + b"<a>" * 100_000, "deep and closed": b"<Delete>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Delete>",
    "too large": b"<Delete>" + b" " * 9_000_000 + b"</Delete>", "UTF-16": "<Delete/>".encode("utf-16"), "two roots": b"<Delete/><Delete/>", "attributes": b"<Delete " + b" ".join(b'a%d="x"' % n for n in range(5_000)) + b"><Object>",
    "character of nothing": b"<Delete><Object><Key>&#0;</Key></Object></Delete>", "entity unknown": b"<Delete><Object><Key>&nbsp;</Key></Object></Delete>", "open CDATA": b"<Delete><Object><Key><![CDATA[k", "open comment": b"<Delete><!-- ",
}
for name, body in DOCUMENTS.items():
    case(f"delete: {name}", call("POST", "/{b}", {"delete": ""}, md5_of(body), body))
    case(f"tagging: {name}", call("PUT", "/{b}/never-put", {"tagging": ""}, md5_of(body), body))
    case(f"complete: {name}", call("POST", "/{b}/k", {"uploadId": "00000000000000000000000000"}, None, body))
    if name != "empty":  # which makes a bucket in the usual place
        case(f"create bucket: {name}", call("PUT", "/hostile-by-document", None, None, body))
for name, body in {
    "no object": b"<Delete></Delete>", "no key": b"<Delete><Object></Object></Delete>", "a thousand and one": b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1_001 + b"</Delete>", "quiet of nonsense": b"<Delete><Quiet>perhaps</Quiet><Object><Key>k</Key></Object></Delete>",
}.items():
    case(f"delete of {name}", call("POST", "/{b}", {"delete": ""}, md5_of(body), body))
case("delete without a digest", call("POST", "/{b}", {"delete": ""}, None, b"<Delete><Object><Key>k</Key></Object></Delete>"))
case("delete with another's digest", call("POST", "/{b}", {"delete": ""}, md5_of(b"x"), b"<Delete><Object><Key>k</Key></Object></Delete>"))

# Names.

for bucket in [
    "..", ".", "...", "a", "ab", "Abc", "a_b", "-abc", "abc-", ".abc", "abc.", "a..b", "192.168.0.1", "a" * 64, "a b", "a\tb", "ä", "a:b", "a\\b", "a*b", "a?b", "a#b", "a%b", "a\x00b", "a\nb", ".anybucket", "a;b", "a'b", 'a"b', "a<b", "~abc", "a+b",
]:
    case(f"bucket {bucket!r}", lambda raw, _, bucket=bucket: wire(raw, signed(raw, "PUT", f"/{bucket}")))
    case(f"object in bucket {bucket!r}", lambda raw, _, bucket=bucket: wire(raw, signed(raw, "PUT", f"/{bucket}/k", None, None, b"abc")))
for name, key in {
    "of 1025 bytes": "k" * 1_025, "of 1025 bytes in UTF-8": "ä" * 513, "of 5000 bytes": "k" * 5_000, "of 2000 folders": "a/" * 2_000,
}.items():
    case(f"key {name}", call("PUT", "/{b}/" + key, body=b"abc"))
for name, key in {
    "half an escape": b"%", "an escape cut": b"%4", "no escape": b"%zz", "bytes": b"%ff%fe", "overlong slash": b"%c0%af", "overlong dot": b"%c0%ae%c0%ae/", "half a character": b"%c3", "a surrogate": b"%ed%a0%80", "past Unicode": b"%f5%80%80%80",
}.items():
    case(f"key with {name}", lambda raw, bucket, key=key: wire(raw, signed(raw, "PUT", f"/{bucket}/k", None, None, b"abc").replace(b"/k HTTP", b"/" + key + b" HTTP")))
for name, source in {
    "empty": " ", "slash": "/", "bucket only": "{b}", "bucket and slash": "/{b}/", "not there": "/{b}/none", "no such bucket": "/never-made-bucket/k", "up": "/{b}/../../../../etc/passwd", "reserved": "/.anybucket/journal/x", "bytes": "/{b}/%ff", "an address": "http://127.0.0.1:1/{b}/k",
    "an ARN": "arn:aws:s3:::x/y", "of bad bucket": "/A_B/k", "with a version of nonsense": "/{b}/none?versionId=%00", "with nul": "/{b}/%00", "too long": "/{b}/" + "k" * 1_100,
}.items():
    case(f"copy source {name}", call("PUT", "/{b}/k", headers={"x-amz-copy-source": source}))
    case(f"part from {name}", call("PUT", "/{b}/k", {"partNumber": "1", "uploadId": "00000000000000000000000000"}, {"x-amz-copy-source": source}))

# Parameters and headers of S3.

for query in [
    {"max-keys": "-1"}, {"max-keys": "abc"}, {"max-keys": "9" * 20}, {"max-keys": "1.5"}, {"list-type": "3"}, {"list-type": "abc"}, {"list-type": "2", "continuation-token": "%%%"}, {"list-type": "2", "fetch-owner": "perhaps"},
    {"encoding-type": "rot13"}, {"uploads": "", "max-uploads": "-1"}, {"uploads": "", "encoding-type": "x"}, {"versions": "", "max-keys": "-5"}, {"versions": "", "version-id-marker": "x"},
]:
    case(f"listing {query}", call("GET", "/{b}", query))
for query in [
    {"partNumber": "0", "uploadId": "x"}, {"partNumber": "-1", "uploadId": "x"}, {"partNumber": "10001", "uploadId": "x"}, {"partNumber": "abc", "uploadId": "x"}, {"partNumber": "1", "uploadId": ""}, {"partNumber": "1", "uploadId": "../../x"}, {"partNumber": "1", "uploadId": "x" * 5_000}, {"partNumber": "9" * 30, "uploadId": "x"},
]:
    case(f"part {str(query)[:60]}", call("PUT", "/{b}/k", query, body=b"abc"))
for query in [{"partNumber": "0"}, {"partNumber": "-1"}, {"partNumber": "x"}, {"versionId": "x"}, {"versionId": "../x"}, {"uploadId": "x", "max-parts": "-1"}, {"uploadId": "none"}]:
    case(f"read {query}", call("GET", "/{b}/k", query))
for target in ["prefix=a&prefix=b", "max-keys=1&max-keys=2", "max-keys=%ff", "x-id=DeleteBucket", "x-id=a&x-id=b"]:
    def twice(raw: rawhttp.Client, bucket: str, target: str = target) -> int:
        pairs = sorted(target.split("&"))
        date = sigv4.amz_date()
        headers = {"host": raw.name, "x-amz-date": date, "x-amz-content-sha256": hashlib.sha256(b"").hexdigest()}
        names = ";".join(sorted(headers))
        canonical = f"GET\n/{bucket}\n{'&'.join(pairs)}\n" + "".join(f"{name}:{headers[name]}\n" for name in sorted(headers)) + f"\n{names}\n{headers['x-amz-content-sha256']}"
        signature = sigv4.signature(raw.who, date, canonical)
        headers["authorization"] = f"{sigv4.ALGORITHM} Credential={raw.who.access_key}/{sigv4.scope(raw.who, date)}, SignedHeaders={names}, Signature={signature}"
        return wire(raw, f"GET /{bucket}?{target} HTTP/1.1\r\n".encode() + lines(headers) + b"\r\n")
    case(f"query {target}", twice)
for name, headers in {
    "metadata of 3 KB": {"x-amz-meta-a": "x" * 3_000}, "storage class": {"x-amz-storage-class": "FAST"}, "acl": {"x-amz-acl": "for-me"}, "tags that are none": {"x-amz-tagging": "a=%zz"}, "eleven tags": {"x-amz-tagging": "&".join(f"a{n}=1" for n in range(11))}, "tag twice": {"x-amz-tagging": "a=1&a=2"},
    "tag of the system": {"x-amz-tagging": "aws:a=1"}, "tag too long": {"x-amz-tagging": "a=" + "x" * 257}, "redirect": {"x-amz-website-redirect-location": "javascript:x"}, "redirect too long": {"x-amz-website-redirect-location": "/" + "x" * 3_000}, "owner": {"x-amz-expected-bucket-owner": "somebody"},
    "lock mode": {"x-amz-object-lock-mode": "FOR-EVER"}, "encryption of nonsense": {"x-amz-server-side-encryption": "ROT13"}, "algorithm of nonsense": {"x-amz-sdk-checksum-algorithm": "ROT13"}, "wait of nonsense": {"x-anybucket-wait": "for ever"}, "headers of 40 KB": {f"x-amz-meta-{n}": "x" * 1_000 for n in range(40)},
}.items():
    case(f"put with {name}", call("PUT", "/{b}/k", headers=headers, body=b"abc"))

# Forms.


def form(change: Callable[[dict[str, str], dict], None] = lambda fields, policy: None, edit: Callable[[bytes], bytes] = lambda body: body, content_type: str = "multipart/form-data; boundary=B", path: str = "/{b}") -> Case:
    """A form that would be taken; `change` alters its fields and policy before they are signed, `edit` its body after."""

    def send(raw: rawhttp.Client, bucket: str) -> int:
        date = sigv4.amz_date()
        fields = {"key": "k", "x-amz-algorithm": sigv4.ALGORITHM, "x-amz-credential": f"{raw.who.access_key}/{sigv4.scope(raw.who, date)}", "x-amz-date": date}
        policy = {"expiration": "2999-01-01T00:00:00Z", "conditions": [{"bucket": bucket}, ["starts-with", "$key", ""], *({name: fields[name]} for name in list(fields)[1:])]}
        change(fields, policy)
        fields.setdefault("policy", base64.b64encode(json.dumps(policy).encode()).decode())
        key = sigv4.signing_key(raw.who, date[:8])
        fields.setdefault("x-amz-signature", hmac.digest(key, fields["policy"].encode(), "sha256").hex())
        parts = "".join(f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items() if value is not None)
        body = edit(parts.encode() + b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc\r\n--B--\r\n')
        head = f"POST {path.replace('{b}', bucket)} HTTP/1.1\r\nhost: {raw.name}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        return wire(raw, head.encode() + body)

    return send


for name, change in {
    "expired": lambda fields, policy: policy.update(expiration="2001-01-01T00:00:00Z"), "without an end": lambda fields, policy: policy.pop("expiration"), "without conditions": lambda fields, policy: policy.pop("conditions"), "with no conditions": lambda fields, policy: policy.update(conditions=[]),
    "for another bucket": lambda fields, policy: policy["conditions"].__setitem__(0, {"bucket": "other"}), "for no bucket": lambda fields, policy: policy["conditions"].pop(0), "with a field it does not name": lambda fields, policy: fields.update({"x-amz-meta-a": "b"}), "with a field that is missing": lambda fields, policy: policy["conditions"].append({"x-amz-meta-a": "b"}),
    "that is no base64": lambda fields, policy: fields.update(policy="%%%"), "that is no JSON": lambda fields, policy: fields.update(policy=base64.b64encode(b"{").decode()), "nested deeply": lambda fields, policy: fields.update(policy=base64.b64encode(b"[" * 10_000).decode()),
    "of a condition unknown": lambda fields, policy: policy["conditions"].append(["ends-with", "$key", "k"]), "too long a file": lambda fields, policy: policy["conditions"].append(["content-length-range", 0, 2]), "too short a file": lambda fields, policy: policy["conditions"].append(["content-length-range", 4, 9]),
    "signed by somebody else": lambda fields, policy: fields.update({"x-amz-signature": "0" * 64}), "not signed": lambda fields, policy: fields.update({"x-amz-signature": None}), "by version 2": lambda fields, policy: fields.update({"x-amz-signature": None, "signature": "c2ln", "AWSAccessKeyId": "A"}),
    "without a key": lambda fields, policy: fields.update(key=None), "with a key too long": lambda fields, policy: fields.update(key="k" * 1_025), "with an empty key": lambda fields, policy: fields.update(key=""),
}.items():
    case(f"form {name}", form(change))
for name, edit in {
    "empty": lambda body: b"", "cut": lambda body: body[:-9], "cut in a header": lambda body: body[:40], "without a file": lambda body: body.replace(b'name="file"', b'name="fill"'), "with another boundary": lambda body: body.replace(b"--B", b"--C"), "with a field twice": lambda body: body.replace(b'--B\r\n', b'--B\r\nContent-Disposition: form-data; name="key"\r\n\r\nj\r\n--B\r\n', 1),
    "of endless fields": lambda body: b"".join(b'--B\r\nContent-Disposition: form-data; name="x-ignore-%d"\r\n\r\nx\r\n' % n for n in range(2_000)) + body, "of an endless field": lambda body: b'--B\r\nContent-Disposition: form-data; name="x-ignore-a"\r\n\r\n' + b"x" * 3_000_000 + b"\r\n" + body,
    "with an endless header": lambda body: body.replace(b"\r\n\r\nk", b"\r\nX: " + b"x" * 50_000 + b"\r\n\r\nk", 1), "with a nameless part": lambda body: body.replace(b'; name="key"', b"", 1), "of bytes": lambda body: bytes(range(256)) * 50, "with a key of bytes": lambda body: body.replace(b"\r\n\r\nk\r\n", b"\r\n\r\n\xff\xfe\r\n", 1),
}.items():
    case(f"form {name}", form(edit=edit))
for content_type in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 100, "multipart/form-data; boundary=B; boundary=C", 'multipart/form-data; boundary="', "multipart/mixed; boundary=B"]:
    case(f"form as {content_type[:60]}", form(content_type=content_type))
for path in ["/", "/{b}/k", "/never-made-bucket", "/A_B", "/..", "/%ff"]:
    case(f"form to {path}", form(path=path))


@pytest.fixture(scope="module")
def target(new_bucket):
    return new_bucket()


def test_there_are_three_hundred_of_them():
    assert len(CASES) >= 300, len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_request_is_refused_and_stores_nothing(raw, target, name):
    status = CASES[name](raw, target)
    assert status == 0 or 400 <= status < 500, status
    listed = raw.call("GET", f"/{target}")
    assert (listed.status, listed.body.count(b"<Key>")) == (200, 0), listed.body


def test_the_service_is_unharmed(endpoint, raw, target):
    for number in range(20):
        path = f"/{target}/after/{number}"
        assert raw.call("PUT", path, body=b"x" * number).status == 200
        assert raw.call("GET", path).body == b"x" * number
        assert raw.call("DELETE", path).status == 204
    assert raw.call("GET", "/").body.count(b"hostile-by-document") == 0
    assert not raw.call("GET", f"/{target}", {"uploads": ""}).xml().findall("Upload")
    if endpoint.process:
        said = endpoint.process.log.read_text(errors="replace")
        assert "panicked" not in said, said[said.index("panicked") - 500 :][:2_000]
        strange = [path.name for path in endpoint.process.objects.parent.iterdir() if path.name not in {"objects", "status.redb", "keys.toml", "admin-token", "lock"}]
        assert not strange, strange
