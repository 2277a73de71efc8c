"""Operators are registered for the life of a process, so what defines them runs in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ENSURE = "from services.embedding.torch_compat import ensure_torchvision_operators as ensure\n"

PACKAGES = ("transformers", "sentence_transformers", "open_clip")
BUILDS_MATCH = """
import importlib.util, pathlib, torch
origin = pathlib.Path(importlib.util.find_spec("torchvision").origin).parent
try:
    torch.ops.load_library(str(next(origin.glob("_C.*"))))
except OSError:
    matching = False
else:
    matching = True
"""


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_operators_are_defined_exactly_where_the_builds_do_not_match() -> None:
    _run(
        BUILDS_MATCH + ENSURE + "assert ensure() == (() if matching else ('nms', 'qnms')), ensure()\n"
        "assert ensure() == ()\n"
        "for name in ('nms', 'qnms'): torch._C._dispatch_find_schema_or_throw('torchvision::' + name, '')\n"
        "import torchvision\n"
    )


def test_nothing_is_redefined_where_the_operators_are_there() -> None:
    _run(
        "import torch\n"
        "builds_own = torch.library.Library('torchvision', 'FRAGMENT')\n"
        "for name in ('nms', 'qnms'):\n"
        "    builds_own.define(name + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "builds_own.impl('nms', lambda dets, scores, iou_threshold: scores + 1, 'CPU')\n"
        + ENSURE
        + "assert ensure() == ()\n"
        "assert torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5).item() == 1\n"
    )


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What importing each package brought, in one process that defined the operators first."""
    code = (
        ENSURE
        + "ensure()\n"
        + "import importlib, json, sys, traceback, warnings\n"
        + "warnings.simplefilter('default')\n"
        + "outcomes = {}\n"
        + "for package in sys.argv[1:]:\n"
        + "    try:\n"
        + "        importlib.import_module(package)\n"
        + "        outcomes[package] = 'imported'\n"
        + "    except BaseException:\n"
        + "        outcomes[package] = traceback.format_exc()\n"
        + "print(json.dumps(outcomes))\n"
    )
    found: dict[str, str] = json.loads(_run(code, *PACKAGES))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_that_use_torchvision_can_be_imported_afterwards(package: str, outcomes: dict[str, str]) -> None:
    assert outcomes[package] == "imported"
