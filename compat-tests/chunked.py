"""The aws-chunked encoding by hand: signed chunks, trailers, and every way to get them wrong."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

import sigv4
from rawhttp import Answer, Client

EMPTY = hashlib.sha256(b"").hexdigest()
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = SIGNED + "-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@dataclass
class Upload:
    """One chunked PUT. The defaults are right; a test changes one thing."""

    chunks: list[bytes]
    payload: str = SIGNED
    trailer: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # x-amz-decoded-content-length; the true one unless said
    tamper: int | None = None  # the chunk whose signature is spoilt
    final: bool = True  # whether the empty last chunk is sent
    cut: int = 0  # bytes missing at the very end
    more: dict[str, str] = field(default_factory=dict)

    def send(self, client: Client, path: str) -> Answer:
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(self.length if self.length is not None else sum(map(len, self.chunks))),
        } | self.more
        if self.trailer:
            headers["x-amz-trailer"] = ",".join(self.trailer)
        signed = sigv4.signed_headers(client.who, "PUT", client.name, path, None, headers, self.payload)
        body = self.encode(client.who, signed)
        return client.send("PUT", sigv4.target(path), signed, body[: len(body) - self.cut])

    def encode(self, who: sigv4.Credentials, signed: dict[str, str]) -> bytes:
        date, last = signed["x-amz-date"], signed["authorization"].rpartition("=")[2]
        out = b""
        for number, chunk in enumerate([*self.chunks, b""] if self.final else self.chunks):
            extension = b""
            if self.payload != UNSIGNED_TRAILER:
                last = self._sign(who, date, "PAYLOAD", last, f"{EMPTY}\n{hashlib.sha256(chunk).hexdigest()}")
                shown = "0" * 64 if number == self.tamper else last
                extension = f";chunk-signature={shown}".encode()
            ending = b"" if chunk == b"" and self.trailer else b"\r\n"
            out += b"%x" % len(chunk) + extension + b"\r\n" + chunk + ending
        if self.trailer and self.final:
            lines = "".join(f"{name}:{value}\n" for name, value in self.trailer.items())
            out += "".join(f"{name}:{value}\r\n" for name, value in self.trailer.items()).encode()
            if self.payload == SIGNED_TRAILER:
                last = self._sign(who, date, "TRAILER", last, hashlib.sha256(lines.encode()).hexdigest())
                out += f"x-amz-trailer-signature:{last}\r\n".encode()
            out += b"\r\n"
        return out

    @staticmethod
    def _sign(who: sigv4.Credentials, date: str, what: str, before: str, digests: str) -> str:
        text = f"AWS4-HMAC-SHA256-{what}\n{date}\n{sigv4.scope(who, date)}\n{before}\n{digests}"
        return hmac.digest(sigv4.signing_key(who, date[:8]), text.encode(), "sha256").hex()
