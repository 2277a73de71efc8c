"""Commands run in the test's own process."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.support.databases import Databases


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Cli:
    """Runs commands on one data folder, in this process: the same code as in one of its own, and ten times as fast."""

    def __init__(
        self,
        databases: Databases,
        data_dir: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.data_dir = data_dir
        self._capsys, self._monkeypatch = capsys, monkeypatch
        own = {"DOCATLAS_TEXT_MODEL": "hash", "DOCATLAS_DATA_DIR": str(data_dir)}
        self.environment = {**os.environ, **databases.environment(data_dir), **own}

    def run(self, *arguments: str, code: int = 0, **environment: str) -> Done:
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        printed = self._capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.out + printed.err
        return Done(code, printed.out, printed.err)

    def json(self, *arguments: str, code: int = 0, **environment: str) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code, **environment).stdout)
