"""A TCP proxy that can be cut, held and slowed, as a network between two parts for fault tests.

with Proxy(("127.0.0.1", 5432)) as wire:
    connect_to(wire.port)
    wire.cut()
    wire.mend()
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self


class Proxy:
    """Listens from its construction until `close`. One thread of its own carries all data."""

    def __init__(self, target: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        """With `tls`, clients connect by TLS; the connection to the target stays unencrypted."""
        self._target = target
        self._tls = tls
        self._events = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._delay_s = 0.0
        self._flowing: asyncio.Event
        self._server: asyncio.Server
        self.port = 0
        self._thread = threading.Thread(target=self._events.run_forever, name=f"proxy-{target[1]}", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._events).result(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Resets every connection, and new ones as soon as they are made."""
        self._do(self._cut)

    def hold(self) -> None:
        """Lets nothing through in either direction and signals nothing, like a pulled cable."""
        self._do(self._flowing.clear)

    def strand(self) -> None:
        """Holds the existing connections for ever. New ones are not affected."""
        self._do(self._strand)

    def slow(self, delay_s: float) -> None:
        """Delays each piece of data by `delay_s`, in either direction."""
        self._delay_s = delay_s

    def mend(self) -> None:
        self._delay_s = 0.0
        self._do(self._mend)

    def close(self) -> None:
        self._do(self._cut)
        asyncio.run_coroutine_threadsafe(self._end(), self._events).result(10)
        self._events.call_soon_threadsafe(self._events.stop)
        self._thread.join()
        self._events.close()

    def _do(self, work: Callable[[], object]) -> None:
        async def run() -> None:
            work()

        asyncio.run_coroutine_threadsafe(run(), self._events).result(10)

    async def _listen(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close their sockets in the loop's next iteration

    def _cut(self) -> None:
        self._is_cut = True
        for writer in self._open:
            _reset(writer)

    def _strand(self) -> None:
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def _mend(self) -> None:
        self._is_cut = False
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._is_cut:
                _reset(writer)
                return
            flowing = self._flowing
            await flowing.wait()
            there_reader, there = await asyncio.open_connection(*self._target)
            self._open.add(there)
            try:
                await asyncio.gather(self._carry(reader, there, flowing), self._carry(there_reader, writer, flowing))
            finally:
                self._open.discard(there)
                there.transport.abort()
        except (OSError, asyncio.CancelledError):  # one side went away: close the other
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await flowing.wait()
            writer.write(data)
            await writer.drain()
        if not writer.can_write_eof():  # TLS cannot be half-closed
            writer.close()
            return
        with contextlib.suppress(OSError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with RST instead of FIN."""
    if writer.transport.is_closing() or (connection := writer.get_extra_info("socket")) is None:  # TLS that has ended
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
