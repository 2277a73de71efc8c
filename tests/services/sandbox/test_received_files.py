"""What a parsing child hands over is stored as it was when it was checked, whatever the child puts in its place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.errors import TooLarge
from services.runtime import Runtime
from services.sandbox.pool import ChildPool
from services.sandbox.received_files import receiving
from services.sandbox.wire import unpack_part
from tests.support.ingest_cases import run_next, submit
from tests.support.misbehaving_child import HANDED_OVER
from tests.support.sandbox_cases import files_from

PNG = HANDED_OVER["picture"]


@pytest.fixture(scope="module")
def pool() -> Iterator[ChildPool]:
    made = ChildPool(module="tests.support.misbehaving_child", start="fork")
    assert made.warm_up(wait_s=60.0)
    yield made
    made.close()


@pytest.fixture
def misled(runtime: Runtime, pool: ChildPool) -> Iterator[Runtime]:
    """A runtime whose parsing child does what the file says."""
    own, runtime.children = runtime.children, pool
    yield runtime
    runtime.children = own


@pytest.mark.parametrize("kind", ["picture", "attachment"])
@pytest.mark.parametrize("what", ["link", "other_bytes", "pipe", "folder"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_that_the_child_swaps_is_stored_as_it_was_checked_or_not_at_all(
    kind: str, what: str, when: str, misled: Runtime, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets" / "file"
    secret.parent.mkdir()
    secret.write_bytes(b"\x89PNG\r\n\x1a\n the password of the database")
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    upload = tmp_path / "report.txt"
    upload.write_text(f"hand_over {kind} {what} {when} {digest} {secret}")
    submission = submit(misled, upload)

    job = run_next(misled)

    stored = {entry.sha256: misled.blobs.path(entry.sha256) for entry in misled.blobs.entries()}
    contents = [path.read_bytes() for path in stored.values()]
    assert [hashlib.sha256(content).hexdigest() for content in contents] == list(stored)
    assert not any(path.is_symlink() for path in stored.values())
    assert secret.read_bytes() not in contents
    assert (HANDED_OVER[kind] in contents) == (when == "after")
    if when == "before":
        assert job.error is not None
        assert (job.status, job.error["code"]) == ("failed", "parser_output_invalid")
    else:
        assert job.error is None
    assert submission.document.sha256 in stored


def test_a_file_is_taken_with_the_content_that_its_digest_says(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with files_from(tmp_path) as files:
        path = files.take("a.png", hashlib.sha256(PNG).hexdigest())
        assert path.read_bytes() == PNG
        assert path.parent != tmp_path
        assert not (tmp_path / "a.png").exists()
        (tmp_path / "a.png").write_bytes(PNG)
        with pytest.raises(ValueError, match="digest is wrong"):
            files.take("a.png", "0" * 64)
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "socket", "nothing"])
def test_only_a_regular_file_of_its_own_is_taken(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(PNG)
    path = folder / "a.png"
    match kind:
        case "link":
            path.symlink_to(secret)
        case "hard link":
            path.hardlink_to(secret)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            os.mknod(path, 0o140600)
    with files_from(folder) as files, pytest.raises(ValueError, match="a file is not"):
        files.take("a.png", hashlib.sha256(PNG).hexdigest())


def test_a_folder_that_was_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    folder, secrets = tmp_path / "folder", tmp_path / "secrets"
    folder.mkdir()
    secrets.mkdir()
    (secrets / "a.png").write_bytes(PNG)
    with files_from(folder) as files:
        folder.rename(tmp_path / "aside")
        folder.symlink_to(secrets)
        with pytest.raises(ValueError, match="not there"):
            files.take("a.png", hashlib.sha256(PNG).hexdigest())
    with pytest.raises(OSError, match="Not a directory"), receiving(folder, tmp_path, max_bytes=1):
        pass


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a.png", "/etc/passwd", "a/b", "a\0b", "x" * 300, "\ud800", 3, None]
)
def test_a_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path.parent / "a.png").write_bytes(PNG)
    with files_from(tmp_path) as files, pytest.raises(ValueError):  # noqa: PT011  each says something else
        files.take(name, hashlib.sha256(PNG).hexdigest())


def test_a_file_that_is_too_large_is_refused_and_nothing_of_it_stays(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG * 100)
    with files_from(tmp_path, max_bytes=len(PNG) * 100 - 1) as files:
        with pytest.raises(TooLarge) as caught:
            files.take("a.png", hashlib.sha256(PNG * 100).hexdigest())
        assert caught.value.code == "parse_output_limit"
        assert list(tmp_path.with_name(f"{tmp_path.name}-received").iterdir()) == []


@pytest.mark.parametrize("size", [1_000_000, 0])
def test_all_files_of_a_document_are_bounded_together_also_those_with_holes_and_empty_ones(
    size: int, tmp_path: Path
) -> None:
    digest = hashlib.sha256(bytes(size)).hexdigest()

    def hand_over() -> None:
        with (tmp_path / "holes").open("wb") as file:
            file.truncate(size)
        files.take("holes", digest).unlink()

    with files_from(tmp_path, max_bytes=4_000_000) as files:
        for _ in range(4 if size else 977):  # 4,096 bytes for an empty one
            hand_over()
        with pytest.raises(TooLarge) as caught:
            hand_over()
    assert caught.value.code == "parse_output_limit"


def test_the_longest_name_that_a_folder_takes_is_no_longer_as_a_copy(tmp_path: Path) -> None:
    (tmp_path / ("é" * 127)).write_bytes(PNG)
    with files_from(tmp_path) as files:
        assert files.take("é" * 127, hashlib.sha256(PNG).hexdigest()).read_bytes() == PNG


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("image/png", b"\xff\xd8\xff\xe0 a JPEG"),
        ("image/jpeg", PNG),
        ("image/webp", b"RIFF....WAVE"),
        ("image/png", b"postgresql://docatlas:secret@db"),
        ("image/svg+xml", b"<svg/>"),
        ("text/html", b"<script>"),
        (["image/png"], PNG),
        (None, PNG),
    ],
)
def test_a_picture_that_is_not_what_its_type_says_is_refused(
    media_type: object, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    message = {
        "type": "picture",
        "path": "a",
        "page": 1,
        "sha256": hashlib.sha256(content).hexdigest(),
        "media_type": media_type,
        "width": 1,
        "height": 1,
        "box": None,
        "alt": "",
        "caption": "",
    }
    with files_from(tmp_path) as files, pytest.raises(ValueError, match="type is not valid"):
        unpack_part(message, files)
    (tmp_path / "a").write_bytes(PNG)
    with receiving(tmp_path, tmp_path.with_name(f"{tmp_path.name}-received"), max_bytes=1000) as files:
        fine = {**message, "sha256": hashlib.sha256(PNG).hexdigest(), "media_type": "image/png", "path": "a"}
        tmp_path.with_name(f"{tmp_path.name}-received").joinpath("1").unlink(missing_ok=True)
        assert unpack_part(fine, files)
