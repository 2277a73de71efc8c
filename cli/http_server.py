"""The uvicorn server, with a call when it listens and one when it stops.

So it can say that it listens, and let waiting clients go.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable

import uvicorn

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
        self, config: uvicorn.Config, *, on_listening: Callable[[], None], on_stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn.access").addFilter(WithoutSignatures())
        self._on_listening, self._on_stopping = on_listening, on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A long poll would otherwise hold the shutdown up for as long as it may last.
        await asyncio.to_thread(self._on_stopping)
        await super().shutdown(sockets)
