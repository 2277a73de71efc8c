"""A process that has loaded the parsers and forks a guard with its worker for each document: no start-up, no state.

`python -m services.sandbox.template MODULE [--no-namespaces] [TOKENIZER]`, with a Unix socket as input, started by
services.sandbox.pool only. A message is a JSON object (`folder`) with four descriptors: the child's standard input,
output and error, and its status pipe. The template says `ready` once, and `unfit` when it has more than one thread:
then a fork would copy locks that nobody will ever release. It ends when the socket closes; the children do not need it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from typing import NoReturn

from services.sandbox import namespaces
from services.sandbox.child import TOGETHER, Serve, run_guarded
from services.sandbox.usage import descendants

READY, UNFIT = b"r", b"u"

_PRELOADED = (
    "numpy", "lxml.etree", "lxml.html", "PIL.Image", "PIL.ImageOps", "pypdfium2", "pdfplumber", "tokenizers",
    "charset_normalizer", "markdown_it", "xlrd", "ijson",
    "docutils.core", "docutils.parsers.rst", "olefile", "msoffcrypto", "email.parser", "csv", "zipfile",
)  # fmt: skip
"""What parsing takes long to import and what starts no thread. onnxruntime and RapidOCR are not among it: the import
alone starts one."""

_REAP_EVERY_MS = 250


def main() -> NoReturn:
    """Loads everything, then forks a child for each message, until the server closes the socket."""
    uses_namespaces = TOGETHER not in sys.argv
    module, *rest = (argument for argument in sys.argv[1:] if argument != TOGETHER)
    tokenizer = rest[0] if rest else None
    control = socket.socket(fileno=os.dup(0))
    namespaces.adopt_orphans()
    if uses_namespaces:
        namespaces.leave_network()
    serve: Serve = importlib.import_module(module).serve
    _load(tokenizer)
    if sys.platform == "linux" and len(os.listdir("/proc/self/task")) > 1:
        control.sendall(UNFIT)
        os._exit(0)
    # The collector's marks would make each child copy the pages that they lie on.
    gc.collect()
    gc.freeze()
    with suppress(OSError):
        control.sendall(READY)
        _fork_for_messages(control, serve, uses_namespaces)
    os._exit(0)


def _load(tokenizer: str | None) -> None:
    from services import formats
    from services.embedding.tokenizer import load_tokenizer

    extractors = [module.name for module in pkgutil.walk_packages(formats.__path__, f"{formats.__name__}.")]
    for name in (*_PRELOADED, *extractors):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            continue  # what needs it says so when a file asks for it
        except Exception as error:  # the boundary: a module that does not load costs its own format, not all of them
            print(f"{name} is not loaded beforehand: {error}", file=sys.stderr)
    if tokenizer is not None and os.path.isfile(tokenizer):
        load_tokenizer(tokenizer).encode("warm")


def _fork_for_messages(control: socket.socket, serve: Serve, uses_namespaces: bool) -> None:
    children: set[int] = set()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    is_alone = True
    while True:
        if not poll.poll(None if is_alone else _REAP_EVERY_MS):
            is_alone = _reap(children)
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 4)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            try:
                _become_child(control, json.loads(message)["folder"], descriptors, serve, uses_namespaces)
            finally:
                os._exit(70)
        children.add(pid)
        for descriptor in descriptors:
            os.close(descriptor)
        is_alone = _reap(children)


def _become_child(
    control: socket.socket, folder: str, descriptors: list[int], serve: Serve, uses_namespaces: bool
) -> NoReturn:
    os.setsid()
    control.close()
    for standard, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    tempfile.tempdir = None
    run_guarded(serve, descriptors[3], uses_namespaces)


def _reap(children: set[int]) -> bool:
    """Takes leave of guards that have ended, and kills what a guard that was killed left; True when nobody is left."""
    try:
        while ended := os.waitpid(-1, os.WNOHANG)[0]:
            children.discard(ended)
    except ChildProcessError:
        return True
    own = os.getpid()
    for pid in descendants(own):
        if pid not in children and _parent_of(pid) == own:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return False


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None


if __name__ == "__main__":
    main()
