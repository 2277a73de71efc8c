"""Limits on the time that a request's body may take, and the refusals of `api.http.connections`."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import error_response, http_problem
from services.errors import DocatlasError
from services.settings import Settings

REFUSAL = "docatlas.refusal"
"""In the state of a request that its connection refuses: the error to answer with."""

ABANDONED_AFTER_S = 6 * 3600.0
"""No upload takes this long. An older partial file belongs to a process that was killed."""


@dataclass(frozen=True, slots=True)
class BodyTimes:
    """How long bodies may take to arrive. Only the time counts in which the server waits for the client."""

    total_s: float
    """Of a body that is no upload."""
    window_s: float
    min_bytes: int
    """That arrive in each window, or the body is given up."""

    @classmethod
    def of(cls, settings: Settings) -> BodyTimes:
        """As the settings say."""
        return cls(
            total_s=settings.body_timeout_s,
            window_s=settings.body_window_s,
            min_bytes=int(settings.body_min_bytes_per_s * settings.body_window_s),
        )


class RequestLimits:
    """Refuses what the connection refuses, and gives up bodies that come too slowly."""

    def __init__(self, app: ASGIApp, times: BodyTimes, upload_paths: frozenset[str]) -> None:
        self._app, self._times, self._upload_paths = app, times, upload_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = scope.get("state", {}).get(REFUSAL)
        if isinstance(refusal, DocatlasError):
            await error_response(refusal, scope)(scope, receive, send)
            return
        is_upload = is_upload_request(scope, self._upload_paths)
        body = _TimedBody(receive, self._times, ABANDONED_AFTER_S if is_upload else self._times.total_s)
        try:
            await self._app(scope, body.receive, send)
        except BodyTooSlow as error:
            # Raised where no route was found yet, so that FastAPI did not answer it.
            await http_problem(scope, 408, error.detail)(scope, receive, send)


def is_upload_request(scope: Scope, upload_paths: frozenset[str]) -> bool:
    """True for a request whose body goes to the disk as it arrives, and not into memory."""
    # With a slash at its end it is redirected to the path itself.
    return scope["method"] == "POST" and scope["path"].removesuffix("/") in upload_paths


class BodyTooSlow(HTTPException):
    """A body did not arrive in time. An HTTPException is the one error that FastAPI lets through while it reads one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"The body did not arrive, or too little of it, within {seconds:g} seconds.")


class _TimedBody:
    """`receive` of one request, which raises BodyTooSlow when its body comes too slowly."""

    def __init__(self, receive: Receive, times: BodyTimes, total_s: float) -> None:
        self._receive, self._times, self._total_s = receive, times, total_s
        self._waited_s = 0.0
        self._window_ends_s = times.window_s
        self._window_bytes = 0
        self._is_complete = False

    async def receive(self) -> Message:
        while not self._is_complete:
            began = anyio.current_time()
            try:
                with anyio.fail_after(min(self._total_s, self._window_ends_s) - self._waited_s):
                    message = await self._receive()
            except TimeoutError:
                self._end_window()
                continue
            self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
            self._waited_s += anyio.current_time() - began
            self._window_bytes += len(message.get("body", b""))
            if not self._is_complete and self._waited_s >= self._window_ends_s:
                self._end_window()
            return message
        return await self._receive()  # nothing can come but the client's leaving

    def _end_window(self) -> None:
        self._waited_s = min(self._total_s, self._window_ends_s)
        if self._waited_s >= self._total_s:
            raise BodyTooSlow(self._total_s)
        if self._window_bytes < self._times.min_bytes:
            raise BodyTooSlow(self._times.window_s)
        self._window_bytes = 0
        self._window_ends_s += self._times.window_s
