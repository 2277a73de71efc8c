"""Mutates the samples of all formats and reads each through the real pool of parsing children.

    python -m bench.fuzz --count 20000 --seed 1 [--libreoffice]
    python -m bench.fuzz --seed 1 --case 'survey.docx#17' --keep /tmp/case

A case is a sample and a round; seed and case give the same bytes on every machine. A run that is interrupted goes on
where it was. It fails (exit status 1) on an error that is no DocatlasError, on a file that takes longer than its limit
and two seconds more, and when a folder or a process is left behind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.mutations import mutate
from services.content import Limits, Upload
from services.errors import DocatlasError
from services.formats.detection.detect import detect_format
from services.formats.office.libreoffice import find_libreoffice
from services.formats.registry import Format
from services.options import Options
from services.sandbox.extract import ExtractRequest, extract
from services.sandbox.pool import ChildPool

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
LIMITS = Limits(wall_s=5.0, cpu_s=10.0, memory_bytes=1024**3, max_output_bytes=256 * 1024**2)
GRACE_S = 2.0
"""What a file may take beyond its wall clock before it counts as a hang."""

_BATCH = 200
_SHOWN_PER_KIND = 5
_UNEXPECTED = frozenset({"parser_failed", "parser_crashed", "parser_output_invalid"})
"""Codes that say that an extractor was surprised: no failure of the fuzz, and worth a look each."""


@dataclass(frozen=True, slots=True)
class Case:
    """A mutation of a sample."""

    sample: Path
    round: int

    @property
    def name(self) -> str:
        return f"{self.sample.name}#{self.round}"


@dataclass(slots=True)
class Outcome:
    """What became of one case."""

    case: str
    mutation: str
    format: str
    code: str
    """`ok`, a problem's code, or `server_error`."""
    elapsed_s: float
    note: str = ""
    """What the child printed last, its guard's verdict, or the traceback of a server error."""

    @property
    def is_hang(self) -> bool:
        return self.elapsed_s > LIMITS.wall_s + GRACE_S


@dataclass(slots=True)
class Tally:
    """The sum of all outcomes, as it is kept in the state file."""

    next: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """By `format code`."""
    crashes: Counter[str] = field(default_factory=Counter)
    """By `format verdict`."""
    findings: dict[str, list[str]] = field(default_factory=dict)
    """Some cases of each kind of surprise."""
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.outcomes[f"{outcome.format} {outcome.code}"] += 1
        self.slowest_s = max(self.slowest_s, outcome.elapsed_s)
        if outcome.code == "parser_crashed":
            self.crashes[f"{outcome.format} {outcome.note}"] += 1
        if outcome.code in _UNEXPECTED or outcome.code.startswith("parse_"):
            kind = f"{outcome.format} {outcome.code}: {outcome.note[-160:]}"
            shown = self.findings.setdefault(kind, [])
            if len(shown) < _SHOWN_PER_KIND:
                shown.append(f"{outcome.case} ({outcome.mutation}, {outcome.elapsed_s:.1f} s)")
        if outcome.code == "server_error":
            self.failures.append(f"server error at {outcome.case} ({outcome.mutation}):\n{outcome.note}")
        elif outcome.is_hang:
            self.failures.append(f"hang at {outcome.case} ({outcome.mutation}): {outcome.elapsed_s:.1f} s")


class _Notes(logging.Handler):
    """Keeps the last line that each thread logged about its child."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._of = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        self._of.verdict = lines[0] if lines else ""
        self._of.last = lines[-1] if lines else ""

    def take(self) -> tuple[str, str]:
        """The first and the last line of what this thread logged since the call before."""
        taken = getattr(self._of, "verdict", ""), getattr(self._of, "last", "")
        self._of.verdict = self._of.last = ""
        return taken


def samples(folder: Path = DATA) -> list[Path]:
    """Every sample of a format that is read, in order of their names."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix != ".py":
            try:
                detect_format(path, path.name, LIMITS)
            except DocatlasError:
                continue
            found.append(path)
    return found


def cases(sample_files: Sequence[Path], start: int, count: int) -> Iterator[Case]:
    """The cases `start` to `count`: round after round over all samples."""
    for index in range(start, count):
        yield Case(sample_files[index % len(sample_files)], index // len(sample_files))


class Fuzz:
    """Runs cases in threads, each with a child of its own."""

    def __init__(self, sample_files: Sequence[Path], seed: int, scratch: Path, *, libreoffice: bool = False) -> None:
        self._contents = {path: path.read_bytes() for path in sample_files}
        self._files = list(sample_files)
        self._seed = seed
        self._scratch = scratch
        self._libreoffice = find_libreoffice() if libreoffice else None
        self._pool = ChildPool()
        self._pool.warm_up(wait_s=60.0)
        self._notes = _Notes()
        self._known = {child.pid for child in psutil.Process().children(recursive=True)}

    def bytes_of(self, case: Case) -> tuple[str, bytes]:
        """The kinds of mutation and the file."""
        key = f"{self._seed}:{case.name}"
        other = self._files[int(hashlib.sha256(key.encode()).hexdigest(), 16) % len(self._files)]
        return mutate(self._contents[case.sample], self._contents[other], key)

    def run(self, case: Case) -> Outcome:
        """Reads one case; never raises."""
        mutation, data = self.bytes_of(case)
        path = self._scratch / f"case-{threading.get_ident()}"
        path.write_bytes(data)
        format, code, note = "unknown", "ok", ""
        self._notes.take()
        start = time.monotonic()
        try:
            detection = detect_format(path, case.sample.name, LIMITS)
            format = detection.format.value
            for _ in extract(self._request(path, case, detection.format), scratch=self._scratch, pool=self._pool):
                pass
        except DocatlasError as error:
            code = error.code
            first, last = self._notes.take()
            note = first if code == "parser_crashed" else last
        except Exception:
            # The boundary: this is what the fuzz looks for.
            code, note = "server_error", traceback.format_exc()
        elapsed_s = time.monotonic() - start
        path.unlink()
        return Outcome(case.name, mutation, format, code, elapsed_s, note)

    def _request(self, path: Path, case: Case, format: Format) -> ExtractRequest:
        return ExtractRequest(
            upload=Upload(path, case.sample.name, "", "0" * 64, path.stat().st_size),
            format=format,
            options=Options(ocr="off"),
            limits=LIMITS,
            libreoffice=self._libreoffice,
        )

    def run_all(self, wanted: Iterable[Case], threads: int) -> Iterator[Outcome]:
        """The outcomes in order. A case that hangs is run again by itself: an overloaded machine is no finding."""
        wanted = list(wanted)
        with ThreadPoolExecutor(threads) as executor:
            outcomes = list(executor.map(self.run, wanted))
        for case, outcome in zip(wanted, outcomes, strict=True):
            yield self.run(case) if outcome.is_hang else outcome

    def left_behind(self) -> list[str]:
        """What should be gone between two batches: folders, and processes beside the templates."""
        left = [str(path) for path in self._scratch.iterdir()]
        for _ in range(100):
            running = {child.pid for child in psutil.Process().children(recursive=True)}
            extra = running - self._known - self._pool.template_pids
            if not extra:
                return left
            time.sleep(0.1)
        return left + [f"process {pid}" for pid in sorted(extra)]

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Reads along what the supervisor logs, inside the block."""
        log = logging.getLogger("services.sandbox.supervisor")
        level, passes_on = log.level, log.propagate
        log.setLevel(logging.INFO)
        log.propagate = False
        log.addHandler(self._notes)
        try:
            yield
        finally:
            log.removeHandler(self._notes)
            log.setLevel(level)
            log.propagate = passes_on

    def close(self) -> None:
        self._pool.close()


def _load(state: Path, key: str) -> Tally:
    """What an interrupted run with the same seed and samples has found; else nothing."""
    if not state.exists():
        return Tally()
    kept: dict[str, Any] = json.loads(state.read_text("utf-8"))
    if kept.pop("key") != key:
        print(f"{state} belongs to another seed or to other samples; starting over", file=sys.stderr)
        return Tally()
    return Tally(**{**kept, "outcomes": Counter(kept["outcomes"]), "crashes": Counter(kept["crashes"])})


def _save(state: Path, key: str, tally: Tally) -> None:
    kept = {"key": key, **{name: getattr(tally, name) for name in Tally.__slots__}}
    partial = state.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1), "utf-8")
    partial.replace(state)


def _show(tally: Tally) -> None:
    print(f"{tally.next} cases, the slowest took {tally.slowest_s:.1f} s\n\nformat and outcome, cases:")
    for kind, count in sorted(tally.outcomes.items()):
        print(f"  {kind:44} {count:6}")
    print("\ncrashes of the child by kind:" + ("" if tally.crashes else " none"))
    for kind, count in sorted(tally.crashes.items()):
        print(f"  {kind:44} {count:6}")
    print("\nsurprises and limits passed, with some cases of each:" + ("" if tally.findings else " none"))
    for kind, shown in sorted(tally.findings.items()):
        print(f"  {kind}\n      " + "\n      ".join(shown))
    print(f"\nfailures: {len(tally.failures)}")
    for failure in tally.failures:
        print(f"  {failure}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "docatlas-fuzz.json")
    parser.add_argument("--libreoffice", action="store_true", help="convert old Office files too (slow)")
    parser.add_argument("--case", help="run this one case only and print what becomes of it")
    parser.add_argument("--keep", type=Path, help="with --case: write the mutated file there")
    arguments = parser.parse_args()
    files = samples()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        fuzz = Fuzz(files, arguments.seed, Path(folder), libreoffice=arguments.libreoffice)
        try:
            with fuzz.noted():
                if arguments.case:
                    return _run_one(fuzz, files, arguments.case, arguments.keep)
                return _run_many(fuzz, files, arguments)
        finally:
            fuzz.close()


def _run_one(fuzz: Fuzz, files: Sequence[Path], name: str, keep: Path | None) -> int:
    sample, _, number = name.rpartition("#")
    case = Case(next(path for path in files if path.name == sample), int(number))
    if keep is not None:
        keep.write_bytes(fuzz.bytes_of(case)[1])
    print(fuzz.run(case))
    return 0


def _run_many(fuzz: Fuzz, files: Sequence[Path], arguments: argparse.Namespace) -> int:
    digests = [hashlib.sha256(path.name.encode() + path.read_bytes()).hexdigest() for path in files]
    key = f"{arguments.seed}:{hashlib.sha256(''.join(digests).encode()).hexdigest()}"
    tally = _load(arguments.state, key)
    while tally.next < arguments.count:
        end = min(tally.next + _BATCH, arguments.count)
        for outcome in fuzz.run_all(cases(files, tally.next, end), arguments.threads):
            tally.add(outcome)
        tally.next = end
        tally.failures += [f"left behind before case {end}: {thing}" for thing in fuzz.left_behind()]
        _save(arguments.state, key, tally)
        print(f"{end} of {arguments.count}, {len(tally.failures)} failures", file=sys.stderr, flush=True)
    _show(tally)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
