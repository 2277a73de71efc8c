"""Text with a syntax of its own: markup, data, mail. Told by bounded looks at both ends; nothing is parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from services.formats.kit.decoding import wide_encoding

_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Byte order marks, once the zero bytes of a wide encoding are gone."""

_HTML_START = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--(?:(?!-->).){0,8192}-->\s*){0,8}<(?:!doctype\s+html|html|head|body)\b",
    re.I | re.S,
)
_MARKUP_PROLOG = re.compile(
    rb"\s*(?:(?:<\?(?:(?!\?>).){0,2048}\?>|<!--(?:(?!-->).){0,8192}-->|"
    rb"<!DOCTYPE(?:[^>\[]{0,1024})(?:\[(?:(?!\]\s*>).){0,32768}\])?\s*>)\s*){0,24}",
    re.S,
)
_ROOT_ELEMENT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,80}:)?([A-Za-z_\x80-\xff][\w.\x80-\xff-]{0,80})[\s/>]")
_LAST_TAG = re.compile(rb"</(?:[\w.-]{1,80}:)?([\w.\x80-\xff-]{1,80})\s*>\s*(?:<!--(?:(?!-->).){0,512}-->\s*)?\Z", re.S)
_HTML_PARTS = frozenset(
    b"a article aside b br center div dl figure font footer form h1 h2 h3 h4 h5 h6 header hr i iframe img link main "
    b"meta nav ol p pre script section span strong style table tbody td th tr ul".split()
)
"""Elements with which a piece of a page begins that was saved without its frame."""
_JSON_START = re.compile(
    rb"\s*(?:\{\s*(?:\}|\"(?:[^\"\\\n]|\\.){0,500}\"\s*:)|\[\s*(?:\]|\{\s*\"(?:[^\"\\\n]|\\.){0,500}\"\s*:|"
    rb"(?:\[\s*)?(?:\"(?:[^\"\\\n]|\\.){0,500}\"|-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,4})?)\s*,))"
)
"""An object's first key, or an array's first member and its comma: prose may begin with a bracket too."""
_JSON_VALUE = re.compile(rb"\s*(?:[{\[\"\d-]|true|false|null)")
_JSON_LINE = re.compile(rb"\{\s*(?:\"[^\n]*|)\}\s*|\[[^\n]*\]\s*")

_MAIL_NAMES = rb"return-path|delivered-to|from|to|cc|subject|date|message-id|mime-version|content-type|x-[\w-]{1,40}"
_MAIL_HEADER = re.compile(rb"(?im)^(received|reply-to|sender|dkim-signature|arc-seal|" + _MAIL_NAMES + rb"):[ \t]?")
_WRITTEN_BY_PROGRAMS = frozenset(
    {b"received", b"return-path", b"delivered-to", b"message-id", b"mime-version", b"dkim-signature", b"arc-seal"}
)
"""Headers that nobody writes by hand: text under the name of text, or of something unknown, is a mail only
where one of them stands."""
_HEADER_BYTES = 16_384

_NOTEBOOK_KEYS = ((b'"cells"', b'"worksheets"'), (b'"nbformat"',))
"""Source: the schemas of nbformat 3 (worksheets) and 4 (cells)."""

_TABLE_LINES = 4
"""Lines that have to agree before a text is taken for a table."""

JSON_WORDS = frozenset({"json", "jsonl", "ipynb"})
"""Formats whose files hold JSON."""


@dataclass(frozen=True)
class TextSample:
    """What is looked at of a text."""

    first_bytes: bytes
    last_bytes: bytes
    """Up to 64 KB each; of a short file both are the whole."""
    extension: str
    """In small letters, without its dot; empty for a name without one."""
    named: str
    """The word of the format that the extension stands for; empty for none."""
    is_named_prose: bool
    """True where the extension stands for a text without a syntax."""

    @cached_property
    def head(self) -> bytes:
        """The beginning in ASCII-compatible bytes, without a byte order mark."""
        return self._narrow(self.first_bytes)

    @cached_property
    def tail(self) -> bytes:
        """The end, likewise."""
        return self._narrow(self.last_bytes)

    @cached_property
    def _encoding(self) -> str:
        return wide_encoding(self.first_bytes)

    def _narrow(self, part: bytes) -> bytes:
        """`part` with the ASCII of a wide encoding as one byte each, and without a byte order mark."""
        part = part.replace(b"\x00", b"") if self._encoding else part
        while part.startswith(_MARKS):
            for mark in _MARKS:
                part = part.removeprefix(mark)
        return part

    @cached_property
    def markup(self) -> str:
        """The word of the format of a text in tags; empty for another text, and where the tags fit no format."""
        if _HTML_START.match(self.head):
            return "html"
        start = self.head.lstrip()
        if not start.startswith(b"<"):
            return ""
        prolog = _MARKUP_PROLOG.match(start)
        root = _ROOT_ELEMENT.match(start, prolog.end() if prolog else 0)
        name = root.group(1).lower() if root else b""
        declared = start[:6].lower().startswith(b"<?xml") or start.startswith(b"<!DOCTYPE")
        if name == b"svg" and (declared or not self.is_named_prose or b"http://www.w3.org/2000/svg" in start[:4096]):
            return "svg"
        if self.named == "html" or (not declared and name in _HTML_PARTS and self.named != "xml"):
            return "" if self.is_named_prose else "html"
        if declared:
            return "html" if name == b"html" else "xml"
        if self.named in ("xml", "svg"):
            return "xml" if root or start.startswith(b"<!--") else ""
        # Without a declaration only a pair of tags around everything shows that it is no page fragment and no prose.
        closes = _LAST_TAG.search(self.tail)
        return "xml" if root and closes and closes.group(1).lower() == name and not self.is_named_prose else ""

    @cached_property
    def json(self) -> str:
        """The word of the format of a text that looks like JSON; empty for another text."""
        head, tail, is_named = self.head, self.tail, self.named in JSON_WORDS
        if not (_JSON_VALUE if is_named else _JSON_START).match(head):
            return ""
        both = head + tail
        if head.lstrip().startswith(b"{") and all(any(key in both for key in keys) for keys in _NOTEBOOK_KEYS):
            return "ipynb"
        whole, _, rest = head.rpartition(b"\n")
        lines = [line for line in (whole or rest).split(b"\n") if line.strip()][:50]
        starts_objects = len(lines) > 1 and all(_JSON_LINE.fullmatch(line) for line in lines[:-1])
        if starts_objects and lines[-1].lstrip()[:1] in (b"{", b"["):
            return "jsonl"
        if is_named:
            good_lines = sum(1 for line in lines if _JSON_LINE.fullmatch(line))
            mostly_lines = self.named == "jsonl" and (2 * good_lines > len(lines) or len(lines) < 2)
            return self.named if self.named == "ipynb" or mostly_lines else "json"
        return "json" if tail.rstrip()[-1:] in (b"}", b"]") else ""


def is_html(text: TextSample) -> bool:
    return text.markup == "html"


def is_svg(text: TextSample) -> bool:
    return text.markup == "svg"


def is_xml(text: TextSample) -> bool:
    return text.markup == "xml"


def is_json(text: TextSample) -> bool:
    return text.json == "json"


def is_json_lines(text: TextSample) -> bool:
    return text.json == "jsonl"


def is_notebook(text: TextSample) -> bool:
    return text.json == "ipynb"


def is_mail(text: TextSample) -> bool:
    """True where a block of mail headers begins the text, perhaps below the `From ` line of a mailbox."""
    start = text.head.lstrip()
    if start.startswith(b"From "):
        start = start.partition(b"\n")[2]
    if not _MAIL_HEADER.match(start):
        return False
    block = re.split(rb"\r?\n[ \t]*\r?\n|\r[ \t]*\r", start[:_HEADER_BYTES], maxsplit=1)[0]
    names = {name.lower() for name in _MAIL_HEADER.findall(block)}
    is_strict = text.is_named_prose or (text.named == "" and text.extension != "")
    return len(names) >= 2 and (not is_strict or bool(names & _WRITTEN_BY_PROGRAMS))


def is_delimited(text: TextSample) -> bool:
    """True where every line is cut by the same delimiter into the same number of cells.

    Prose has lines of different numbers of commas.
    """
    import csv

    beginning = text.head.rpartition(b"\n")[0].decode("utf-8", "replace")
    lines = [line for line in beginning.splitlines() if line.strip()][:50]
    if len(lines) < _TABLE_LINES:
        return False
    for delimiter in ("\t", ";", ",", "|"):
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        if len(widths) == 1 and min(widths) >= 3 and max(len(cell) for row in rows for cell in row) <= 200:
            return True
    return False
