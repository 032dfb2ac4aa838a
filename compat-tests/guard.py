"""Stands before an S3 service that knows no temporary credentials, and takes nothing else: whoever may pass is signed for again."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import threading
from dataclasses import dataclass, replace

import sigv4

TOKEN = "x-amz-security-token"
HOP = ("connection", "keep-alive", "transfer-encoding", "date", "server")


@dataclass(frozen=True)
class Pass:
    """Temporary credentials."""

    who: sigv4.Credentials
    token: str


class Answering:
    """An HTTP server in this process; `answer` of a subclass is asked for each request."""

    def __init__(self) -> None:
        asked = self.answer

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, said, answer = asked(self.command, self.path, headers, body)
                self.send_response_only(status)
                for name, value in ({"content-length": str(len(answer))} | said).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

            def log_message(self, *_) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Guard(Answering):
    """Passes on to `port`, in the name of `inside`, what is signed with `good`; anything else is 403."""

    def __init__(self, port: int, inside: sigv4.Credentials, good: Pass) -> None:
        self.target, self.inside, self.good, self.refused = f"127.0.0.1:{port}", inside, good, 0
        super().__init__()

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if not self._may_pass(method, target, headers, body):
            self.refused += 1
            return 403, {}, b"<Error><Code>InvalidAccessKeyId</Code><Message>not any more</Message></Error>"
        names = [name for name in signed_names(headers) if name != TOKEN]
        headers = {name: value for name, value in headers.items() if name != TOKEN} | {"host": self.target}
        headers["authorization"] = authorization(self.inside, method, target, headers, names)
        there = http.client.HTTPConnection(self.target, timeout=30)
        try:
            there.request(method, target, body=body, headers=headers)
            answer = there.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in HOP}
            return answer.status, told, answer.read()
        finally:
            there.close()

    def _may_pass(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bool:
        names, payload = signed_names(headers), headers.get("x-amz-content-sha256", "")
        if len(payload) == 64 and hashlib.sha256(body).hexdigest() != payload:
            return False
        is_known = TOKEN in names and headers[TOKEN] == self.good.token
        return is_known and headers["authorization"] == authorization(self.good.who, method, target, headers, names)


def signed_names(headers: dict[str, str]) -> list[str]:
    return headers.get("authorization", "").partition("SignedHeaders=")[2].partition(",")[0].split(";")


def authorization(who: sigv4.Credentials, method: str, target: str, headers: dict[str, str], names: list[str]) -> str:
    """What the header says of a request as it stands, path and query encoded as they came."""
    path, _, query = target.partition("?")
    pairs = sorted(pair if "=" in pair else pair + "=" for pair in query.split("&") if pair)
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
    canonical = "\n".join([method, path, "&".join(pairs), lines, ";".join(names), headers["x-amz-content-sha256"]])
    date = headers["x-amz-date"]
    return (
        f"{sigv4.ALGORITHM} Credential={who.access_key}/{sigv4.scope(who, date)}, "
        f"SignedHeaders={';'.join(names)}, Signature={sigv4.signature(who, date, canonical)}"
    )


def renewed(good: Pass) -> Pass:
    """Others in their place."""
    who = replace(good.who, access_key=good.who.access_key + "2", secret_key=good.who.secret_key + "-2")
    return Pass(who, good.token + "-2")
