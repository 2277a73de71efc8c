"""What every queue promises: the one inside a process, and one that carries messages between processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from database.jobs import jobs as job_rows
from database.records import LOCAL_ACTOR, TERMINAL_STATUSES, worker_for
from database.store import Store
from services.jobs.client import cancel, get_job, retry
from services.jobs.worker import Worker
from services.queue.embedded import EmbeddedQueue
from services.queue.queue import Queue
from services.settings import Settings
from tests.support.child_cases import children_of, job_of, latest_job, mail_with, send
from tests.support.paths import ROOT
from tests.support.pipe_queue import PipeQueue
from tests.support.runtimes import open_runtime
from tests.support.store_cases import submit
from tests.support.waiting import wait_for

NEVER_S = 3600.0
"""A sweep that does not come while a test runs: what is found was announced."""
PATIENCE_S = 20.0

OpenQueue = Callable[[], Queue]


@pytest.fixture(params=["embedded", "pipe"])
def open_queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenQueue]:
    """A function that opens the test's queue, as each process does that takes part in it."""
    opened: list[Queue] = []

    def open_one() -> Queue:
        if request.param == "pipe":
            opened.append(PipeQueue(tmp_path / "queue"))
        elif not opened:
            opened.append(EmbeddedQueue())
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()


@pytest.fixture
def queue(open_queue: OpenQueue) -> Queue:
    return open_queue()


class Table:
    """Jobs that wait, and how often each was run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self.runs: Counter[str] = Counter()
        self.looks = 0

    def add(self, job_id: str) -> None:
        with self._lock:
            self._waiting.append(job_id)

    def has_run(self, job_id: str) -> bool:
        return self.runs[job_id] > 0

    def run_next(self) -> bool:
        with self._lock:
            self.looks += 1
            if not self._waiting:
                return False
            self.runs[self._waiting.pop(0)] += 1
            return True


@pytest.fixture
def table() -> Table:
    return Table()


def test_an_announced_job_is_run(queue: Queue, table: Table) -> None:
    with queue.dispatching(table.run_next, threads=2, sweep_s=NEVER_S):
        wait_for(lambda: table.looks >= 2)  # both threads have found nothing and wait
        for job_id in ("first", "second"):
            table.add(job_id)
            queue.announce(job_id)
            wait_for(partial(table.has_run, job_id))
    assert table.runs == {"first": 1, "second": 1}


def test_jobs_announced_before_anybody_dispatches_are_run(queue: Queue, table: Table) -> None:
    for number in range(3):
        table.add(str(number))
        queue.announce(str(number))
    with queue.dispatching(table.run_next, threads=1, sweep_s=NEVER_S):
        wait_for(lambda: table.runs.total() == 3)


def test_an_announcement_during_a_look_at_the_table_is_not_lost(queue: Queue, table: Table) -> None:
    looking, announced = threading.Event(), threading.Event()

    def run_next() -> bool:
        found = table.run_next()
        if not found and not looking.is_set():
            looking.set()
            assert announced.wait(PATIENCE_S)
        return found

    with queue.dispatching(run_next, threads=1, sweep_s=NEVER_S):
        assert looking.wait(PATIENCE_S)
        table.add("late")
        queue.announce("late")
        announced.set()
        wait_for(lambda: table.runs["late"])


def test_a_lost_announcement_is_made_up_for_by_the_sweep(queue: Queue, table: Table) -> None:
    with queue.dispatching(table.run_next, threads=1, sweep_s=0.05):
        wait_for(lambda: table.looks)
        table.add("unannounced")
        wait_for(lambda: table.runs["unannounced"])


def test_as_many_jobs_run_at_once_as_there_are_threads(queue: Queue) -> None:
    together = threading.Barrier(3)
    running, most = 0, 0
    lock = threading.Lock()
    left = list(range(9))

    def run_next() -> bool:
        nonlocal running, most
        with lock:
            if not left:
                return False
            left.pop()
            running += 1
            most = max(most, running)
        together.wait(PATIENCE_S)  # breaks unless three are here at the same time
        with lock:
            running -= 1
        return True

    for number in range(9):
        queue.announce(str(number))
    with queue.dispatching(run_next, threads=3, sweep_s=NEVER_S):
        wait_for(lambda: not left and not running)
    assert most == 3
    assert not together.broken


def test_the_end_of_a_dispatcher_waits_for_what_runs_and_runs_nothing_more(queue: Queue) -> None:
    started, finish = threading.Event(), threading.Event()
    calls = 0

    def run_next() -> bool:
        nonlocal calls
        calls += 1
        started.set()
        assert finish.wait(PATIENCE_S)
        return True

    def dispatch(stop: threading.Event) -> None:
        with queue.dispatching(run_next, threads=1, sweep_s=0.01):
            assert stop.wait(PATIENCE_S)

    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        dispatcher = pool.submit(dispatch, stop)
        queue.announce("a")
        assert started.wait(PATIENCE_S)
        stop.set()
        queue.announce("b")
        with pytest.raises(TimeoutError):
            dispatcher.result(timeout=0.2)
        finish.set()
        dispatcher.result(timeout=PATIENCE_S)
    assert calls == 1


@pytest.mark.timeout(60)
def test_a_dispatcher_that_waits_ends_at_once(queue: Queue, table: Table) -> None:
    with queue.dispatching(table.run_next, threads=3, sweep_s=NEVER_S):
        wait_for(lambda: table.looks >= 3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("worker-", "pipe-"))]


def test_a_dispatcher_ends_with_the_block_that_fails(queue: Queue, table: Table) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        queue.dispatching(table.run_next, threads=1, sweep_s=0.01),
    ):
        raise ZeroDivisionError
    looks = table.looks
    queue.announce("a")
    assert table.looks == looks


def test_a_queue_can_be_dispatched_again(queue: Queue, table: Table) -> None:
    for job_id in ("first", "second"):
        with queue.dispatching(table.run_next, threads=1, sweep_s=NEVER_S):
            table.add(job_id)
            queue.announce(job_id)
            wait_for(partial(table.has_run, job_id))


def test_any_number_of_announcements_to_nobody_is_taken(queue: Queue, table: Table) -> None:
    for _ in range(100_000):  # more than a pipe holds
        queue.announce("nobody listens")
    table.add("a")
    with queue.dispatching(table.run_next, threads=1, sweep_s=NEVER_S):
        wait_for(lambda: table.runs["a"])


def test_an_announcement_to_a_closed_queue_is_dropped(queue: Queue) -> None:
    queue.close()
    queue.announce("a")
    queue.close()


def test_two_dispatchers_run_no_job_twice(open_queue: OpenQueue, store: Store) -> None:
    """The promise is the store's; announcements to all, to one, or of jobs that are gone do not break it."""
    runs: Counter[str] = Counter()
    lock = threading.Lock()

    def run_next_as(worker_id: str) -> Callable[[], bool]:
        def run_next() -> bool:
            job = store.claim_job(worker_id)
            if job is None:
                return False
            with lock:
                runs[job.job_id] += 1
            with store.begin(worker_for(job.user_id), write=True) as tx:
                job_rows.finish(tx, job.job_id, worker_id=worker_id, status="completed")
            return True

        return run_next

    def upload(number: int) -> str:
        job = submit(store, f"{number}.txt").job
        assert job is not None
        for queue in (announcing, first):
            queue.announce(job.job_id)
        return job.job_id

    announcing, first, second = open_queue(), open_queue(), open_queue()
    with ExitStack() as dispatchers, ThreadPoolExecutor(4) as pool:
        for queue, worker_id in ((first, "one.1"), (second, "two.1")):
            dispatchers.enter_context(queue.dispatching(run_next_as(worker_id), threads=2, sweep_s=NEVER_S))
        submitted = list(pool.map(upload, range(12)))
        wait_for(lambda: set(runs) >= set(submitted))
    assert runs == Counter(submitted)


def test_whatever_adds_a_job_announces_it(open_queue: OpenQueue, settings: Settings, tmp_path: Path) -> None:
    """An upload, the files inside it, and another try: all are run by a worker that never looks of itself."""
    runtime = open_runtime(settings.model_copy(update={"sweep_s": NEVER_S}), queue=open_queue())
    try:
        mail = mail_with(note_txt=b"The harbour opens at dawn.\n", list_csv=b"ship,berth\nAda,1\nBea,2\n")
        document_id, job_id = send(runtime, tmp_path, "papers.eml", mail)
        assert cancel(runtime, LOCAL_ACTOR, job_id).job.status == "cancelled"
        with Worker(runtime) as worker:
            wait_for(lambda: worker.holds_lease)
            retry(runtime, LOCAL_ACTOR, job_id)
            wait_for(lambda: job_of(runtime, job_id).status in TERMINAL_STATUSES)
            children = children_of(runtime, document_id)
            assert set(children) == {"note.txt", "list.csv"}
            assert {latest_job(runtime, child).status for child in children.values()} == {"completed"}
            assert job_of(runtime, job_id).status == "completed"
    finally:
        runtime.close()


def test_a_job_that_runs_when_the_worker_is_stopped_is_run_by_the_next(
    open_queue: OpenQueue, settings: Settings, tmp_path: Path
) -> None:
    runtime = open_runtime(settings.model_copy(update={"sweep_s": NEVER_S}), queue=open_queue())
    try:
        text = tmp_path / "long.txt"
        text.write_text("The harbour opens at dawn. " * 3_000, encoding="utf-8")
        _, job_id = send(runtime, tmp_path, "a.txt", text.read_bytes())
        with Worker(runtime):
            wait_for(lambda: job_of(runtime, job_id).status != "queued", pause_s=0.01)
        stopped = get_job(runtime, LOCAL_ACTOR, job_id).job
        assert (stopped.status, stopped.worker_id) in (("queued", None), ("completed", None))
        with Worker(runtime):
            wait_for(lambda: job_of(runtime, job_id).status in TERMINAL_STATUSES)
        assert job_of(runtime, job_id).status == "completed"
    finally:
        runtime.close()


def test_an_announcement_of_another_process_reaches_the_worker(settings: Settings, tmp_path: Path) -> None:
    queue_path = tmp_path / "queue"
    announce = (
        "import sys; from pathlib import Path; from tests.support.pipe_queue import PipeQueue\n"
        "PipeQueue(Path(sys.argv[1])).announce(sys.argv[2])"
    )
    runtime = open_runtime(settings.model_copy(update={"sweep_s": NEVER_S}), queue=PipeQueue(queue_path))
    try:
        with Worker(runtime) as worker:
            wait_for(lambda: worker.holds_lease)
            _, job_id = send(runtime, tmp_path, "a.txt", b"The harbour opens at dawn.\n")
            assert job_of(runtime, job_id).status == "queued"
            subprocess.run([sys.executable, "-c", announce, str(queue_path), job_id], cwd=ROOT, check=True)
            wait_for(lambda: job_of(runtime, job_id).status == "completed")
    finally:
        runtime.close()
