"""Runs the commands of the documentation as they are printed, with the real curl, against a server of the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PRINTED = "127.0.0.1:8000"
"""The address that the documentation names."""


@dataclass(slots=True)
class Printed:
    """What a command printed, and the status of each HTTP answer that curl had."""

    output: str
    statuses: list[int]


@dataclass(slots=True)
class Shell:
    """A bash that keeps the variables which its commands set.

    curl connects to `port` instead of the printed address: its configuration says so, not the commands.
    """

    folder: Path
    port: int
    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert shutil.which("curl"), "the examples of the documentation need curl"
        configuration = f'connect-to = "{PRINTED}:127.0.0.1:{self.port}"\nwrite-out = "%{{stderr}}%{{http_code}}\\n"\n'
        (self.folder / ".curlrc").write_text(configuration, encoding="utf-8")
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        if not (programs / "python3").exists():
            (programs / "python3").symlink_to(sys.executable)

    def run(self, commands: str, *, names: tuple[str, ...] = ()) -> Printed:
        """Runs `commands`; the shell variables in `names` are known to later ones."""
        saving = "".join(f'printf "%s" "${name}" > "$CURL_HOME/variable.{name}"\n' for name in names)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            **self.variables,
            "CURL_HOME": str(self.folder),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", f"{commands}\n{saving}"],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        for name in names:
            self.variables[name] = (self.folder / f"variable.{name}").read_text(encoding="utf-8")
        return Printed(done.stdout, [int(line) for line in done.stderr.split() if line.isdecimal()])
