"""A real server in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.paths import ROOT
from tests.support.waiting import wait_for


class Server:
    """A real server process and a client for it."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.environment = {**os.environ, "DOCATLAS_TEXT_MODEL": "hash", **environment}
        self.process: subprocess.Popen[str] | None = None
        self.base = ""

    def start(self) -> None:
        """Starts the process on a free port and waits until it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve", "--port", "0", "--data-dir", str(self.data_dir)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        printed: list[str] = []
        for line in self.process.stdout:
            printed.append(line)
            if "http://127.0.0.1:" in line:
                self.base = "http://127.0.0.1:" + line.split("http://127.0.0.1:")[1].split()[0].strip("/.,")
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(printed))
        wait_for(lambda: _is_ready(self.base))

    def kill(self) -> None:
        """Ends the process as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._close()

    def stop(self) -> int:
        """Ends the process as an operator would; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        self._close()
        return status

    def _close(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base, timeout=60)


def _is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
