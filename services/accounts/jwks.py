"""The public keys with which Supabase signs tokens.

They are fetched, cached, rotated, and kept while nobody answers.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt

from services.errors import Retry, TransientError

_log = logging.getLogger(__name__)

MAX_AGE_S = 600.0
"""Source: Supabase caches the endpoint at its edge for ten minutes and advises clients to do the same."""
MIN_INTERVAL_S = 10.0
"""Between two requests, whatever tokens arrive: an invented key id must not make us knock at Supabase's door."""
TIMEOUT_S = 5.0
MAX_FETCH_S = 10.0
"""For the whole answer: one that trickles passes no other limit."""
MAX_WAITING = 8
"""Threads that wait for keys being fetched: half of those that let requests in (see api.app), so that invented key ids
keep nobody out whose key is known."""
MAX_BYTES = 256 * 1024
ALGORITHMS = {("EC", "P-256"): "ES256", ("RSA", None): "RS256"}
"""What signs asymmetrically at Supabase; anything else, symmetric keys before all, is left out."""
_MIN_RSA_BITS = 2048
"""Source: RFC 7518, section 3.3."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One public key and the only algorithm that it verifies."""

    algorithm: str
    key: Any = field(repr=False)


class KeySet:
    """The keys at `url` by their id. Thread-safe.

    One thread fetches; the others go on with the keys there are. They are also kept in `saved`, so that a restart while
    Supabase is away still knows them.
    """

    def __init__(
        self, url: str, saved: Path, client: httpx.Client, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._saved, self._client, self._clock = url, saved, client, clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, VerifyingKey] | None = None
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._has_failed = False
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)

    def find(self, key_id: str) -> VerifyingKey | None:
        """The key; None where Supabase does not know it.

        Raises TransientError (`auth_unavailable`) where it is not among those known and Supabase cannot be asked now.
        """
        keys = self._keys
        if keys is None or key_id not in keys:
            if not self._waiting.acquire(blocking=False):
                raise _cannot_tell(1.0)
            try:
                keys = self._refreshed(waits=True)
            finally:
                self._waiting.release()
            if key_id not in keys and self._has_failed:
                raise _cannot_tell(MIN_INTERVAL_S)
        elif self._is_old():
            keys = self._refreshed(waits=False)
        return keys.get(key_id)

    def _is_old(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > MAX_AGE_S

    def _refreshed(self, *, waits: bool) -> Mapping[str, VerifyingKey]:
        if not self._lock.acquire(blocking=waits):
            return self._keys or {}
        try:
            recently = self._tried_at is not None and self._clock() - self._tried_at < MIN_INTERVAL_S
            if not recently:
                self._tried_at = self._clock()
                self._fetch()
            if self._keys is None:
                self._keys = self._read_saved()
            if self._keys is None:
                raise _cannot_tell(MIN_INTERVAL_S)
            return self._keys
        finally:
            self._lock.release()

    def _fetch(self) -> None:
        started = self._clock()
        self._has_failed = True
        try:
            with self._client.stream("GET", self._url, timeout=TIMEOUT_S) as reply:
                reply.raise_for_status()
                text = b""
                for piece in reply.iter_bytes():
                    text += piece
                    if len(text) > MAX_BYTES:
                        raise ValueError("the key set is too long")
                    if self._clock() - started > MAX_FETCH_S:
                        raise ValueError("the key set takes too long")
            keys = read_keys(text)
        except (httpx.HTTPError, ValueError) as error:
            _log.warning("Supabase's keys could not be fetched (%s); those known stay in use", type(error).__name__)
            return
        self._keys, self._fetched_at, self._has_failed = keys, self._clock(), False
        self._save(text)

    def _save(self, text: bytes) -> None:
        partial = self._saved.with_suffix(".part")
        try:
            partial.write_bytes(text)
            os.replace(partial, self._saved)
        except OSError as error:
            _log.warning("Supabase's keys could not be kept: %s", error.strerror)

    def _read_saved(self) -> Mapping[str, VerifyingKey] | None:
        try:
            return read_keys(self._saved.read_bytes())
        except (OSError, ValueError):
            return None


def _cannot_tell(after_s: float) -> TransientError:
    return TransientError(
        "Supabase's keys cannot be fetched, so the token cannot be checked. Try again in a moment.",
        code="auth_unavailable",
        retry=Retry(after_s),
    )


def read_keys(text: bytes) -> dict[str, VerifyingKey]:
    """The usable keys of a JSON Web Key Set by their id.

    Raises ValueError when it is none.
    Source: RFC 7517, section 5: keys of unknown kinds are ignored.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("the key set is nested too deeply") from error
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("this is no JSON Web Key Set")
    keys: dict[str, VerifyingKey] = {}
    for item in found["keys"]:
        if not isinstance(item, dict) or not isinstance(item.get("kid"), str) or item.get("use", "sig") != "sig":
            continue
        curve = item.get("crv")
        algorithm = ALGORITHMS.get((str(item.get("kty")), None if curve is None else str(curve)))
        if algorithm is None or item.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(item, algorithm=algorithm).key
        except jwt.PyJWTError:
            continue
        if algorithm == "RS256" and key.key_size < _MIN_RSA_BITS:
            continue
        keys[item["kid"]] = VerifyingKey(algorithm, key)
    return keys
