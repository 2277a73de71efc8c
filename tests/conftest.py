"""What the tests share: settings on a folder of their own, a runtime, a client in the process, a server beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from database.store import Store
from services.settings import Settings
from tests.support.databases import KINDS, Databases, Kind, open_databases

if TYPE_CHECKING:
    from services.runtime import Runtime
    from tests.support.postgres_server import DatabaseUrls, PostgresServer

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).resolve().parent / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Takes the caller's own settings away, so that a test means the same on every machine."""
    for name in list(os.environ):
        if name.startswith("DOCATLAS_") and name not in ("DOCATLAS_CACHE_DIR", "DOCATLAS_REWRITE_GOLDEN"):
            del os.environ[name]
    # A shell starts its background jobs with SIGINT ignored, and the programs under test would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", params=KINDS)
def store_kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of database under a test; every test that has one runs on each."""
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="module")
def module_databases(store_kind: Kind, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Databases that last as long as the module's tests on this kind."""
    server = request.getfixturevalue("postgres_server") if store_kind == "postgresql" else None
    with open_databases(store_kind, server) as databases:
        yield databases


@pytest.fixture
def databases(store_kind: Kind, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Databases of the test's own."""
    server = request.getfixturevalue("postgres_server") if store_kind == "postgresql" else None
    with open_databases(store_kind, server) as databases:
        yield databases


@pytest.fixture
def store(databases: Databases, tmp_path: Path) -> Iterator[Store]:
    """A migrated store with two owners, in the folder `data`."""
    from tests.support.store_cases import prepare

    opened = databases.open(tmp_path / "data")
    prepare(opened)
    yield opened
    opened.close()


@pytest.fixture
def settings(databases: Databases, tmp_path: Path) -> Settings:
    """Settings on an empty data folder, with the embedder that needs no weights."""
    data_dir = tmp_path / "data"
    return Settings(data_dir=data_dir, text_model="hash", sweep_s=0.2, **databases.given(data_dir))


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    """A runtime without a worker."""
    from services.runtime import open_runtime

    opened = open_runtime(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres for this run of the tests; do not stop or pause it, others use it."""
    from tests.support.postgres_server import open_server

    with open_server() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[DatabaseUrls]:
    """A migrated database of the test's own."""
    database = postgres_server.new_database()
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def idle(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    """A server that queues jobs and runs none: for what is decided at upload."""
    from tests.support.api_server import LIMIT, opened

    given: dict[str, Any] = {"max_upload_bytes": LIMIT, "max_files_per_request": 120}
    with opened(module_databases, tmp_path_factory.mktemp("uploads"), runs_jobs=False, **given) as both:
        yield both


@pytest.fixture
def inbox(idle: tuple[Runtime, httpx.Client]) -> httpx.Client:
    return idle[1]


class Server:
    """A real server process and a client for it."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.environment = {**os.environ, "DOCATLAS_TEXT_MODEL": "hash", **environment}
        self.process: subprocess.Popen[str] | None = None
        self.base = ""

    def start(self) -> None:
        """Starts the process on a free port and waits until it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve", "--port", "0", "--data-dir", str(self.data_dir)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        printed: list[str] = []
        for line in self.process.stdout:
            printed.append(line)
            if "http://127.0.0.1:" in line:
                self.base = "http://127.0.0.1:" + line.split("http://127.0.0.1:")[1].split()[0].strip("/.,")
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(printed))
        wait_for(lambda: _is_ready(self.base))

    def kill(self) -> None:
        """Ends the process as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._close()

    def stop(self) -> int:
        """Ends the process as an operator would; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        self._close()
        return status

    def _close(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base, timeout=60)


@pytest.fixture
def start_server(databases: Databases, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts a server process on a data folder (default: the test's own)."""
    servers: list[Server] = []

    def start(data_dir: Path | None = None, **environment: str) -> Server:
        folder = data_dir or tmp_path / "data"
        server = Server(folder, **{**databases.environment(folder), **environment})
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        if server.process is not None:
            server.kill()


def _is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(claim: Callable[[], Any], *, tries: int = 1200, pause_s: float = 0.05) -> Any:
    """The first true value of `claim`; fails when it stays false for all the tries."""
    for _ in range(tries):
        value = claim()
        if value:
            return value
        time.sleep(pause_s)
    raise AssertionError("it did not come true")


@contextmanager
def uploaded(client: httpx.Client, *paths: Path, **fields: str) -> Iterator[list[dict[str, Any]]]:
    """Uploads files in one request and yields the reply's entries."""
    reply = client.post("/v1/documents", files=[("files", (p.name, p.read_bytes())) for p in paths], data=fields)
    assert reply.status_code == 202, reply.text
    yield reply.json()["data"]


def wait_for_job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job once it has ended."""
    for _ in range(30):
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}", params={"wait": 20}).json()
        if job["status"] in ("completed", "completed_with_errors", "failed", "cancelled"):
            return job
    raise AssertionError(f"job {job_id} does not end")
