"""A real Postgres is taken away from a real server in the middle of ingests, in four ways; see bench/fallback_drill."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.fallback_drill import run_drill
from bench.faults import FAULTS, Fault


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_or_doubled_when_postgres_is(fault: Fault, tmp_path: Path) -> None:
    drill = run_drill(fault, tmp_path, files=2, paragraphs=1500)
    assert drill.wrong == []
    assert drill.documents == len(drill.sent) >= 9
    assert not any(drill.in_sqlite.values())
    assert sum(sent.from_fallback for sent in drill.sent if sent.phase == "away") >= 2
    assert not any(sent.from_fallback for sent in drill.sent if sent.phase in ("before", "after"))


def test_nothing_is_lost_or_doubled_when_the_server_is_killed_while_it_moves_what_it_took(tmp_path: Path) -> None:
    drill = run_drill("stopped", tmp_path, files=4, paragraphs=1500, kills=2)
    assert drill.wrong == []
    assert drill.documents == len(drill.sent)
    assert not any(drill.in_sqlite.values())
