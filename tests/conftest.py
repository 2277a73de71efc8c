"""The fixtures of all tests: databases, settings on a folder of their own, a runtime, a server."""

from __future__ import annotations

import inspect
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest

from database.store import Store
from services.settings import Settings
from tests.support.databases import KINDS, Databases, Kind, open_databases
from tests.support.selection import is_quick, needs_more_than_a_store
from tests.support.server_process import Server

if TYPE_CHECKING:
    from services.runtime import Runtime
    from tests.support.postgres_server import DatabaseUrls, PostgresServer


def pytest_configure(config: pytest.Config) -> None:
    """Takes the caller's own settings and times away, so that a test means the same on every machine."""
    # How long an example takes says how busy the machine is; what is checked of it stays.
    hypothesis.settings.register_profile("any", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("any")
    for name in list(os.environ):
        if name.startswith("DOCATLAS_") and name not in ("DOCATLAS_CACHE_DIR", "DOCATLAS_REWRITE_GOLDEN"):
            del os.environ[name]
    # A shell starts its background jobs with SIGINT ignored, and the programs under test would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--fast`."""
    parser.addoption(
        "--fast", action="store_true", help="only tests without Postgres, models, other programs and processes"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is not quick with `--fast`; where several workers share the tests, the longest files go first."""
    if config.getoption("--fast"):
        config.hook.pytest_deselected(items=[item for item in items if not is_quick(item)])
        items[:] = [item for item in items if is_quick(item)]
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if needs_more_than_a_store(item)}
        items.sort(key=lambda item: item.path not in long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the ten files that took longest, where more than ten ran."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) > 10:
        terminalreporter.section("slowest 10 files")
        for name, spent in sorted(seconds.items(), key=lambda item: -item[1])[:10]:
            terminalreporter.line(f"{spent:7.1f} s  {name}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes a test with a database run on every kind, and behind a pooler where it is a store's contract.

    The pooler leaves out those tests of a contract that are about other stores or processes beside their own.
    """
    if "store_kind" not in metafunc.fixturenames:
        return
    contract = metafunc.definition.get_closest_marker("store_contract") is not None
    pooled = contract and set(inspect.signature(metafunc.function).parameters) == {"store"}
    metafunc.parametrize("store_kind", [*KINDS, "pooled"] if pooled else KINDS, indirect=True, scope="module")


@pytest.fixture(scope="module")
def store_kind(request: pytest.FixtureRequest) -> Kind:
    """What a test with a database runs on."""
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="module")
def module_databases(store_kind: Kind, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Databases that last as long as the module's tests on this kind."""
    with _opened(store_kind, request) as databases:
        yield databases


@pytest.fixture
def databases(store_kind: Kind, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Databases of the test's own."""
    with _opened(store_kind, request) as databases:
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
    from tests.support.runtimes import open_runtime

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


@contextmanager
def _opened(kind: Kind, request: pytest.FixtureRequest) -> Iterator[Databases]:
    server = None if kind == "sqlite" else request.getfixturevalue("postgres_server")
    through = request.getfixturevalue("through") if kind == "pooled" else str
    with open_databases(kind, server, through) as databases:
        yield databases
