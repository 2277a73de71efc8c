"""The uvicorn server, with limits on connections, a call when it listens and one when it stops.

So it can say that it listens, and let waiting clients go.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable

import uvicorn

from api.http.body_memory import BodyMemory
from api.http.connections import Connections
from services.allocator import return_free_memory

TICKS_OF_EXPIRY = 5
"""Ticks, a tenth of a second each, between two looks for connections whose time is up."""
TICKS_OF_TRIMMING = 50
"""Ticks between two looks whether there is memory to give back."""
TRIMMED_BYTES = 16 * 1024**2
"""Of bodies, after which free memory is given back. It takes some milliseconds, in a thread."""
TRIMMED_CONNECTIONS = 256
"""Closed connections after which it is given back as well."""

_SIGNATURE = re.compile(r"(?i)(?<=[?&]signature=)[^&#]*")


class WithoutSignatures(logging.Filter):
    """Takes the signatures of addresses out of the log of requests: each is a key to a file while it lasts."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_SIGNATURE.sub("...", one) if isinstance(one, str) else one for one in record.args)
        return True


class HttpServer(uvicorn.Server):
    """Calls `on_listening` once requests are answered, and `on_stopping` at the end.

    `on_stopping` runs in a thread, before connections close.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        connections: Connections,
        body_memory: BodyMemory,
        on_listening: Callable[[], None],
        on_stopping: Callable[[], None],
    ) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn.access").addFilter(WithoutSignatures())
        self._connections, self._body_memory = connections, body_memory
        self._on_listening, self._on_stopping = on_listening, on_stopping
        self._trimmed_at = (0, 0)
        """Bytes of bodies released, and connections closed, when memory was given back last."""
        self._trims_due = 0

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_OF_EXPIRY == 0:
            self._connections.close_expired(asyncio.get_running_loop().time())
        if counter % TICKS_OF_TRIMMING == 0:
            await self._give_memory_back()
        return await super().on_tick(counter)

    async def _give_memory_back(self) -> None:
        released, closed = self._body_memory.released_bytes, self._connections.closed
        if released - self._trimmed_at[0] >= TRIMMED_BYTES or closed - self._trimmed_at[1] >= TRIMMED_CONNECTIONS:
            self._trimmed_at = (released, closed)
            self._trims_due = 2
        if self._trims_due:
            # Once more the next time: buffers of connections are freed a little later than they are counted.
            self._trims_due -= 1
            await asyncio.to_thread(return_free_memory)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A long poll would otherwise hold the shutdown up for as long as it may last.
        await asyncio.to_thread(self._on_stopping)
        await super().shutdown(sockets)
