"""The options of one ingest, and the check of what a caller gives.

Imports nothing heavy: the parsing child uses it too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from services.errors import FieldError, InvalidOption

OCR_MODES = ("auto", "force", "off")
MIN_CHUNK_SIZE, MAX_CHUNK_SIZE = 100, 20_000
MAX_LANGUAGES = 8
MAX_PASSWORD_CHARS = 1024
_PAGE_RANGES = re.compile(r"\s*\d{1,7}\s*(-\s*\d{0,7}\s*)?(,\s*\d{1,7}\s*(-\s*\d{0,7}\s*)?)*")
_PAGE_RANGE = re.compile(r"(\d+)(-(\d*))?")
_LANGUAGE = re.compile(r"[A-Za-z0-9_]{2,32}(/[A-Za-z0-9_]{2,32})?")


@dataclass(frozen=True, slots=True)
class Options:
    """How one file is to be read and cut.

    The password travels beside it, never in it: it is not stored.
    """

    chunk_size: int = 1000
    """Characters of a chunk, at most."""
    chunk_overlap: int = 200
    """Characters that two neighbouring chunks share, at most."""
    ocr: str = "auto"
    ocr_languages: tuple[str, ...] = ("eng",)
    extract_images: bool = True
    pages: str = ""
    """Pages to read, as in `1-3,7` or `5-`; empty for all."""
    embed: bool = True
    """False stores the text without vectors (`POST /process`)."""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ocr_languages": list(self.ocr_languages)}

    def wants_page(self, number: int) -> bool:
        """True when page `number` (from 1) is among `pages`."""
        if not self.pages:
            return True
        for part in self.pages.split(","):
            first, dash, last = part.partition("-")
            low = int(first)
            high = low if not dash else (int(last) if last.strip() else number)
            if low <= number <= high:
                return True
        return False


def parse_options(
    given: Mapping[str, Any] | None,
    *,
    defaults: Options = Options(),
    at: str = "/options",
    is_request: bool = False,
) -> Options:
    """`defaults` with `given` laid over it; null means absent.

    A password is checked and left out. `at` is the pointer to `given` in the request. A request may not give `embed`,
    which a stored document's options hold. Raises InvalidOption with one FieldError for each thing that is wrong.
    """
    if given is not None and not isinstance(given, Mapping):
        raise InvalidOption("`options` must be a JSON object.", errors=(FieldError(at, "must be an object"),))
    names = [name for name in _PARSERS if not (is_request and name == "embed")]
    wrong: list[FieldError] = []
    known: dict[str, Any] = {}
    for name, value in (given or {}).items():
        if value is None:
            continue
        try:
            if name == "password":
                _check_password(value)
            elif name in names:
                known[name] = _PARSERS[name](value)
            else:
                raise ValueError("is not an option; known are " + ", ".join([*names, "password"]))
        except ValueError as error:
            wrong.append(FieldError(f"{at}/{pointer_step(name)}", str(error)))
    options = replace(defaults, **known)
    if not wrong and options.chunk_overlap >= options.chunk_size:
        wrong.append(FieldError(f"{at}/chunk_overlap", "must be smaller than chunk_size"))
    if wrong:
        raise InvalidOption("; ".join(f"{e.pointer} {e.message}" for e in wrong) + ".", errors=tuple(wrong))
    return options


def pointer_step(name: str) -> str:
    """`name`, at most 200 characters of it, as a step of an RFC 6901 pointer."""
    return name[:200].replace("~", "~0").replace("/", "~1")


def _parse_chunk_size(value: Any) -> int:
    if not _is_int(value) or not MIN_CHUNK_SIZE <= value <= MAX_CHUNK_SIZE:
        raise ValueError(f"must be an integer from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE}")
    return int(value)


def _parse_chunk_overlap(value: Any) -> int:
    if not _is_int(value) or value < 0:
        raise ValueError("must be an integer of at least 0")
    return int(value)


def _parse_ocr(value: Any) -> str:
    if value not in OCR_MODES:
        raise ValueError("must be one of " + ", ".join(OCR_MODES))
    return str(value)


def _parse_languages(value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple)) and 1 <= len(value) <= MAX_LANGUAGES
    if not is_list or not all(isinstance(code, str) and _LANGUAGE.fullmatch(code) for code in value):
        raise ValueError(f'must be a list of 1 to {MAX_LANGUAGES} Tesseract language codes, such as ["eng", "deu"]')
    return tuple(value)


def _parse_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _parse_pages(value: Any) -> str:
    if not isinstance(value, str) or not _names_pages(value):
        raise ValueError("must name pages from 1, such as `1-3,7`")
    return re.sub(r"\s+", "", value)


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "chunk_size": _parse_chunk_size,
    "chunk_overlap": _parse_chunk_overlap,
    "ocr": _parse_ocr,
    "ocr_languages": _parse_languages,
    "extract_images": _parse_bool,
    "pages": _parse_pages,
    "embed": _parse_bool,
}
"""The checked value of each option as Options holds it; each raises ValueError that says what it must be."""


def _check_password(value: Any) -> None:
    """Raises ValueError for what cannot be a password."""
    if not isinstance(value, str) or len(value) > MAX_PASSWORD_CHARS:
        raise ValueError(f"must be a string of at most {MAX_PASSWORD_CHARS:,} characters")


def _names_pages(value: str) -> bool:
    """True for page ranges, and for the empty string.

    Ranges begin at 1 or later and do not run backwards.
    """
    if len(value) > 1000 or not (value == "" or _PAGE_RANGES.fullmatch(value)):
        return False
    ranges = _PAGE_RANGE.findall(re.sub(r"\s+", "", value))
    return all(int(low) >= 1 and (not high or int(low) <= int(high)) for low, _, high in ranges)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
