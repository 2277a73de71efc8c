"""Token buckets in memory: limit how often each key may do something."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_KEYS = 50_000
"""Buckets kept; the one that was touched longest ago goes first. A few megabytes."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The answer of a bucket: whether a token was taken, and what is left."""

    is_granted: bool
    remaining: int
    """What may still be taken at once."""
    reset_s: int
    """Seconds until the bucket is full again."""
    retry_after_s: int
    """Seconds until one more may be taken; 0 where one may be now."""


class Buckets:
    """One token bucket a key. Thread-safe.

    A bucket holds `capacity` tokens and is filled up over `window_s` seconds. Counts of one process: several nodes each
    grant their own.
    """

    def __init__(self, capacity: int, window_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity, self.window_s = capacity, window_s
        self._rate = capacity / window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> Allowance:
        """Takes one token, where there is one."""
        with self._lock:
            level = self._level(key)
            is_granted = level >= 1.0
            return self._set(key, level - 1.0 if is_granted else level, is_granted)

    def give_back(self, key: str) -> None:
        """Puts one token back."""
        with self._lock:
            self._set(key, min(float(self.capacity), self._level(key) + 1.0), True)

    def _level(self, key: str) -> float:
        level, since = self._levels.get(key, (float(self.capacity), self._clock()))
        return min(float(self.capacity), level + (self._clock() - since) * self._rate)

    def _set(self, key: str, level: float, is_granted: bool) -> Allowance:
        self._levels[key] = (level, self._clock())
        self._levels.move_to_end(key)
        while len(self._levels) > MAX_KEYS:
            self._levels.popitem(last=False)
        return Allowance(
            is_granted,
            remaining=int(level),
            reset_s=math.ceil((self.capacity - level) / self._rate),
            retry_after_s=0 if level >= 1.0 else max(1, math.ceil((1.0 - level) / self._rate)),
        )
