"""The result of one check.

Doctor checks the installation, health the running service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CheckStatus = Literal["ok", "warning", "broken"]
"""`broken`: something needed does not work; `warning`: something that is wanted is reduced."""


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one part, and what to do about it."""

    name: str
    status: CheckStatus
    summary: str = ""
    """One line for a person; also of a part that is `ok`, what it does not do because nothing asks for it."""
    advice: str = ""
    """What to do, unless the status is `ok` or the summary says it."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for a program; JSON values only."""
    latency_ms: float | None = None
    """How long a part of the running service took to answer; None where nothing was asked."""
