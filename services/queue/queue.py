"""The queue's port: whoever stores a job tells those who run jobs.

The jobs table is the truth. A message is a hint that some job can be claimed, and says neither which job the receiver
gets nor that there is one; the fairest row is claimed when the message arrives. Who promises what:

- An implementation of `Queue` makes an announced job run at once where somebody dispatches, and looks again every
  `sweep_s` seconds whatever was announced. That look finds jobs whose message was lost, and those whose time to be
  tried again has come, which nobody announces.
- The store hands each job to one claimant (`Store.claim_job`), so a message that arrives twice, at two dispatchers, or
  late, runs nothing twice.

Implementations: services.queue.embedded. tests/services/queue/test_queue_contract.py states the promises as tests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

RunNext = Callable[[], bool]
"""Claims the fairest job and runs it; False when there was none to claim. Thread-safe, and never raises."""


class Queue(Protocol):
    """Carries announcements of jobs to those who run jobs. Thread-safe."""

    def announce(self, job_id: str) -> None:
        """Tells the dispatchers that `job_id`, which is committed, can be claimed.

        Never waits and never raises, whether somebody dispatches or not: an announcement that cannot be delivered is
        dropped, and the next sweep finds the job.
        """

    def dispatching(self, run_next: RunNext, *, threads: int, sweep_s: float) -> AbstractContextManager[None]:
        """Calls `run_next` for what is announced, as long as the block lasts.

        Up to `threads` calls run at once, and one begins every `sweep_s` seconds whatever was announced. A call that
        returned True is followed by another at once. What was announced before the block is looked for at its start.
        While messages cannot be received the sweep goes on, and nothing is raised. The block's end calls nothing more
        and waits for the calls under way: the caller makes them end.
        """

    def close(self) -> None:
        """Releases connections; call it outside of every `dispatching` block.

        Announcements that come later are dropped, and closing it again does nothing.
        """
