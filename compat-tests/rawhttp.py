"""A small S3 client that sends exactly what it is told: one keep-alive connection, own signature, no retries."""

from __future__ import annotations

import hashlib
import http.client
import socket
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import Iterator

import sigv4

IDLE_S_MAX = 5  # any server may close a connection that was idle; ours after 30 s


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def xml(self) -> ElementTree.Element:
        """The body as XML without its namespace, so that tests can say `find("Code")`."""
        tree = ElementTree.fromstring(self.body)
        for node in tree.iter():
            node.tag = node.tag.split("}")[-1]
        return tree

    def field(self, name: str) -> str:
        """The text of one element of an XML answer; empty where it is absent."""
        return self.xml().findtext(f".//{name}") or ""

    @property
    def code(self) -> str:
        """The S3 error code; empty for answers without an error body."""
        return self.field("Code") if self.body.lstrip().startswith(b"<") else ""


class Client:
    """One connection. Not shared between threads."""

    def __init__(self, host: str, port: int, who: sigv4.Credentials, timeout_s: float = 60) -> None:
        self.host, self.port, self.who, self.timeout_s = host, port, who, timeout_s
        self.name = f"{host}:{port}"
        self.connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        self.used = time.monotonic()

    def call(
        self, method: str, path: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None,
        body: bytes = b"", payload: str | None = None,
    ) -> Answer:
        """Signs and sends. `payload` overrides the signed body hash, which is otherwise the true one."""
        hashed = payload or hashlib.sha256(body).hexdigest()
        signed = sigv4.signed_headers(self.who, method, self.name, path, query, headers, hashed)
        return self.send(method, sigv4.target(path, query), signed, body)

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """Sends as given; a broken connection is closed, so that the next call opens a new one."""
        if time.monotonic() - self.used > IDLE_S_MAX:
            self.connection.close()
        self.used = time.monotonic()
        try:
            self.connection.request(method, target, body=body or None, headers=headers)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def socket(self) -> socket.socket:
        """A bare connection for tests that speak HTTP themselves."""
        return socket.create_connection((self.host, self.port), timeout=self.timeout_s)

    def list(self, bucket: str, **query: str) -> Iterator[ElementTree.Element]:
        """Every `Contents` of a bucket, page by page (version 2)."""
        token: dict[str, str] = {}
        while True:
            answer = self.call("GET", f"/{bucket}", {"list-type": "2", **{k.replace("_", "-"): v for k, v in query.items()}, **token})
            if answer.status != 200:
                raise RuntimeError(f"LIST {bucket} answered {answer.status}: {answer.body[:300]!r}")
            page = answer.xml()
            yield from page.findall("Contents")
            if page.findtext("IsTruncated") != "true":
                return
            token = {"continuation-token": page.findtext("NextContinuationToken") or ""}
