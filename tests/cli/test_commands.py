"""The command line without a server, on a data folder of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.console import human_bytes
from tests.support.command_line import Cli
from tests.support.databases import Databases

ROOT = Path(__file__).resolve().parents[2]

LETTER = "The lease of the harbour crane ends in March 2031.\n\nThe rent is 4,200 pounds a month.\n"
REPORT = "# Annual report\n\nThe board met nine times.\n\n## Costs\n\nDredging cost 81,000 pounds.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    (made / "deeper").mkdir(parents=True)
    (made / ".hidden").mkdir()
    (made / "letter.txt").write_text(LETTER, encoding="utf-8")
    (made / "deeper" / "report.md").write_text(REPORT, encoding="utf-8")
    (made / ".secret.txt").write_text("hidden", encoding="utf-8")
    (made / ".hidden" / "also.txt").write_text("hidden too", encoding="utf-8")
    return made


def test_ingest_of_a_folder_makes_its_files_searchable_and_a_second_one_does_nothing_again(
    cli: Cli, folder: Path
) -> None:
    first = cli.json("ingest", str(folder))
    assert [(entry["filename"], entry["outcome"]) for entry in first["data"]] == [
        ("letter.txt", "created"),
        ("report.md", "created"),
    ]
    assert {entry["document"]["status"] for entry in first["data"]} == {"completed"}
    assert {entry["job"]["status"] for entry in first["data"]} == {"completed"}

    found = cli.json("search", "harbour crane lease", "--mode", "keyword")
    assert found["data"][0]["document"]["filename"] == "letter.txt"
    assert found["data"][0]["page"] == 1

    again = cli.json("ingest", str(folder))
    assert {entry["outcome"] for entry in again["data"]} == {"duplicate"}
    assert [e["document"]["id"] for e in again["data"]] == [e["document"]["id"] for e in first["data"]]

    changed = cli.json("ingest", str(folder / "letter.txt"), "--chunk-size", "200", "--chunk-overlap", "20")
    assert changed["data"][0]["outcome"] == "updated"
    assert changed["data"][0]["document"]["id"] == first["data"][0]["document"]["id"]
    assert len(cli.json("documents", "list")["data"]) == 2


def test_bad_files_are_named_with_their_code_and_cost_the_others_nothing(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.txt"
    empty.touch()
    missing = tmp_path / "missing.pdf"
    report = cli.json("ingest", str(folder / "letter.txt"), str(empty), str(missing), code=1)
    assert [entry["outcome"] for entry in report["data"]] == ["created", "rejected", "rejected"]
    assert [entry["error"] and entry["error"]["code"] for entry in report["data"]] == [
        None,
        "empty_file",
        "file_not_found",
    ]
    assert report["summary"] == {
        "files": 3, "created": 1, "updated": 0, "duplicate": 0, "rejected": 2, "failed": 2
    }  # fmt: skip
    table = cli.run("ingest", str(empty), code=1)
    assert "[empty_file]" in table.stdout
    assert table.stderr.startswith(f"error [empty_file]: {empty}: ")
    assert "1 file, 1 rejected or failed" in table.stdout
    assert "no file or folder" in cli.run("ingest", str(tmp_path / "nowhere"), code=1).stderr


def test_search_says_why_it_finds_nothing(cli: Cli, folder: Path) -> None:
    assert "warning [no_documents]: " in cli.run("search", "crane", "--mode", "keyword").stderr
    assert "warning [no_documents]: " in cli.run("context", "crane").stderr
    cli.run("ingest", str(folder / "letter.txt"), "--no-wait")
    found = cli.run("search", "crane", "--mode", "keyword")
    assert "warning [documents_pending]: " in found.stderr
    assert "0 hits" in found.stdout
    cli.run("ingest", str(folder / "letter.txt"))
    found = cli.run("search", "crane", "--mode", "keyword")
    assert found.stderr == ""
    assert "1 hit in" in found.stdout


def test_file_over_the_limit_is_rejected_and_leaves_nothing_behind(cli: Cli, tmp_path: Path) -> None:
    big = tmp_path / "big.txt"
    big.write_text("words " * 1000, encoding="utf-8")
    report = cli.json("ingest", str(big), code=1, DOCATLAS_MAX_UPLOAD_BYTES="1000")
    assert report["data"][0]["error"]["code"] == "file_too_large"
    assert cli.json("documents", "list")["data"] == []
    left = [path for path in cli.data_dir.rglob("*") if path.is_file() and path.stat().st_size == big.stat().st_size]
    assert left == []


def test_documents_can_be_read_reprocessed_and_deleted(cli: Cli, folder: Path) -> None:
    document = cli.json("ingest", str(folder / "deeper"), "--metadata", '{"year": 2030}')["data"][0]["document"]
    assert document["metadata"] == {"year": 2030}
    document_id = document["id"]
    assert cli.json("documents", "show", document_id)["filename"] == "report.md"
    assert "## Costs" in cli.run("documents", "content", document_id).stdout
    assert "Dredging cost 81,000 pounds." in cli.run("documents", "content", document_id, "--format", "text").stdout
    pages = cli.json("documents", "content", document_id)["pages"]
    assert [page["number"] for page in pages] == [1]

    again = cli.json("documents", "reprocess", document_id, "--chunk-size", "200", "--chunk-overlap", "0")
    assert again["job"]["status"] == "completed"
    listed = cli.json("jobs", "list", "--document", document_id)["data"]
    assert [job["status"] for job in listed] == ["completed", "completed"]
    assert cli.json("jobs", "show", again["job"]["id"])["document_id"] == document_id

    assert cli.json("documents", "delete", document_id) == {"deleted": [document_id], "missing": []}
    assert cli.json("documents", "delete", document_id, code=1) == {"deleted": [], "missing": [document_id]}
    assert cli.json("search", "dredging", "--mode", "keyword")["data"] == []


def test_queued_job_can_be_cancelled_and_retried_and_is_done_by_the_next_ingest(cli: Cli, folder: Path) -> None:
    job = cli.json("ingest", str(folder / "letter.txt"), "--no-wait")["data"][0]["job"]
    assert job["status"] == "queued"
    assert cli.json("jobs", "cancel", job["id"])["status"] == "cancelled"
    assert "job_ended" in cli.run("jobs", "cancel", job["id"], code=1).stderr
    assert cli.json("jobs", "retry", job["id"])["status"] == "queued"
    again = cli.json("ingest", str(folder / "letter.txt"))["data"][0]
    assert again["outcome"] == "duplicate"
    assert again["document"]["status"] == "completed"
    assert cli.json("jobs", "show", job["id"])["status"] == "completed"


def test_context_prints_a_prompt_with_numbered_sources(cli: Cli, folder: Path) -> None:
    cli.json("ingest", str(folder))
    prepared = cli.json("context", "What is the rent of the harbour crane?")
    assert "[1]" in prepared["prompt"]
    assert any("4,200 pounds" in source["text"] for source in prepared["sources"])
    assert prepared["messages"][-1] == {"role": "user", "content": "What is the rent of the harbour crane?"}
    assert "Question: What is the rent" in cli.run("context", "What is the rent of the harbour crane?").stdout


def test_lists_go_on_where_their_cursor_says(cli: Cli, folder: Path) -> None:
    cli.json("ingest", str(folder))
    first = cli.json("documents", "list", "--limit", "1")
    assert first["has_more"]
    second = cli.json("documents", "list", "--limit", "1", "--cursor", first["next_cursor"])
    assert not second["has_more"]
    assert {first["data"][0]["filename"], second["data"][0]["filename"]} == {"letter.txt", "report.md"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("documents", "show", "nothing"), "document_not_found"),
        (("documents", "content", "nothing"), "document_not_found"),
        (("jobs", "retry", "nothing"), "job_not_found"),
        (("documents", "list", "--cursor", "nonsense"), "invalid_cursor"),
        (("ingest", "--chunk-size", "5", "nothing.txt"), "invalid_option"),
        (("models", "pull", "no-such-model"), "not_found"),
    ],
)
def test_error_is_one_line_with_its_code_and_exit_code_1(cli: Cli, arguments: tuple[str, ...], code: str) -> None:
    done = cli.run(*arguments, code=1)
    assert done.stdout == ""
    assert re.fullmatch(rf"error \[{code}\]: .+\n", done.stderr)


def test_wrong_settings_and_arguments_exit_with_2(cli: Cli) -> None:
    assert "DOCATLAS_PORT" in cli.run("documents", "list", code=2, DOCATLAS_PORT="none").stderr
    assert "list is written as" in cli.run("documents", "list", code=2, DOCATLAS_OCR_LANGUAGES="eng").stderr
    assert "DOCATLAS_ALLOW_REMOTE" in cli.run("serve", "--host", "0.0.0.0", code=2).stderr
    cli.run("documents", "list", "--limit", "0", code=2)
    cli.run("ingest", code=2)


def test_data_folder_that_is_a_file_is_one_line(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    done = cli.run("documents", "list", "--data-dir", str(path), code=1)
    assert len(done.stderr.splitlines()) == 1


def test_taken_port_is_said_before_anything_is_loaded(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cli.run("serve", "--port", str(port), code=1)
    assert done.stderr.startswith("error [port_in_use]")
    assert "--port" in done.stderr
    assert not cli.data_dir.exists()


def test_database_status_and_upgrade(
    databases: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.make_empty(tmp_path / "bare")
    bare = Cli(databases, tmp_path / "bare", capsys, monkeypatch)
    assert {row["is_applied"] for row in bare.json("db", "status", code=1)} == {False}
    applied = bare.json("db", "upgrade")["applied"]
    assert applied == sorted(applied)
    states = bare.json("db", "status")
    assert [(row["version"], row["is_applied"]) for row in states] == [(version, True) for version in applied]
    assert bare.json("db", "upgrade")["applied"] == []


def test_doctor_reports_facts_and_changes_nothing(cli: Cli) -> None:
    report = cli.json("doctor")
    checks = {check["name"]: check for check in report["checks"]}
    assert report["status"] == "ok"
    assert checks["sqlite"]["facts"]["fts5"] is True
    assert "eng" in checks["ocr"]["facts"]["languages"]
    assert checks["ocr"]["facts"]["origin"] in ("system", "wheel")
    assert checks["text model"]["facts"]["name"] == "hash"
    assert checks["worker"]["facts"]["holder_pid"] is None
    assert not cli.data_dir.exists()
    assert "Tesseract" in cli.run("doctor").stdout


def test_doctor_exits_with_1_and_advises_when_something_needed_is_missing(cli: Cli, tmp_path: Path) -> None:
    report = cli.json(
        "doctor", code=1, DOCATLAS_TEXT_MODEL="all-mpnet-base-v2", DOCATLAS_CACHE_DIR=str(tmp_path / "no")
    )
    broken = {check["name"]: check for check in report["checks"] if check["status"] == "broken"}
    assert list(broken) == ["text model"]
    assert "docatlas models pull" in broken["text model"]["advice"]
    missing = cli.json("doctor", code=1, DOCATLAS_TESSERACT_PATH=str(tmp_path / "none"))
    assert [check["name"] for check in missing["checks"] if check["status"] == "broken"] == ["ocr"]


def test_models_are_listed_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    states = cli.json("models", "list", DOCATLAS_CACHE_DIR=str(tmp_path / "cache"))
    assert {state["purpose"] for state in states} == {"text", "pictures"}
    assert {state["status"] for state in states} == {"missing"}
    assert all("models pull" in state["advice"] for state in states)
    pulled = cli.run(
        "models", "pull", "text", code=1, DOCATLAS_CACHE_DIR=str(tmp_path / "cache"), DOCATLAS_OFFLINE="true"
    )
    assert "error [model_missing]" in pulled.stderr


def test_doctor_says_that_fetching_the_picture_model_failed(cli: Cli, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    [before] = [
        check for check in cli.json("doctor", DOCATLAS_CACHE_DIR=cache)["checks"] if check["name"] == "picture model"
    ]
    assert "none was asked for" in before["summary"]
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / f".{before['facts']['name']}.tried").touch()
    [after] = [
        check for check in cli.json("doctor", DOCATLAS_CACHE_DIR=cache)["checks"] if check["name"] == "picture model"
    ]
    assert "fetching it failed on" in after["summary"]
    assert (before["status"], after["status"]) == ("ok", "ok")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (438_671_194, "439 MB"), (10**13, "10.0 TB")],
)
def test_sizes_are_in_powers_of_ten(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_output_cut_off_by_its_reader_is_no_error(cli: Cli, folder: Path) -> None:
    document = cli.json("ingest", str(folder / "letter.txt"))["data"][0]["document"]
    command = f"{sys.executable} -m cli documents content {document['id']} --format json | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=cli.environment, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""


def test_light_commands_import_no_model_code() -> None:
    script = (
        "import sys, cli.main; "
        "print(sorted({'torch', 'transformers', 'fastapi', 'uvicorn', 'PIL', 'lxml', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_interrupted_ingest_ends_with_130_and_its_job_goes_on_later(cli: Cli, tmp_path: Path) -> None:
    from PIL import Image

    scans = [Image.effect_noise((1240, 1754), 90) for _ in range(12)]
    scan = tmp_path / "scan.pdf"
    scans[0].save(scan, save_all=True, append_images=scans[1:], resolution=150)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "ingest", str(scan)],
        cwd=ROOT,
        env=cli.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not _running_jobs(cli):
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    assert "stopped" in err
    assert "Traceback" not in err
    assert [job["status"] for job in cli.json("jobs", "list")["data"]] == ["queued"]
    [worker] = [check for check in cli.json("doctor")["checks"] if check["name"] == "worker"]
    assert worker["facts"]["holder_pid"] is None


def _running_jobs(cli: Cli) -> list[Any]:
    if not cli.data_dir.exists():
        return []
    return list(cli.json("jobs", "list", "--status", "in_progress")["data"])
