"""Names of uploaded files: a name is text to show, never a path."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME_CHARS = 255
"""Source: NAME_MAX of Linux and the limit of NTFS, so that a download can keep the name."""

UNNAMED = "unnamed"

_KEPT_FORMAT_CHARS = "\u200c\u200d"
"""Zero-width (non-)joiners: Persian and Indic names need them; every other format character can hide something."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Source: Microsoft, "Naming Files, Paths, and Namespaces"."""


def display_name(raw: str) -> str:
    """`raw` as a file name to show and to store; `unnamed` when nothing is left.

    The last path component, without control and direction characters, NFC, at most 255 characters.
    """
    shown = "".join(_shown(char) for char in raw)
    last = re.split(r"[/\\]", shown)[-1]
    name = re.sub(r"\s+", " ", unicodedata.normalize("NFC", last)).strip()
    if not name.strip(". "):
        return UNNAMED
    if len(name) > MAX_NAME_CHARS:
        stem, dot, extension = name.rpartition(".")
        tail = dot + extension if stem and len(extension) <= 16 else ""
        name = name[: MAX_NAME_CHARS - len(tail)].rstrip() + tail
    return name


def member_name(raw: str) -> str:
    """`raw` as the name of a child document: folders parted by `/`.

    Each part is cleaned as a file name is; at most 255 characters. Nothing is ever written under it: `..` and drive
    letters are left out to be read, not to be safe.
    """
    steps = [step for step in raw.replace("\\", "/").split("/") if step.strip() not in ("", ".", "..")]
    named = [display_name(step) for step in steps] or [UNNAMED]
    while len(named) > 1 and len("/".join(named)) > MAX_NAME_CHARS:
        named.pop(0)
    return "/".join(named)


def download_name(name: str) -> str:
    """`name` as a file name that Linux, macOS and Windows can all keep."""
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", display_name(name)).rstrip(". ")
    safe = safe.lstrip("-~ ")
    return f"_{safe}" if not safe or _RESERVED.fullmatch(safe) else safe


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Zl", "Zp") or char in "\t\r\n":
        return " "
    if category in ("Cc", "Cf", "Cs") and char not in _KEPT_FORMAT_CHARS:
        return ""
    return char
