"""The fixtures of the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.databases import Databases


@pytest.fixture
def cli(
    databases: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """Runs commands on the test's own data folder."""
    return Cli(databases, tmp_path / "data", capsys, monkeypatch)
