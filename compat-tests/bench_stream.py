"""Large uploads and downloads with a client that costs little: the kernel copies from a file, or into one small buffer."""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from pathlib import Path

import sigv4
from bench_wrk import Sample

BUFFER_BYTES = 256 * 1024


def connect(server) -> socket.socket:
    connection = socket.create_connection((server.host, server.port), timeout=300)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def target(server, method: str, path: str, query: dict[str, str] | None = None) -> str:
    return sigv4.presign(server.credentials, method, f"{server.host}:{server.port}", path, query)


def read_head(connection: socket.socket) -> tuple[int, int, bytes]:
    """Status, content length, and what came of the body with the head."""
    head = b""
    while b"\r\n\r\n" not in head:
        got = connection.recv(65_536)
        if not got:
            raise RuntimeError(f"hung up after {head!r}")
        head += got
    head, _, rest = head.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
    return int(lines[0].split()[1]), int(lengths[0]) if lengths else 0, rest


def put_file(
    connection: socket.socket, server, path: str, source: Path, query: dict[str, str] | None = None, start: int = 0, bytes_: int | None = None,
) -> None:
    """Sends a file, or `bytes_` of it from `start` on."""
    size = source.stat().st_size if bytes_ is None else bytes_
    head = f"PUT {target(server, 'PUT', path, query)} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    with open(source, "rb") as file:
        connection.sendfile(file, start, size)
    status, length, rest = read_head(connection)
    while len(rest) < length:
        rest += connection.recv(65_536)
    if status not in (200, 201, 204):
        raise RuntimeError(f"{server.name}: PUT {path} answered {status}: {rest[:300]!r}")


def get_away(connection: socket.socket, server, path: str) -> int:
    """Reads an object into nothing. Returns its size."""
    connection.sendall(f"GET {target(server, 'GET', path)} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n\r\n".encode())
    status, length, rest = read_head(connection)
    if status != 200:
        raise RuntimeError(f"{server.name}: GET {path} answered {status}")
    left, buffer = length - len(rest), bytearray(BUFFER_BYTES)
    while left:
        got = connection.recv_into(buffer, min(left, BUFFER_BYTES))
        if not got:
            raise RuntimeError(f"{server.name}: GET {path} ended {left} bytes early")
        left -= got
    return length


def all_at_once(acts: list) -> None:
    """Runs every act in a thread of its own; the first error is raised here."""
    errors: list[BaseException] = []

    def guarded(act) -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def measure_put(server, source: Path, connections: int, seconds: float) -> Sample:
    """PUTs a file over and over on each connection, two keys in turn, until the time is over; the last ones are finished."""
    took: list[float] = []
    deadline = time.monotonic() + seconds

    def upload(number: int) -> None:
        with connect(server) as connection:
            turn = 0
            while time.monotonic() < deadline:
                began = time.monotonic()
                put_file(connection, server, f"/bench/put-large/{number}-{turn % 2}", source)
                took.append(time.monotonic() - began)
                turn += 1

    cpu, began = server.cpu_s(), time.monotonic()
    all_at_once([lambda number=number: upload(number) for number in range(connections)])
    elapsed, cpu = time.monotonic() - began, server.cpu_s() - cpu
    size = source.stat().st_size
    ordered = sorted(took)
    return Sample(
        len(took) / elapsed, len(took) * size / elapsed / (1 << 20), statistics.median(took) * 1e3,
        ordered[int(len(ordered) * 0.99)] * 1e3, cpu / len(took) * 1e6,
    )


def measure_rss(server, source: Path, streams: int) -> dict[str, float]:
    """The server's greatest resident size under `streams` uploads and as many downloads at once, in MiB."""
    with connect(server) as connection:
        for number in range(4):
            put_file(connection, server, f"/bench/rss-down-{number}", source)
    before = server.rss_peak_mib()
    server.forget_rss_peak()

    def up(number: int) -> None:
        with connect(server) as connection:
            put_file(connection, server, f"/bench/rss-up-{number}", source)

    def down(number: int) -> None:
        with connect(server) as connection:
            get_away(connection, server, f"/bench/rss-down-{number % 4}")

    began = time.monotonic()
    acts = [lambda number=number: up(number) for number in range(streams)]
    acts += [lambda number=number: down(number) for number in range(streams)]
    all_at_once(acts)
    took = time.monotonic() - began
    moved = 2 * streams * source.stat().st_size / (1 << 20)
    return {"streams": streams, "rss_peak_mib": server.rss_peak_mib(), "before_mib": before, "seconds": took, "mib_per_s": moved / took}


def make_file(path: Path, bytes_: int) -> Path:
    """Noise, so that nobody can compress it; in the page cache, so that no disk is read while measuring."""
    block = os.urandom(1 << 20)
    with open(path, "wb") as file:
        for _ in range(bytes_ >> 20):
            file.write(block)
    return path
