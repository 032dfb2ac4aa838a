"""A wire between two processes that can be cut, slowed down and made narrow."""

from __future__ import annotations

import asyncio
import threading

CHUNK_BYTES = 64 * 1024


class Relay:
    """Listens on a port of its own and passes everything on to `target`. Changes strike open connections too."""

    def __init__(self, loop: Loop, target_port: int) -> None:
        self.loop, self.target_port = loop, target_port
        self.is_cut, self.delay_s, self.bytes_per_s = False, 0.0, 0.0
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = loop.call(self._listen())

    async def _listen(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
            await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))
        finally:
            self.writers -= both
            for end in both:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.bytes_per_s:
                    await asyncio.sleep(len(chunk) / self.bytes_per_s)
                writer.write(chunk)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        writer.transport.abort()


class Loop:
    """An event loop in a thread of its own, for everything that relays."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)
