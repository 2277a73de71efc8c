"""What `/metrics` counts that the database and the store know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from database.errors import StoreError
from database.fallback.base import FallbackState
from database.jobs.jobs import count_by_status
from database.records import SERVICE_ACTOR
from services.runtime import Runtime


@dataclass(frozen=True, slots=True)
class ServiceMetrics:
    """What is counted; a mapping is empty where the database could not be asked."""

    jobs: Mapping[str, int]
    """How many jobs of all owners have each status."""
    fallback: FallbackState | None
    """None where no database stands in for another."""


def read_metrics(runtime: Runtime) -> ServiceMetrics:
    """The numbers as they are now; never waits longer than one transaction."""
    try:
        with runtime.store.begin(SERVICE_ACTOR) as tx:
            jobs = count_by_status(tx)
    except StoreError:
        jobs = {}
    return ServiceMetrics(jobs, runtime.fallback.state())
