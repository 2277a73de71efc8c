"""Where the launcher takes PyTorch from: indexes on loopback that hold tiny wheels of that name, and the real pip."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.launcher import load_launcher
from tests.support.package_index import Indexes, open_indexes, write_wheel

ROOT = Path(__file__).resolve().parents[1]

PINS = {"torch": "2.13.0", "torchvision": "0.28.0"}
LOCK = "# what is needed\n" + "".join(f"{name}=={version}\n" for name, version in PINS.items())
INSTALL = (
    "import json, sys; sys.path.insert(0, {root!r})\n"
    "from tests.support.launcher import load_launcher\n"
    "from pathlib import Path\n"
    "launcher = load_launcher(Path(sys.argv[1]))\n"
    "launcher.install([sys.argv[2]], **json.loads(sys.argv[3]))\n"
)


@pytest.fixture(scope="module")
def launcher() -> ModuleType:
    return load_launcher(ROOT / "docatlas")


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[Indexes]:
    """The index `default` has plain builds, `cpu` local versions, and `foreign` none that fits."""
    folder = tmp_path / "indexes"
    for name, version in PINS.items():
        write_wheel(folder / "default", name, version)
        write_wheel(folder / "cpu", name, f"{version}+cpu")
        write_wheel(folder / "foreign", name, f"{version}+cpu", tag="cp311-cp311-win_arm64")
    with open_indexes(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment without packages; it is copied, and the copy used."""
    folder = tmp_path_factory.mktemp("environment") / "empty"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


class Clone:
    """The launcher with a lock of PyTorch's packages alone, and an environment of its own."""

    def __init__(self, folder: Path, environment: Path, indexes: Indexes) -> None:
        self.folder, self.venv, self.indexes = folder, folder / "venv", indexes
        folder.mkdir()
        shutil.copytree(environment, self.venv, symlinks=True)
        shutil.copy(ROOT / "docatlas", folder / "docatlas")
        (folder / "requirements.lock").write_text(LOCK, encoding="utf-8")
        (folder / "cli").mkdir()
        (folder / "cli" / "__init__.py").touch()
        (folder / "cli" / "__main__.py").touch()

    def _environment(self, **more: str) -> dict[str, str]:
        """Neither the configuration of this machine's pip nor its proxies."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        own |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "NO_PROXY": "*"}
        return own | {"PIP_INDEX_URL": self.indexes.address("default"), "DOCATLAS_VENV": str(self.venv), **more}

    def start(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command, as its user starts it."""
        command = [sys.executable, str(self.folder / "docatlas"), "jobs"]
        own = self._environment(**environment)
        return subprocess.run(command, env=own, cwd=self.folder, capture_output=True, text=True)

    def install(self, cpu_index: str) -> str:
        """The launcher's installation on a Linux without a driver, with another CPU index; what it printed."""
        options = {"cpu_index": cpu_index, "platform": "linux", "root": str(self.folder), "path": ""}
        command = [sys.executable, "-c", INSTALL.format(root=str(ROOT)), str(self.folder / "docatlas")]
        done = subprocess.run(
            [*command, str(self.folder / "requirements.lock"), json.dumps(options)],
            env=self._environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def installed(self) -> dict[str, str]:
        """Package to version of what PyTorch's packages became."""
        found = (path.name.removesuffix(".dist-info").partition("-") for path in self.venv.rglob("torch*.dist-info"))
        return {name: version for name, _, version in found}


CPU_BUILDS = {name: f"{version}+cpu" for name, version in PINS.items()}


@pytest.fixture
def clone(tmp_path: Path, empty_environment: Path, indexes: Indexes) -> Clone:
    return Clone(tmp_path / "clone", empty_environment, indexes)


@contextmanager
def _answering(words: list[bytes], pause_s: float) -> Iterator[str]:
    """A server that takes one connection and says `words`, each after a pause, and then nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ended = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for word in words:
                    if ended.wait(pause_s):
                        return
                    connection.sendall(word)
                ended.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def _closed_port() -> str:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{once.getsockname()[1]}"


def test_without_a_driver_the_cpu_index_is_used_and_asked_once(clone: Clone, indexes: Indexes) -> None:
    said = clone.install(indexes.address("cpu"))
    assert "no NVIDIA driver" in said
    assert clone.installed() == CPU_BUILDS
    assert not [path for path in indexes.asked if path.startswith("/default/") and path.endswith(".whl")]
    indexes.asked.clear()
    again = clone.start()
    assert (again.returncode, again.stderr) == (0, "")
    assert indexes.asked == []


@pytest.mark.parametrize("sign", ["proc/driver/nvidia/version", "dev/nvidiactl", "usr/lib/wsl/lib/libcuda.so.1"])
def test_a_driver_is_recognised(launcher: ModuleType, tmp_path: Path, sign: str) -> None:
    assert not launcher.has_nvidia_driver(str(tmp_path), path="")
    (tmp_path / sign).parent.mkdir(parents=True)
    (tmp_path / sign).touch()
    assert launcher.has_nvidia_driver(str(tmp_path), path="")


def test_the_drivers_program_on_path_is_recognised(launcher: ModuleType, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.touch(mode=0o755)
    assert launcher.has_nvidia_driver(str(tmp_path), path=str(program.parent))
    assert not launcher.has_nvidia_driver(str(tmp_path), path=str(tmp_path))


@pytest.mark.parametrize(("platform", "has_driver"), [("linux", True), ("darwin", False), ("win32", False)])
def test_with_a_driver_and_on_other_systems_the_cpu_index_is_not_asked(
    launcher: ModuleType, indexes: Indexes, tmp_path: Path, platform: str, has_driver: bool
) -> None:
    driver = tmp_path / "proc" / "driver" / "nvidia" / "version"
    driver.parent.mkdir(parents=True)
    if has_driver:
        driver.touch()
    launcher.install_torch(["torch==2.13.0"], indexes.address("cpu"), platform, str(tmp_path), "")
    assert indexes.asked == []


def test_an_index_out_of_reach_is_said_in_one_line_and_the_default_one_is_used(clone: Clone) -> None:
    address = _closed_port()
    said = clone.install(address)
    assert clone.installed() == PINS
    [line] = [line for line in said.splitlines() if address in line]
    assert line.startswith(
        f"docatlas: {address}: [Errno 111] Connection refused; PyTorch is taken from pip's default index. "
    )
    assert "3 GB" in line
    assert "DOCATLAS_TORCH_INDEX" in line
    again = clone.start()
    assert (again.returncode, again.stderr) == (0, "")


def test_an_index_without_a_build_for_this_machine_is_no_obstacle(clone: Clone, indexes: Indexes) -> None:
    said = clone.install(indexes.address("foreign"))
    assert clone.installed() == PINS
    assert "PyTorch is taken from pip's default index" in said


def test_an_index_that_says_nothing_is_given_up_after_five_seconds(launcher: ModuleType) -> None:
    assert launcher.INDEX_S == 5.0
    with _answering([], 0) as address:
        began = time.monotonic()
        problem = launcher.index_problem(address)
        assert 4.9 < time.monotonic() - began < 6.0
    assert problem in ("no answer within 5 s", "timed out")


def test_an_index_that_never_comes_to_an_end_is_given_up_in_all(launcher: ModuleType) -> None:
    header = [b"HTTP/1.1 200 OK\r\n", *[b"X-Wait: 1\r\n"] * 60]
    with _answering(header, 0.1) as address:
        began = time.monotonic()
        assert launcher.index_problem(address, 1.0) == "no answer within 1 s"
        assert time.monotonic() - began < 2.0


def test_what_an_index_says_that_speaks_no_http_is_told_in_one_line_without_control_characters(
    launcher: ModuleType,
) -> None:
    with _answering([b"\x1b]0;title\x07 nonsense\r\n\r\n"], 0) as address:
        problem = launcher.index_problem(address)
    assert "nonsense" in problem
    assert problem.isprintable()


def test_an_index_that_refuses_says_why(launcher: ModuleType, indexes: Indexes) -> None:
    assert launcher.index_problem(indexes.address("absent")) == "it answers 404"
    assert launcher.index_problem(indexes.address("cpu/")) == ""
    assert "unknown url type" in launcher.index_problem("nonsense")


def test_the_setting_overrides_and_a_change_of_it_takes_effect(clone: Clone, indexes: Indexes) -> None:
    first = clone.start(DOCATLAS_TORCH_INDEX="default")
    assert first.returncode == 0, first.stderr
    assert clone.installed() == PINS
    changed = clone.start(DOCATLAS_TORCH_INDEX=indexes.address("cpu"))
    assert changed.returncode == 0, changed.stderr
    assert clone.installed() == CPU_BUILDS
    indexes.asked.clear()
    unset = clone.start()
    assert unset.returncode == 0, unset.stderr
    assert clone.installed() == CPU_BUILDS
    assert indexes.asked == []


def test_an_index_that_was_set_and_fails_stops_the_start(clone: Clone, indexes: Indexes) -> None:
    failed = clone.start(DOCATLAS_TORCH_INDEX=indexes.address("foreign"))
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("docatlas: the installation failed")
    assert clone.installed() == {}


def test_a_setting_that_is_no_address_is_one_line(clone: Clone) -> None:
    wrong = clone.start(DOCATLAS_TORCH_INDEX="cpu")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error [invalid_setting]: DOCATLAS_TORCH_INDEX")
    assert len(wrong.stderr.splitlines()) == 1


def test_the_locks_pins_are_found(launcher: ModuleType) -> None:
    assert launcher.torch_pins([str(ROOT / "requirements.lock")]) == [f"{name}=={PINS[name]}" for name in PINS]
