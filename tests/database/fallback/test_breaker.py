"""The circuit breaker by itself: what opens it, what does not, and what it counts."""

from __future__ import annotations

from database.fallback.breaker import Breaker


def test_failures_in_a_row_open_it_and_not_fewer() -> None:
    breaker = Breaker(failures=3)
    assert not breaker.failed(write=False)
    assert not breaker.failed(write=False)
    assert breaker.since is None
    assert breaker.failed(write=False)
    assert breaker.state == "open"
    assert breaker.since is not None


def test_a_success_between_failures_begins_the_row_anew() -> None:
    breaker = Breaker(failures=2)
    breaker.failed(write=False)
    breaker.succeeded(write=False)
    assert not breaker.failed(write=False)


def test_reads_that_work_do_not_hide_writes_that_fail() -> None:
    breaker = Breaker(failures=2)
    breaker.failed(write=True)
    breaker.succeeded(write=False)
    assert breaker.doubts_writes
    assert breaker.failed(write=True)
    assert breaker.state == "open"


def test_it_closes_by_way_of_half_open_only() -> None:
    breaker = Breaker(failures=1)
    assert not breaker.close()
    breaker.open()
    assert not breaker.close()
    assert breaker.half_open()
    assert not breaker.half_open()
    assert breaker.close()
    assert (breaker.state, breaker.since) == ("closed", None)


def test_since_is_the_first_opening_while_it_falls_back_from_half_open() -> None:
    breaker = Breaker(failures=1)
    breaker.open()
    since = breaker.since
    breaker.half_open()
    assert breaker.open()
    assert breaker.since == since


def test_what_happened_is_counted() -> None:
    breaker = Breaker(failures=1)
    breaker.failed(write=True)
    breaker.failed(write=False)
    breaker.half_open()
    breaker.close()
    breaker.count("replayed", 3)
    assert breaker.counters == {
        "write_failures": 1,
        "read_failures": 1,
        "opened": 1,
        "half_opened": 1,
        "closed": 1,
        "replayed": 3,
    }
