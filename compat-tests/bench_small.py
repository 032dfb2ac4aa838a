"""Small requests by one thread that prepares, sends and reads with as little Python as it can: for latencies, one or some connections."""

from __future__ import annotations

import itertools
import select
import time
from typing import Iterator

import bench_stream


class Exchange:
    """One connection: a request on its way, and what came of its answer."""

    def __init__(self, server, poll: select.epoll) -> None:
        self.server, self.poll = server, poll
        self.connect()

    def connect(self) -> None:
        self.connection = bench_stream.connect(self.server)
        self.poll.register(self.connection, select.EPOLLIN)

    def close(self) -> None:
        self.poll.unregister(self.connection)
        self.connection.close()

    def send(self, request: bytes) -> None:
        self.came, self.whole, self.closes = b"", 0, False
        self.sent_at = time.perf_counter()
        self.connection.sendall(request)

    def receive(self) -> bool:
        """Whether the answer is whole."""
        got = self.connection.recv(65_536)
        if not got:
            raise RuntimeError(f"{self.server.name} hung up after {self.came[:300]!r}")
        self.came += got
        if not self.whole:
            self.read_head()
        return bool(self.whole) and len(self.came) >= self.whole

    def read_head(self) -> None:
        head, end, _ = self.came.partition(b"\r\n\r\n")
        if not end:
            return
        if head[9:12] not in (b"200", b"201", b"204"):
            raise RuntimeError(f"{self.server.name} answered {self.came[:600]!r}")
        lower = head.lower()
        _, _, length = lower.partition(b"\r\ncontent-length:")
        self.whole = len(head) + len(end) + int(length.split(b"\r\n", 1)[0] or 0)
        self.closes = b"\r\nconnection: close" in lower


def requests(server, method: str, paths: list[str], body: bytes = b"") -> list[bytes]:
    length = f"Content-Length: {len(body)}\r\n" if method == "PUT" else ""
    lines = f" HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n{length}\r\n"
    return [f"{method} {bench_stream.target(server, method, path)}{lines}".encode() + body for path in paths]


def run(server, prepared: list[bytes], connections: int, seconds: float) -> tuple[list[float], float]:
    """Sends them in turn, one at a time on each connection. What each took and all together, in seconds."""
    poll, turn, took = select.epoll(), itertools.cycle(prepared), []
    exchanges = {exchange.connection.fileno(): exchange for exchange in (Exchange(server, poll) for _ in range(connections))}
    began = time.perf_counter()
    for exchange in exchanges.values():
        exchange.send(next(turn))
    while exchanges:
        for fd, _ in poll.poll():
            exchange = exchanges[fd]
            if exchange.receive():
                now = time.perf_counter()
                took.append(now - exchange.sent_at)
                go_on(exchanges, fd, turn, now < began + seconds)
    return took, time.perf_counter() - began


def go_on(exchanges: dict[int, Exchange], fd: int, turn: Iterator[bytes], is_time: bool) -> None:
    exchange = exchanges[fd]
    if exchange.closes or not is_time:
        del exchanges[fd]
        exchange.close()
    if exchange.closes and is_time:
        exchange.connect()
        exchanges[exchange.connection.fileno()] = exchange
    if is_time:
        exchange.send(next(turn))
