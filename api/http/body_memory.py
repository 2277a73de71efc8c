"""Counts the bytes of request bodies that are held in memory, over all connections."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

from services.errors import Retry, TransientError

UNCOUNTED_BYTES = 64 * 1024
"""Of each body. Small requests are answered although large ones take all the room; there are at most as many as
connections."""
RETRY_S = 5.0


class BodyMemory:
    """The room for bodies of one server. For one event loop; not thread-safe.

    One client address may take half of it, so that nobody keeps everybody else out.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._of_addresses: Counter[str] = Counter()
        self.released_bytes = 0
        """Since the server started."""

    @property
    def held_bytes(self) -> int:
        """The bytes that are counted at the moment."""
        return self._held_bytes

    def hold(self, address_key: str) -> HeldBody:
        """A body of no bytes so far, to be used as a context manager."""
        return HeldBody(self, address_key)

    def change(self, address_key: str, by: int) -> bool:
        """Counts `by` bytes more or less; False, and nothing is counted, where there is no room for them."""
        held, of_address = self._held_bytes + by, self._of_addresses[address_key] + by
        if by > 0 and (held > self._limit_bytes or of_address > self._limit_bytes // 2):
            return False
        self._held_bytes = held
        self._of_addresses[address_key] = of_address
        if of_address == 0:
            del self._of_addresses[address_key]
        self.released_bytes += max(0, -by)
        return True


class HeldBody:
    """What is held of one body; nothing after the block."""

    def __init__(self, memory: BodyMemory, address_key: str) -> None:
        self._memory, self._address_key = memory, address_key
        self._counted = 0

    def set_bytes(self, held: int) -> bool:
        """Counts `held` bytes in place of those before; False, and nothing changes, where there is no room."""
        counted = max(0, held - UNCOUNTED_BYTES)
        if counted == self._counted:
            return True
        if not self._memory.change(self._address_key, counted - self._counted):
            return False
        self._counted = counted
        return True

    def __enter__(self) -> HeldBody:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set_bytes(0)


def no_room() -> TransientError:
    """The error of a body for which there is no room."""
    return TransientError(
        "The bodies of other requests take all the memory there is for them. Try again in a moment.",
        code="body_memory_full",
        retry=Retry(RETRY_S),
    )
