"""Fills a bucket with very many small objects, fast: own processes, many connections, no HTTP library in the way."""

from __future__ import annotations

import multiprocessing
import select
import socket
import sys
import time
from typing import Callable

import sigv4

CONNECTIONS = 32  # of each process: enough for a group commit to gather
PROCESSES = 2


def fill(host: str, port: int, who: sigv4.Credentials, bucket: str, count: int, name: Callable[[int], str], body: bytes) -> None:
    """PUTs `count` objects named `name(0) … name(count - 1)`, all with the same body."""
    began = time.monotonic()
    fork = multiprocessing.get_context("fork")
    shares = [range(n, count, PROCESSES) for n in range(PROCESSES)]
    children = [fork.Process(target=_fill_share, args=(host, port, who, bucket, share, name, body)) for share in shares]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise RuntimeError("preloading failed: see above")
    took = time.monotonic() - began
    print(f"preloaded {count} objects in {took:.0f} s ({count / took:.0f}/s)", file=sys.stderr)


def _fill_share(host: str, port: int, who, bucket: str, share: range, name, body: bytes) -> None:
    waiting = iter(share)
    poll, sockets = select.epoll(), {}

    def send_next(connection: socket.socket) -> bool:
        number = next(waiting, None)
        if number is None:
            return False
        path = f"/{bucket}/{name(number)}"
        headers = sigv4.signed_headers(who, "PUT", f"{host}:{port}", path)
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        connection.sendall(f"PUT {sigv4.encode(path, '/')} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        return True

    for _ in range(CONNECTIONS):
        connection = socket.create_connection((host, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_next(connection):
            sockets[connection.fileno()] = connection
            poll.register(connection, select.EPOLLIN)
    while sockets:
        for fd, _ in poll.poll():
            answer = sockets[fd].recv(65_536)
            # The answer to a PUT has no body and comes in one segment.
            if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 204")):
                raise RuntimeError(f"a PUT was answered {answer[:300]!r}")
            if not send_next(sockets[fd]):
                poll.unregister(fd)
                sockets.pop(fd).close()
