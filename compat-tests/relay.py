"""A wire between two processes that can be cut, slowed down and made narrow."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

CHUNK_BYTES = 64 * 1024
BURST_S = 0.02  # what a narrow wire may catch up of the time that nothing was sent in


class Relay:
    """Listens on a port of its own and passes everything on to `target`. Changes strike open connections too, which share its width."""

    def __init__(self, loop: Loop, target_port: int, port: int = 0) -> None:
        self.loop, self.target_port = loop, target_port
        self.is_cut, self.delay_s, self.bytes_per_s = False, 0.0, 0.0
        self.writers: set[asyncio.StreamWriter] = set()
        self.free_s = {"there": 0.0, "back": 0.0}  # when each way has room again
        self.port = loop.call(self._listen(port))

    async def _listen(self, port: int) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return self.server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self.is_cut = True
        self.loop.call(self._drop())

    def heal(self) -> None:
        self.is_cut, self.delay_s, self.bytes_per_s = False, 0.0, 0.0

    async def _drop(self) -> None:
        for writer in list(self.writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self.writers |= both
        try:
            await asyncio.gather(self._pass(reader, there_writer, "there"), self._pass(there_reader, writer, "back"))
        finally:
            self.writers -= both
            for end in both:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.bytes_per_s:
                    await self._room(way, len(chunk))
                writer.write(chunk)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        writer.transport.abort()

    async def _room(self, way: str, count: int) -> None:
        """Waits until all before it, and this, could have passed: a sleep that takes longer is made up for by the next."""
        now = time.monotonic()
        self.free_s[way] = max(self.free_s[way], now - BURST_S) + count / self.bytes_per_s
        await asyncio.sleep(self.free_s[way] - now)


class Loop:
    """An event loop in a thread of its own, for everything that relays."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)


def main() -> None:
    """`relay.py PORT TARGET_PORT MIB_PER_S`: a narrow wire in a process of its own."""
    port, target_port, mib_per_s = map(int, sys.argv[1:])
    relay = Relay(Loop(), target_port, port)
    relay.bytes_per_s = mib_per_s * (1 << 20)
    threading.Event().wait()


if __name__ == "__main__":
    main()
