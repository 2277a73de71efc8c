"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(claim: Callable[[], Any], *, tries: int = 1200, pause_s: float = 0.05) -> Any:
    """The first true value of `claim`; fails when it stays false for all the tries."""
    for _ in range(tries):
        value = claim()
        if value:
            return value
        time.sleep(pause_s)
    raise AssertionError("it did not come true")
