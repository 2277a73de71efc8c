"""A setting that is wrong, or that does not exist, stops a command with one line and exit code 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main
from services.settings import OTHER_VARIABLES, Settings, unknown_variables

ROOT = Path(__file__).resolve().parents[2]

COMMANDS = (
    ("serve", "--port", "0"),
    ("ingest", "a.txt"),
    ("search", "word"),
    ("context", "word"),
    ("documents", "list"),
    ("jobs", "list"),
    ("models", "list"),
    ("db", "status"),
    ("db", "verify", "--to", "sqlite:/nowhere"),
    ("users", "list"),
    ("test", "tests/services/test_options.py"),
)


def _run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str, **environment: str
) -> tuple[int, str, str]:
    capsys.readouterr()
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOCATLAS_PARSE_WALL_S", "inf"),
        ("DOCATLAS_PARSE_CPU_S", "inf"),
        ("DOCATLAS_PARSE_MEMORY_BYTES", "9" * 23),
        ("DOCATLAS_PARSE_OUTPUT_BYTES", "9" * 20),
    ],
)
def test_a_limit_that_the_system_cannot_lay_is_a_wrong_setting(
    name: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = {"DOCATLAS_DATA_DIR": str(tmp_path / "data"), "DOCATLAS_TEXT_MODEL": "hash"}
    code, out, err = _run(capsys, monkeypatch, "documents", "list", **{name: value}, **data)
    assert (code, out) == (2, "")
    assert err.startswith(f"error [invalid_setting]: {name} must be a ")
    assert f"and is {value!r}" in err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_stops_at_a_wrong_setting(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = {"DOCATLAS_DATA_DIR": str(tmp_path / "data"), "DOCATLAS_TEXT_MODEL": "hash"}
    code, out, err = _run(capsys, monkeypatch, *command, DOCATLAS_MAX_PAGES="many", **data)
    assert (code, out) == (2, "")
    assert re.fullmatch(
        r"error \[invalid_setting\]: DOCATLAS_MAX_PAGES must be a whole number of at least 1, and is 'many'\n", err
    )
    code, out, err = _run(capsys, monkeypatch, *command, DOCATLAS_ACCOUNT="local", **data)
    assert (code, out) == (2, "")
    assert err == "error [unknown_setting]: DOCATLAS_ACCOUNT is no setting: did you mean DOCATLAS_ACCOUNTS?\n"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DOCATLAS_PORT": "abc"}, ": DOCATLAS_PORT must be a whole number from 0 to 65535, and is 'abc'\n"),
        ({"DOCATLAS_PORT": "65536"}, ": DOCATLAS_PORT must be a whole number from 0 to 65535, and is '65536'\n"),
        ({"DOCATLAS_CHUNK_SIZE": "1.5"}, ": DOCATLAS_CHUNK_SIZE must be a whole number, and is '1.5'\n"),
        ({"DOCATLAS_OFFLINE": "ja"}, ": DOCATLAS_OFFLINE must be true or false, and is 'ja'\n"),
        ({"DOCATLAS_SWEEP_S": "0"}, ": DOCATLAS_SWEEP_S must be a number above 0, and is '0'\n"),
        ({"DOCATLAS_ACCOUNTS": "x"}, ": DOCATLAS_ACCOUNTS must be none, local or supabase, and is 'x'\n"),
        (
            {"DOCATLAS_STORAGE_BUCKET": ""},
            ": DOCATLAS_STORAGE_BUCKET must be a text of at least 1 character, and is ''\n",
        ),
        ({"DOCATLAS_HUB_TIMEOUT_S": "9" * 200}, "must be a number above 0 and at most 30, and is '99999"),
        ({"DOCATLAS_ACCOUNTS": "local"}, "set DOCATLAS_TOKEN_SECRET"),
        ({"DOCATLAS_OCR_LANGUAGES": "eng"}, "DOCATLAS_OCR_LANGUAGES: a list is written as JSON"),
        (
            {"DOCATLAS_OCR_LANGUAGES": '["eng", 4]'},
            "DOCATLAS_OCR_LANGUAGES must be a list of texts, written as JSON, and is ",
        ),
        ({"DOCATLAS_PORT": "abc", "DOCATLAS_MAX_PAGES": "0"}, "; DOCATLAS_MAX_PAGES must be "),
        ({"DOCATLAS_PORT": "abc", "DOCATLAS_HOTS": "::1"}, "did you mean DOCATLAS_HOST?; DOCATLAS_PORT must be "),
    ],
)
def test_what_is_wrong_is_named(
    environment: dict[str, str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = _run(capsys, monkeypatch, "documents", "list", **environment)
    assert (code, out) == (2, "")
    assert err.startswith("error [invalid_setting]: ")
    assert len(err.splitlines()) == 1
    assert said in err


def test_what_is_printed_of_others_drives_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = _run(capsys, monkeypatch, "documents", "list", **{"DOCATLAS_X\x1b[31m\u202e": "1"})
    assert (code, out) == (2, "")
    assert err.isascii()
    assert err.rstrip("\n").isprintable()
    assert r"DOCATLAS_X\x1b[31m\u202e is no setting" in err


def test_commands_are_named_as_the_launcher_was_called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called = {"DOCATLAS_PROGRAM": "./docatlas", "DOCATLAS_DATA_DIR": str(tmp_path / "data")}
    code, _, err = _run(capsys, monkeypatch, "documents", "show", **called)
    assert code == 2
    assert err.endswith(" See `./docatlas documents show --help`.\n")
    code, _, err = _run(capsys, monkeypatch, "documents", "show", "nope", **called)
    assert code == 1
    assert "`./docatlas documents list`" in err


def test_a_secret_is_not_repeated(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"DOCATLAS_ACCOUNTS": "local", "DOCATLAS_TOKEN_SECRET": "too-short-a-secret"}
    code, _, err = _run(capsys, monkeypatch, "documents", "list", **wrong)
    assert code == 2
    assert "too-short-a-secret" not in err


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("DOCATLAS_ACCOUNT", "DOCATLAS_ACCOUNTS"),
        ("DOCATLAS_DATABASEURL", "DOCATLAS_DATABASE_URL"),
        ("DOCATLAS_WORKERS_THREADS", "DOCATLAS_WORKER_THREADS"),
        ("docatlas_prot", "DOCATLAS_PORT"),
        ("DOCATLAS_TORCHINDEX", "DOCATLAS_TORCH_INDEX"),
        ("DOCATLAS_QQQQ", ""),
    ],
)
def test_the_closest_setting_is_named(name: str, closest: str) -> None:
    assert unknown_variables({name: "1", "PATH": "/bin", "docatlas_port": "1"}) == {name: closest}


def test_what_is_read_elsewhere_and_what_kubernetes_sets_is_not_unknown() -> None:
    given = dict.fromkeys([*OTHER_VARIABLES, *(f"DOCATLAS_{name.upper()}" for name in Settings.model_fields)], "")
    links = {
        "DOCATLAS_SERVICE_HOST": "10.0.0.1",
        "DOCATLAS_SERVICE_PORT_HTTP": "80",
        "DOCATLAS_PORT_80_TCP": "tcp://10.0.0.1:80",
        "DOCATLAS_PORT_80_TCP_ADDR": "10.0.0.1",
        "DOCATLAS_DB_PORT": "tcp://10.0.0.2:5432",
        "DOCATLAS_DB_SERVICE_PORT": "5432",
    }
    assert unknown_variables({**given, **links}) == {}
    assert unknown_variables({"DOCATLAS_DB_PORT": "5432"}) == {"DOCATLAS_DB_PORT": "DOCATLAS_PORT"}


def test_what_the_launcher_and_the_documents_name_is_known() -> None:
    known = {f"DOCATLAS_{name.upper()}" for name in Settings.model_fields} | set(OTHER_VARIABLES)
    files = [ROOT / "docatlas", ROOT / "Dockerfile", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for path in files:
        named = set(re.findall(r"\bDOCATLAS_[A-Z_]*[A-Z]\b(?![_*])", path.read_text(encoding="utf-8")))
        assert named <= known, path
    launcher = (ROOT / "docatlas").read_text(encoding="utf-8")
    assert {"DOCATLAS_PROGRAM", "DOCATLAS_TORCH_INDEX", "DOCATLAS_VENV"} == set(
        re.findall(r"environ\.get\(\"(DOCATLAS_\w+)\"", launcher)
    )


def test_help_is_given_with_wrong_settings_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = _run(capsys, monkeypatch, "serve", "--help", DOCATLAS_PORT="abc", DOCATLAS_ACCOUNT="local")
    assert code == 0
    assert "Usage" in out


def test_what_the_command_line_says_replaces_a_wrong_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.touch()
    given = ("serve", "--port", "0", "--data-dir", str(path))
    code, _, err = _run(capsys, monkeypatch, *given, DOCATLAS_PORT="abc", DOCATLAS_TEXT_MODEL="hash")
    assert code == 1
    assert "DOCATLAS_PORT" not in err


def test_doctor_reports_wrong_settings_among_its_checks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import json

    data = {"DOCATLAS_DATA_DIR": str(tmp_path / "data"), "DOCATLAS_TEXT_MODEL": "hash"}
    code, out, err = _run(capsys, monkeypatch, "doctor", "--json", DOCATLAS_ACCOUNT="local", **data)
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert (code, err) == (1, "")
    assert checks["settings"]["status"] == "broken"
    assert checks["settings"]["facts"]["unknown"] == {"DOCATLAS_ACCOUNT": "DOCATLAS_ACCOUNTS"}
    assert checks["sqlite"]["status"] == "ok"
    code, out, err = _run(capsys, monkeypatch, "doctor", "--json", DOCATLAS_PORT="abc", **data)
    [check] = json.loads(out)["checks"]
    assert (code, err) == (1, "")
    assert (check["name"], check["status"]) == ("settings", "broken")
    assert "DOCATLAS_PORT" in check["summary"]
    code, out, _ = _run(capsys, monkeypatch, "doctor", "--json", **data)
    settings = json.loads(out)["checks"][0]
    assert (code, settings["status"]) == (0, "ok")
    assert settings["facts"]["given"] == [*(["cache_dir"] if "DOCATLAS_CACHE_DIR" in os.environ else []),
                                          "data_dir", "text_model"]  # fmt: skip


def test_a_process_of_its_own_prints_no_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "DOCATLAS_DATA_DIR": str(tmp_path), "DOCATLAS_ACCOUNTS": "local"}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "serve", "--port", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error \[invalid_setting\]: .+\n", done.stderr)
