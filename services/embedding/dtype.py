"""Which arithmetic the models use on this machine, and why.

Asks the CPU, not torch, so `doctor` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.settings import Settings

BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")
"""Source: Linux, arch/x86/include/asm/cpufeatures.h. Without them bfloat16 is emulated and slower than float32."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The type that matrix products run in, and one phrase that says why."""

    dtype: Literal["float32", "bfloat16"]
    reason: str


def choose_arithmetic(settings: Settings, cpuinfo: Path = Path("/proc/cpuinfo")) -> Arithmetic:
    """The arithmetic of every model call, from the setting or from the CPU's flags."""
    if settings.model_dtype != "auto":
        return Arithmetic(settings.model_dtype, "set by DOCATLAS_MODEL_DTYPE")
    flags = _cpu_flags(cpuinfo)
    for flag in BFLOAT16_FLAGS:
        if flag in flags:
            return Arithmetic("bfloat16", f"the CPU has {flag}")
    return Arithmetic("float32", f"the CPU has none of {', '.join(BFLOAT16_FLAGS)}")


def _cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """The first core's flags.

    Empty where the system has no such file (then float32 is right or at least safe).
    """
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return frozenset(value.split())
    except OSError:
        return frozenset()
    return frozenset()
