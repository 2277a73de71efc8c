"""Makes `import torchvision` work with a torch for the CPU.

Where the torchvision wheel was linked for CUDA.

There its shared library does not load, the operators `torchvision::nms` and `qnms` are never defined, and registering
their shape functions raises `operator torchvision::nms does not exist`; transformers, sentence-transformers and
open_clip then fail to import too. Nothing here runs those operators: they only have to exist.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
"""Source: torchvision 0.28, torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp (TORCH_LIBRARY_FRAGMENT)."""

_lock = threading.Lock()
_libraries: list[Any] = []  # a torch.library.Library takes its definitions away when it is collected


def ensure_torchvision_operators() -> tuple[str, ...]:
    """Defines the operators that torchvision's own library fails to define.

    Returns their names, empty where none.

    Call it before transformers, sentence_transformers or open_clip is imported. Does nothing where torchvision is
    absent, or where its library loads (the builds match). Safe to call again and from several threads.
    """
    if importlib.util.find_spec("torchvision") is None:
        return ()
    with _lock:
        missing = [name for name in SCHEMAS if not _is_defined(name)]
        if not missing or _own_library_loads():
            return ()
        import torch

        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in missing:
            library.define(SCHEMAS[name])
        _libraries.append(library)
        return tuple(missing)


def _is_defined(name: str) -> bool:
    import torch

    return bool(torch._C._dispatch_has_kernel(f"torchvision::{name}"))


def _own_library_loads() -> bool:
    """True if torchvision's shared library loads, and by that defines the operators itself."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for path in sorted(Path(spec.origin).parent.glob("_C*")):
        if path.suffix not in (".so", ".pyd", ".dylib"):
            continue
        try:
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError):
            continue
        if all(_is_defined(name) for name in SCHEMAS):
            return True
    return False
