"""The launcher, which has no ending of a module."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType


def load_launcher(path: Path) -> ModuleType:
    """The launcher as a module; its environment lies where DOCATLAS_VENV says."""
    loader = importlib.machinery.SourceFileLoader("docatlas_launcher", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
