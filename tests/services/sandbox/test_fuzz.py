"""Five hundred mutations of the samples through the real pool: no fault of the server, no hang, nothing left behind."""

from __future__ import annotations

from pathlib import Path

from bench.fuzz import Fuzz, cases, samples
from bench.mutations import mutate

CASES = 500


def test_no_mutation_of_a_sample_is_a_fault_of_the_server(tmp_path: Path) -> None:
    files = samples()
    fuzz = Fuzz(files, 3, tmp_path)
    try:
        with fuzz.noted():
            outcomes = list(fuzz.run_all(cases(files, 0, CASES), threads=2))
        assert fuzz.left_behind() == []
    finally:
        fuzz.close()
    assert len(outcomes) == CASES
    assert [outcome for outcome in outcomes if outcome.code == "server_error"] == []
    assert [outcome for outcome in outcomes if outcome.is_hang] == []
    assert sum(outcome.code == "ok" for outcome in outcomes) > CASES / 4


def test_a_case_gives_the_same_bytes_again(tmp_path: Path) -> None:
    files = samples()
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, contents, strict=True):
        once = mutate(content, contents[0], f"1:{path.name}#7")
        assert once == mutate(content, contents[0], f"1:{path.name}#7")
        assert any(mutate(content, contents[0], f"1:{path.name}#{n}")[1] != content for n in range(3))
