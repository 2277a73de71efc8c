"""A parsing child whose reader of plain text does what a hostile file might make one do: the file names it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from services.content import Attachment, DocumentInfo, Issue, Page, Part, Picture, Upload
from services.formats.base import ExtractContext
from services.formats.registry import Format
from services.sandbox import child, task
from services.sandbox.wire import HEADER
from tests.support.escapes import attempts


def spin(context: ExtractContext) -> None:
    while True:
        pass


def spin_in_children(context: ExtractContext) -> None:
    for _ in range(4):
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
    time.sleep(3600)


def sleep(context: ExtractContext) -> None:
    time.sleep(3600)


def allocate(context: ExtractContext) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * 4 * 1024**2)


def allocate_in_children(context: ExtractContext) -> None:
    for _ in range(4):
        subprocess.Popen([sys.executable, "-c", "import time; hoard = b'x' * 200_000_000; time.sleep(3600)"])
    time.sleep(3600)


def reserve(context: ExtractContext) -> None:
    import mmap

    mmap.mmap(-1, 1 << 45)


def leave(context: ExtractContext) -> None:
    os._exit(3)


def segfault(context: ExtractContext) -> None:
    ctypes.string_at(0)


def abort(context: ExtractContext) -> None:
    os.abort()


def kill_guard(context: ExtractContext) -> None:
    ctypes.CDLL(None).kill(os.getppid(), 9)
    os.kill(os.getppid(), 9)


def print_a_gigabyte(context: ExtractContext) -> None:
    for _ in range(1024):
        os.write(1, b"x" * 1024**2)
        sys.stdout.write("x" * 1024)


def complain_a_gigabyte(context: ExtractContext) -> None:
    for _ in range(1024):
        os.write(2, b"x" * 1024**2)


def write_a_big_file(context: ExtractContext) -> None:
    with (context.folder / "big").open("wb") as file:
        while True:
            file.write(b"x" * 1024**2)


def write_many_files(context: ExtractContext) -> None:
    for number in range(10**6):
        (context.folder / str(number)).write_bytes(b"x" * 1024**2)


def open_many_files(context: ExtractContext) -> None:
    hoard = []
    for _ in range(10_000):
        hoard.append(os.open(os.devnull, os.O_RDONLY))


def fork_bomb(context: ExtractContext) -> None:
    for _ in range(300):
        if os.fork() == 0:
            os.setsid()
            time.sleep(3600)
    time.sleep(3600)


def recurse(context: ExtractContext) -> None:
    recurse(context)


def leave_unremovable_folder(context: ExtractContext) -> None:
    deep = context.folder / "deep"
    deep.mkdir()
    os.chdir(deep)
    for _ in range(2000):
        os.mkdir("x")
        os.chdir("x")
    locked = context.folder / "locked"
    locked.mkdir(mode=0o300)  # files can be put into it, and nobody can list it
    (locked / "file").touch()


MISDEEDS: Mapping[str, Callable[[ExtractContext], None]] = {
    function.__name__: function
    for function in (
        spin, spin_in_children, sleep, allocate, allocate_in_children, reserve, leave, segfault, abort, kill_guard,
        print_a_gigabyte, complain_a_gigabyte, write_a_big_file, write_many_files, open_many_files, fork_bomb, recurse,
        leave_unremovable_folder,
    )
}  # fmt: skip


def reports(word: str) -> Iterator[str]:
    """What a misdeed that answers has found out, one line each."""
    match word:
        case "try_network":
            for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_UNIX):
                try:
                    socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_DGRAM).close()
                    yield f"{family.name} open"
                except OSError as error:
                    yield f"{family.name} {error.strerror}"
        case "try_network_in_a_program":
            script = "import socket; socket.socket(socket.AF_INET)"
            done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False)
            yield f"exit {done.returncode}"
        case "try_disk":
            for path in ("/tmp/elsewhere", str(Path(__file__).with_suffix(".new"))):
                try:
                    Path(path).touch(exist_ok=False)
                    yield f"{path} written"
                except OSError as error:
                    yield f"{path} {type(error).__name__}"
            yield f"home {Path.home()}"
        case "leave_grandchild":
            yield f"{subprocess.Popen(['sleep', '3600']).pid} {os.getpid()}"
        case "leave_daemon":
            read, write = os.pipe()
            if os.fork() == 0:
                os.setsid()
                daemon = os.fork()
                if daemon:
                    os.write(write, f"{daemon} {os.getpid()}".encode())
                    os._exit(0)
                time.sleep(3600)
            yield os.read(read, 100).decode()


HANDED_OVER = {"picture": b"\x89PNG\r\n\x1a\n and more", "attachment": b"a note that is attached\n"}
"""What `hand_over` writes; a picture is told by its first bytes."""


def hand_over(context: ExtractContext, kind: str, what: str, when: str, secret: Path, digest: str) -> Iterator[Part]:
    """Hands over a picture or an attachment and puts something else in its place, `before` or `after` it is looked at.

    `secret` is named as the file that is handed over, in a folder of its own; `digest` is its SHA-256.
    """
    path = context.folder / secret.name
    path.write_bytes(HANDED_OVER[kind])
    sha256 = digest if when == "before" else hashlib.sha256(HANDED_OVER[kind]).hexdigest()
    if when == "before":
        swap(path, what, secret)
    if kind == "picture":
        yield Picture(1, path, sha256, "image/png", 1, 1)
    else:
        yield Attachment(path, "note.txt", "text/plain", sha256, len(HANDED_OVER[kind]))
    if when == "after":
        time.sleep(0.3)  # the server has looked at the file, and its page has not come yet
        swap(path, what, secret)
    yield Page(1, "here")


def swap(path: Path, what: str, secret: Path) -> None:
    path.unlink(missing_ok=True)
    match what:
        case "link":
            path.symlink_to(secret)
        case "other_bytes":
            path.write_bytes(b"\x89PNG\r\n\x1a\n planted")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.parent.rename(path.parent.with_name("aside"))
            path.parent.symlink_to(secret.parent)


def misbehave(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    word = upload.path.read_text().strip()
    yield DocumentInfo(page_count=1)
    if word.startswith("hand_over "):
        _, kind, what, when, digest, secret = word.split(" ", 5)
        yield from hand_over(context, kind, what, when, Path(secret), digest)
        return
    if word.startswith("escape "):
        os.chdir(context.folder)
        for name, outcome in attempts(json.loads(word.removeprefix("escape "))):
            yield Issue(outcome, name)
    if word in MISDEEDS:
        MISDEEDS[word](context)
    for line in reports(word):
        yield Issue("report", line)
    if word.startswith("leave_"):
        yield Page(1, "here")
        time.sleep(0 if word == "leave_unremovable_folder" else 3600)
    if word == "send_a_gigabyte":
        for number in range(1, 10**6):
            yield Page(number, "x" * 10**6)
    yield Page(1, word)


def serve(request: Mapping[str, Any], out: IO[bytes]) -> None:
    match request.get("format"), Path(request["upload"]["path"]).read_text().strip():
        case "text", "flood":
            out.write(HEADER.pack(2**31))
        case "text", "nonsense":
            out.write(HEADER.pack(4) + b"\xff\xfe{]")
        case "text", "nested_nonsense":
            out.write(HEADER.pack(200_000) + b"[" * 200_000)
        case "text", word if word.startswith("send "):
            body = word.removeprefix("send ").encode()
            out.write(HEADER.pack(len(body)) + body)
        case _:
            task.serve(request, out, {Format.TEXT: misbehave})
            return
    out.flush()
    time.sleep(3600)


if __name__ == "__main__":
    child.main(serve)
