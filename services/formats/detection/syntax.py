"""Text with a syntax of its own: markup, data, mail. Told by bounded looks at both ends; nothing is parsed."""

from __future__ import annotations

import re

from services.content import Format
from services.formats.detection.extensions import FORMAT_OF, PROSE

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


def text_format(head: bytes, tail: bytes, extension: str) -> Format | None:
    """The format that the syntax of a text shows; None for text without one, and where it fits no format.

    `head` and `tail` are its beginning and end in ASCII-compatible bytes, without a byte order mark.
    """
    if _HTML_START.match(head):
        return Format.HTML
    named = FORMAT_OF.get(extension)
    start = head.lstrip()
    if start.startswith(b"<"):
        return _markup(start, tail, named)
    json = _json(head, tail, named)
    if json is not None:
        return json
    return Format.EML if _is_mail(start, strict=named in PROSE or (named is None and extension != "")) else None


def _markup(start: bytes, tail: bytes, named: Format | None) -> Format | None:
    prolog = _MARKUP_PROLOG.match(start)
    root = _ROOT_ELEMENT.match(start, prolog.end() if prolog else 0)
    name = root.group(1).lower() if root else b""
    declared = start[:6].lower().startswith(b"<?xml") or start.startswith(b"<!DOCTYPE")
    if name == b"svg" and (declared or named not in PROSE or b"http://www.w3.org/2000/svg" in start[:4096]):
        return Format.SVG
    if named is Format.HTML or (not declared and name in _HTML_PARTS and named is not Format.XML):
        return None if named in PROSE else Format.HTML
    if declared:
        return Format.HTML if name == b"html" else Format.XML
    if named in (Format.XML, Format.SVG):
        return Format.XML if root or start.startswith(b"<!--") else None
    # Without a declaration only a pair of tags around everything shows that it is XML and no page fragment or prose.
    closes = _LAST_TAG.search(tail)
    return Format.XML if root and closes and closes.group(1).lower() == name and named not in PROSE else None


def _json(head: bytes, tail: bytes, named: Format | None) -> Format | None:
    is_named = named in (Format.JSON, Format.JSONL, Format.NOTEBOOK)
    if not (_JSON_VALUE if is_named else _JSON_START).match(head):
        return None
    both = head + tail
    if head.lstrip().startswith(b"{") and all(any(key in both for key in keys) for keys in _NOTEBOOK_KEYS):
        return Format.NOTEBOOK
    whole, _, rest = head.rpartition(b"\n")
    lines = [line for line in (whole or rest).split(b"\n") if line.strip()][:50]
    starts_objects = len(lines) > 1 and all(_JSON_LINE.fullmatch(line) for line in lines[:-1])
    if starts_objects and lines[-1].lstrip()[:1] in (b"{", b"["):
        return Format.JSONL
    if is_named:
        good_lines = sum(1 for line in lines if _JSON_LINE.fullmatch(line))
        mostly_lines = named is Format.JSONL and (2 * good_lines > len(lines) or len(lines) < 2)
        return named if named is Format.NOTEBOOK or mostly_lines else Format.JSON
    return Format.JSON if tail.rstrip()[-1:] in (b"}", b"]") else None


def _is_mail(start: bytes, *, strict: bool) -> bool:
    """True where a block of mail headers begins the text, perhaps below the `From ` line of a mailbox."""
    if start.startswith(b"From "):
        start = start.partition(b"\n")[2]
    if not _MAIL_HEADER.match(start):
        return False
    block = re.split(rb"\r?\n[ \t]*\r?\n|\r[ \t]*\r", start[:_HEADER_BYTES], maxsplit=1)[0]
    names = {name.lower() for name in _MAIL_HEADER.findall(block)}
    return len(names) >= 2 and (not strict or bool(names & _WRITTEN_BY_PROGRAMS))


def is_delimited(text: str) -> bool:
    """True where every line of a text without a name is cut by the same delimiter into the same number of cells.

    `text` is the text's beginning, up to the end of a line. Prose has lines of different numbers of commas.
    """
    import csv

    lines = [line for line in text.splitlines() if line.strip()][:50]
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


_TABLE_LINES = 4
"""Lines that have to agree before a text is taken for a table."""
