"""Limits on what a client can make the server hold before a request is read: connections, headers, time.

uvicorn and its parser have none of these. All of it runs on the event loop.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.http.client_address import UNKNOWN_ADDRESS, TrustedProxies, address_key
from api.http.errors import PROBLEM_TYPE, error_json, http_problem_json
from api.http.request_limits import REFUSAL
from api.http.security import SECURITY_HEADERS
from database.ids import new_id
from services.errors import DocatlasError, RateLimited, Retry, TransientError
from services.settings import Settings

LINGER_S = 2.0
"""Seconds that a refused connection is read on, so that its client sees the answer. Source: RFC 9112, section 9.6."""
LINGER_BYTES = 1024**2
"""Read and forgotten of a refused connection, at most."""
MAX_LINGERING = 64
"""Refused connections read on at the same time; beyond them they are cut off."""
MAX_PIPELINED = 16
"""Requests sent ahead of an answer. Each takes kilobytes, and 256 kB of them would be read at once."""
RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """What a connection is counted under: the client's address key, and whether it is a stream."""

    key: str
    is_stream: bool


class Connections:
    """The open connections of one server, and the limits on them."""

    def __init__(self, settings: Settings, *, max_connections: int | None = None) -> None:
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.max_header_bytes, self.max_headers = settings.max_header_bytes, settings.max_headers
        self._max_connections = settings.max_connections if max_connections is None else max_connections
        self._limits = {False: settings.max_connections_per_address, True: settings.max_streams_per_address}
        self._headers_timeout_s, self._answer_stall_s = settings.headers_timeout_s, settings.answer_stall_s
        self._open: set[HttpConnection] = set()
        self._lingering: set[HttpConnection] = set()
        self._places: Counter[Place] = Counter()
        # Without a complete request, since when, the longest first; once over all, once by address.
        self._waiting: dict[HttpConnection, float] = {}
        self._waiting_of: dict[str, dict[HttpConnection, None]] = {}
        # With bytes of answers that the client does not take: since when, and how many.
        self._unsent: dict[HttpConnection, tuple[float, int]] = {}
        self.closed = 0
        """Connections closed since the server started."""

    def add(self, connection: HttpConnection) -> DocatlasError | None:
        """Counts a new connection; the error where there is no place for it.

        One that waits without a complete request is closed to make the place, that which waits the longest first.
        """
        if len(self._open) >= self._max_connections and not self._close_one(self._waiting):
            return TransientError(
                "The server has as many connections as allowed. Try again in a moment.",
                code="too_many_connections",
                retry=Retry(RETRY_S),
            )
        if connection.place is not None and not self._make_place(connection.place):
            return _too_many(connection.place)
        self._open.add(connection)
        if connection.place is not None:
            self._places[connection.place] += 1
        return None

    def move(self, connection: HttpConnection, place: Place | None) -> DocatlasError | None:
        """Counts the connection under `place` from now on; the error, and nothing changes, where that is full."""
        if connection not in self._open or place == connection.place:
            return None
        if place is not None and not self._make_place(place):
            return _too_many(place)
        self._leave_place(connection)
        connection.place = place
        if place is not None:
            self._places[place] += 1
        return None

    def give_back(self, connection: HttpConnection, place: Place | None) -> None:
        """Counts the connection under `place` again, which it had before its request."""
        if connection in self._open:
            self._leave_place(connection)
            connection.place = place
            if place is not None:
                self._places[place] += 1

    def wait_for_request(self, connection: HttpConnection, now: float) -> None:
        """From now on the connection has the time that headers may take."""
        self.request_came(connection)
        if connection not in self._open:
            return
        self._waiting[connection] = now
        self._waiting_of.setdefault(connection.peer_key, {})[connection] = None

    def request_came(self, connection: HttpConnection) -> None:
        """The headers are complete."""
        if self._waiting.pop(connection, None) is not None:
            of_address = self._waiting_of[connection.peer_key]
            del of_address[connection]
            if not of_address:
                del self._waiting_of[connection.peer_key]

    def watch_unsent(self, connection: HttpConnection, now: float) -> None:
        """From now on the client has to take what is sent to it."""
        if connection in self._open:
            self._unsent.setdefault(connection, (now, connection.transport.get_write_buffer_size()))

    def forget_unsent(self, connection: HttpConnection) -> None:
        """The client takes what is sent to it."""
        self._unsent.pop(connection, None)

    def may_linger(self, connection: HttpConnection) -> bool:
        """True where a refused connection may be read on for a while."""
        if len(self._lingering) >= MAX_LINGERING:
            return False
        self._lingering.add(connection)
        return True

    def remove(self, connection: HttpConnection) -> None:
        """Forgets the connection, which may have been forgotten before."""
        self.request_came(connection)
        self.forget_unsent(connection)
        self._lingering.discard(connection)
        if connection in self._open:
            self._open.discard(connection)
            self._leave_place(connection)
            self.closed += 1

    def close_expired(self, now: float) -> None:
        """Closes connections whose headers took too long, and those whose clients take no answer."""
        for connection, since in list(self._waiting.items()):
            if now - since < self._headers_timeout_s:
                break
            self.request_came(connection)
            if connection.transport.get_write_buffer_size():
                self.watch_unsent(connection, now)  # a slow client may still read the end of its answer
            else:
                connection.time_out(self._headers_timeout_s)
        for connection, (since, unsent) in list(self._unsent.items()):
            left = connection.transport.get_write_buffer_size()
            if left < unsent:
                self._unsent[connection] = (now, left)
            elif now - since >= self._answer_stall_s:
                self.forget_unsent(connection)
                connection.transport.abort()

    def _make_place(self, place: Place) -> bool:
        if self._places[place] < self._limits[place.is_stream]:
            return True
        return not place.is_stream and self._close_one(self._waiting_of.get(place.key, {}))

    def _close_one(self, waiting: Mapping[HttpConnection, Any]) -> bool:
        # One that never sent a whole request goes before a client's that may be about to send its next one.
        connection = next((one for one in waiting if not one.has_served), None) or next(iter(waiting), None)
        if connection is None:
            return False
        self.remove(connection)
        if connection.transport.get_write_buffer_size():
            connection.transport.abort()  # closing would wait for a client that may never read
        else:
            connection.transport.close()
        return True

    def _leave_place(self, connection: HttpConnection) -> None:
        if connection.place is not None:
            self._places[connection.place] -= 1
            if self._places[connection.place] <= 0:
                del self._places[connection.place]


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection, within limits."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.place: Place | None = None
        self.peer_key = UNKNOWN_ADDRESS
        self.has_served = False
        """True once a request was answered."""
        self._peer = UNKNOWN_ADDRESS
        self._limits = limits
        self._is_refused = False
        self._problem: dict[str, Any] | None = None
        """Why the parser was stopped, where it was us who stopped it."""
        self._has_begun = False
        """True from a message's first byte on."""
        self._has_advanced = False
        self._fields = 0
        self._field_bytes = 0
        self._unfinished_bytes = 0
        """Fed to the parser since a message began or a piece of a body came."""
        self._discarded_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = UNKNOWN_ADDRESS if self.client is None else self.client[0]
        self.peer_key = address_key(self._peer)
        # What comes over a trusted proxy's connection is counted request by request, by the client that it names.
        self.place = None if self._limits.proxies.trusts(self._peer) else Place(self.peer_key, is_stream=False)
        refusal = self._limits.add(self)
        if refusal is None:
            self._limits.wait_for_request(self, self.loop.time())
        else:
            self._refuse(error_json(refusal), retry_s=RETRY_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        if self.transport.is_closing():
            return
        self._has_advanced = False
        super().data_received(data)
        # The parser gathers a line until its end, of headers and of trailers behind a chunked body.
        self._unfinished_bytes = 0 if self._has_advanced else self._unfinished_bytes + len(data)
        if self._unfinished_bytes > self._limits.max_header_bytes:
            self._refuse(self._head_too_large())

    def send_400_response(self, msg: str) -> None:
        """Answers what the parser refused, or we while it parsed."""
        self._refuse(self._problem or http_problem_json(400, "The request is not valid HTTP."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_begun = self._has_advanced = True
        self._fields = self._field_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._problem = http_problem_json(400, f"More than {MAX_PIPELINED} requests were sent ahead of an answer.")
            raise _Refused
        self._limits.request_came(self)
        if self.cycle is None or self.cycle.response_complete:
            refusal = self._limits.move(self, self._place_of_request())
            if refusal is not None:
                self.scope["state"][REFUSAL] = refusal
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._has_advanced = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        has_next = bool(self.pipeline)
        super().on_response_complete()
        self.has_served = True
        if not has_next:
            self._has_begun = False
            is_direct = not self._limits.proxies.trusts(self._peer)
            self._limits.give_back(self, Place(self.peer_key, is_stream=False) if is_direct else None)
            # What is left of a body whose request was answered has this time as well.
            self._limits.wait_for_request(self, self.loop.time())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limits.watch_unsent(self, self.loop.time())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._limits.forget_unsent(self)

    def time_out(self, seconds: float) -> None:
        """Ends a connection on which no complete request came for `seconds`."""
        if self._has_begun:
            self._refuse(http_problem_json(408, f"The headers did not come within {seconds:g} seconds."))
        else:
            self.transport.close()

    def _place_of_request(self) -> Place:
        query = self.url.partition(b"?")[2]
        headers = dict(self.headers)
        is_stream = self.parser.get_method() in (b"GET", b"CONNECT") and (
            b"wait=" in query or b"upgrade" in headers or b"text/event-stream" in headers.get(b"accept", b"")
        )
        client = self._limits.proxies.client_of(self._peer, "http", self.headers)
        return Place(address_key(client.address), is_stream)

    def _count(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > self._limits.max_header_bytes or self._fields > self._limits.max_headers:
            self._problem = self._head_too_large()
            raise _Refused

    def _head_too_large(self) -> dict[str, Any]:
        limits = self._limits
        return http_problem_json(
            431,
            f"The request has more than {limits.max_headers:,} headers, or more than {limits.max_header_bytes:,} bytes "
            "of them.",
            limit=limits.max_header_bytes,
        )

    def _refuse(self, problem: dict[str, Any], *, retry_s: float | None = None) -> None:
        """Answers with `problem`, unless another answer is under way, and closes the connection."""
        if self._is_refused:
            return
        self._is_refused = True
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        self.transport.write(_answer(problem, self.server_state.default_headers, retry_s))
        if not self._limits.may_linger(self) or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.abort)


class _Refused(Exception):
    """Stops the parser inside one of its callbacks; the connection knows why."""


def _too_many(place: Place) -> RateLimited:
    what = "long polls, event streams and sockets" if place.is_stream else "connections"
    return RateLimited(
        f"Your address has as many {what} open as allowed. Close some, or try again in a moment.",
        code="too_many_connections",
        retry=Retry(RETRY_S),
    )


def _answer(problem: dict[str, Any], default_headers: list[tuple[bytes, bytes]], retry_s: float | None) -> bytes:
    """The whole answer as bytes, for a connection on which no request can be answered."""
    request_id = new_id()
    body = json.dumps({**problem, "request_id": request_id}).encode()
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "X-Request-Id": request_id,
        "Connection": "close",
        **({} if retry_s is None else {"Retry-After": f"{retry_s:.0f}"}),
    }
    status = HTTPStatus(problem["status"])
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in default_headers]
    lines += [f"{name.lower()}: {value}".encode("latin-1") for name, value in headers.items()]
    return b"\r\n".join([*lines, b"", body])
