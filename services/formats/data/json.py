"""JSON and JSON Lines: values in the order of the file, with their keys.

Numbers as they are written.

JSON is read as a stream of events: only a member of an outer array or object is held at a time.
"""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from services.content import DocumentInfo, Issue, Limits, Page, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.data.json_values import Path, ValueWriter
from services.formats.detection.extensions import FORMAT_OF, extension_of
from services.formats.detection.syntax import JSON_WORDS
from services.formats.kit.decoding import decode_text
from services.formats.kit.paging import check_page_count, give_pages
from services.formats.markup.text import extract_text

_HELD_CHARS = 4_000_000
"""A text up to this long is read once and its pages are held; a longer one is read twice, to count them first."""

_MAX_BAD_LINES = 20
"""Bad lines that are named one by one."""

_NOT_A_NUMBER = re.compile(r"(?<=[:\[,\s])(?:NaN|-?Infinity)(?=\s*[,\]}])")
_PASSED_OVER = r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)'
"""Strings and comments; one that is not closed goes to the end, so that no text is searched twice."""
_NOT_A_NUMBER_OUTSIDE = re.compile(rf"(?:{_PASSED_OVER})|({_NOT_A_NUMBER.pattern})", re.S)

_LONG_NUMBER = re.compile(rb"\d{4300}")
"""Source: sys.int_info.default_max_str_digits."""


class _Number(str):
    """A number as it is written in the file; `str`, so that it is shown as it is."""


def extract_json(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Pages of a million characters or so.

    Raises UnreadableDocument: `malformed_json` where nothing could be read before the damage; `nesting_too_deep`.
    """
    text, _ = decode_text(upload.path.read_bytes())
    if _NOT_A_NUMBER.search(text):  # as Python and JavaScript write them, which JSON does not know
        text = _NOT_A_NUMBER_OUTSIDE.sub(lambda found: f'"{found[1]}"' if found[1] else found[0], text)
    data = text.encode("utf-8", "replace")
    is_long = len(text) > _HELD_CHARS
    del text
    reader = _JsonReader(context.limits)
    if FORMAT_OF.get(extension_of(upload.filename)) not in JSON_WORDS and not reader.reads(data):
        yield from extract_text(upload, context)  # a text that only begins and ends as JSON does
        return
    held = [] if is_long else list(reader.pages(data))
    count = sum(1 for _ in reader.pages(data)) if is_long else len(held)
    check_page_count(count, context.limits)
    yield DocumentInfo(title=reader.title[:500], page_count=count)
    yield from give_pages(_JsonReader(context.limits).pages(data) if is_long else held, context)
    if reader.damage:
        yield Issue("malformed_json", f"The JSON is damaged ({reader.damage}); what stands before it was read.")


class _JsonReader:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.title = ""
        self.damage = ""

    def reads(self, data: bytes) -> bool:
        """True where `data` is JSON to its end."""
        import ijson

        try:
            deque(_events(data), maxlen=0)
        except (ijson.JSONError, ValueError, ArithmeticError):
            return False
        return True

    def pages(self, data: bytes) -> Iterator[Page]:
        import ijson

        writer = ValueWriter()
        empty = True
        try:
            for path, value in self._values(_events(data)):
                empty = False
                writer.add(path, value)
                yield from writer.take()
        except (ijson.JSONError, ValueError, ArithmeticError) as error:
            self.damage = str(error).split("\n", 1)[0].strip()[:200] or "cut off"
            if empty:
                raise UnreadableDocument(
                    f"The JSON cannot be read: {self.damage}. Correct it, or name the file .txt.", code="malformed_json"
                ) from error
        self.title = writer.first_title
        yield from writer.finish()

    def _values(self, events: Iterator[tuple[str, Any]]) -> Iterator[tuple[Path, Any]]:
        """(path, value) of the members of the outer levels; what lies deeper comes inside a value."""
        path: list[str | int | None] = []
        open_values: list[Any] = []
        keys: list[str] = []
        is_empty = [False]
        for event, value in events:
            match event:
                case "map_key":
                    if open_values:
                        keys.append(value)
                    else:
                        path[-1] = value
                case "start_map" | "start_array":
                    if len(path) + len(open_values) >= self._limits.max_nesting:
                        raise _too_deep(self._limits)
                    if not open_values and _is_streamed(event, path):
                        _count(path)
                        is_empty[-1] = False
                        is_empty.append(True)
                        path.append(None if event == "start_map" else -1)
                    else:
                        open_values.append({} if event == "start_map" else [])
                case "end_map" | "end_array" if not open_values:
                    path.pop()
                    if is_empty.pop():
                        is_empty[-1] = False
                        yield _path(path), {} if event == "end_map" else []
                case _:
                    if event in ("end_map", "end_array"):
                        value = open_values.pop()
                    if not open_values:
                        _count(path)
                        is_empty[-1] = False
                        yield _path(path), value
                    elif isinstance(open_values[-1], list):
                        open_values[-1].append(value)
                    else:
                        open_values[-1][keys.pop()] = value


def _events(data: bytes) -> Iterator[tuple[str, Any]]:
    """The events of ijson; comments, as in settings of editors, are passed over."""
    import ijson
    from ijson.backends import python

    if _LONG_NUMBER.search(data):  # ijson 3.4's C backend ends the process where Python refuses to make it an int
        return iter(python.basic_parse(io.BytesIO(data), multiple_values=True))
    if ijson.backend_name == "python":
        return iter(ijson.basic_parse(io.BytesIO(data), multiple_values=True))
    return iter(ijson.basic_parse(io.BytesIO(data), multiple_values=True, allow_comments=True))


def _is_streamed(event: str, path: list[str | int | None]) -> bool:
    """True for the outermost value and the arrays in an outermost object, whose members are written one by one.

    `{"features": [...]}` is the usual shape of what is large; what lies deeper is held as a whole.
    """
    return not path or (len(path) == 1 and event == "start_array" and isinstance(path[0], str))


def _count(path: list[str | int | None]) -> None:
    """Goes on to the next place where the innermost open value is an array."""
    if path and isinstance(path[-1], int):
        path[-1] += 1


def _path(path: list[str | int | None]) -> Path:
    return tuple(step for step in path if step is not None)


def extract_jsonl(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Pages of a million characters or so.

    Records with the same keys are rows of a table.

    A line that is no JSON is an Issue (`bad_line`). Raises UnreadableDocument (`malformed_json`) where all lines are.
    """
    text, _ = decode_text(upload.path.read_bytes())
    reader = _LinesReader(context.limits)
    is_long = len(text) > _HELD_CHARS
    held = [] if is_long else list(reader.pages(text))
    count = sum(1 for _ in reader.pages(text)) if is_long else len(held)
    check_page_count(count, context.limits)
    yield DocumentInfo(page_count=count)
    yield from give_pages(_LinesReader(context.limits).pages(text) if is_long else held, context)
    yield from reader.issues()


class _LinesReader:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bad: list[int] = []
        self._bad_count = 0

    def pages(self, text: str) -> Iterator[Page]:
        writer = ValueWriter()
        good = 0
        for number, line in enumerate(_lines(text), 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
            except (ValueError, RecursionError):
                self._bad_count += 1
                if len(self._bad) < _MAX_BAD_LINES:
                    self._bad.append(number)
                continue
            if _depth_exceeds(value, self._limits.max_nesting):
                raise _too_deep(self._limits)
            writer.add((number,), value)
            good += 1
            yield from writer.take()
        if not good:
            raise UnreadableDocument(
                "No line of the file is JSON. Correct it, or name the file .txt.", code="malformed_json"
            )
        yield from writer.finish()

    def issues(self) -> Iterator[Issue]:
        """What was wrong with single lines."""
        for number in self._bad:
            yield Issue("bad_line", f"Line {number:,} is no JSON and was left out.")
        more = self._bad_count - len(self._bad)
        if more > 0:
            yield Issue("bad_line", f"{more:,} further lines are no JSON and were left out.")


def _lines(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        yield text[position:end]
        position = end + 1


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _too_deep(limits: Limits) -> UnreadableDocument:
    return UnreadableDocument(
        f"The JSON nests its values more than {limits.max_nesting} deep. It was not read.", code="nesting_too_deep"
    )
