"""What the tests of `docatlas db copy` share: a data folder to copy, the command, and a look at both ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from database.opening import open_store
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import SERVICE_ACTOR
from tests.support.postgres_server import DatabaseUrls
from tests.support.store_cases import OTHER_ACTOR, add_document, prepare, submit, unit


class Done:
    """What a command left."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


def commands(capsys: pytest.CaptureFixture[str], data_dir: Path) -> Run:
    """A function that runs `docatlas` in this process."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--data-dir", str(data_dir)])
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    return run


def fill_source(folder: Path) -> Path:
    """The data folder, with some documents of two owners."""
    store = open_store(folder)
    prepare(store)
    for number in range(3):
        add_document(store, f"report {number}.txt", [unit(10 * number + place) for place in range(4)])
    add_document(store, "other.txt", [unit(99)], actor=OTHER_ACTOR)
    submit(store, "queued.txt")
    store.close()
    return folder


def opened(urls: DatabaseUrls) -> PostgresStore:
    return PostgresStore(PostgresOptions(urls.server_url, pool_size=2))


def change(folder: Path, *statements: Any) -> None:
    """Runs statements on a data folder's database."""
    store = open_store(folder)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        for statement in statements:
            tx.connection.execute(statement)
    store.close()
