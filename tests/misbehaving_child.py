"""A parsing child that does what a hostile file might make one do; run by tests/test_extract_isolation.py."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

from services.extract.child import lay_limits, main
from services.extract.wire import HEADER, frame, unpack_limits


def misbehave(request: Mapping[str, Any], out: IO[bytes]) -> None:
    lay_limits(unpack_limits(request["limits"]))
    match request["task"]:
        case "spin":
            while True:
                pass
        case "sleep":
            time.sleep(3600)
        case "allocate":
            hoard = []
            while True:
                hoard.append(bytearray(16 * 1024**2))
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "print":
            for _ in range(1024):
                sys.stdout.write("x" * 1024**2)
            out.write(frame({"type": "end"}))
        case "flood":
            out.write(HEADER.pack(2**31))
            out.flush()
            time.sleep(3600)
        case "nonsense":
            out.write(HEADER.pack(4) + b"\xff\xfe{]")
            out.flush()
            time.sleep(3600)
        case "leave_grandchild":
            grandchild = subprocess.Popen(["sleep", "3600"])
            out.write(frame({"type": "grandchild", "pid": grandchild.pid, "worker": os.getpid()}))
            out.flush()
            time.sleep(3600)


if __name__ == "__main__":
    main(misbehave)
