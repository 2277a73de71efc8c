"""Reads SVG: the text of a drawing, and the drawing as a picture.

Nothing outside is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.content import BlockKind, DocumentInfo, Issue, Limits, Part, Upload
from services.errors import TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import give_pages, wants_pictures
from services.formats.kit.xml import parse_part
from services.formats.markup.xml_entities import without_entities
from services.formats.pictures.encoding import write_picture
from services.formats.pictures.reader import extract_picture
from services.formats.pictures.svg_pixels import render_svg

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 20_000_000
"""Of one drawing. Source: maps of a whole country stay below it, and the tree takes eight times as much."""

_POINTS_PER_PX = 0.75
"""Source: CSS Values 3, section 6.2: 96 pixels and 72 points are an inch."""

_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{2,40})", re.I)
_NOT_SHOWN = frozenset(
    {"defs", "clippath", "mask", "pattern", "marker", "metadata", "script", "style", "title", "desc", "filter"}
)
_HIDDEN_STYLE = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.I)
_TRANSFORM = re.compile(r"(matrix|translate|scale|rotate)\s*\(([^()]{0,200})\)", re.I)
_NUMBER = re.compile(r"[-+]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:[eE][-+]?\d{1,3})?")
_BLOCK_TAGS = frozenset({"div", "p", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6"})

_LINE_PX = 6.0
"""Texts whose baselines differ by less stand on one line. Source: half of the 12 px that labels of drawings have."""

Matrix = tuple[float, float, float, float, float, float]
_IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
Label = tuple[float, float, str]
"""(x, y, text), in pixels of the drawing."""


def extract_svg(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page and one picture.

    A drawing whose letters are only shapes is read by OCR, as a picture is.

    Raises:
        UnreadableDocument: `unreadable_svg`, `xml_entities`, `nesting_too_deep`.
        TooLarge: `picture_too_large`.
    """
    source, left_out = _source(upload.path)
    root = _parse(source, context.limits)
    title, description = _own(root, "title"), _own(root, "desc")
    labels = in_reading_order(_labels(root))
    problem: Issue | None = None
    shown: Image | None = None
    try:
        shown = _render(source, context.limits)
    except (UnreadableDocument, TooLarge) as error:
        if not labels and not title:
            raise
        problem = Issue("picture_unreadable", f"The drawing could not be shown as a picture: {error.detail}", 1)
    if shown is not None and not labels and context.options.ocr != "off":
        yield from left_out
        yield from _read_as_picture(shown, title, upload, context)
        return
    width, height = (0.0, 0.0) if shown is None else (shown.width * _POINTS_PER_PX, shown.height * _POINTS_PER_PX)
    page = PageBuilder(1, width=round(width, 2), height=round(height, 2))
    page.add(BlockKind.HEADING, title, level=1)
    page.add(BlockKind.PARAGRAPH, description)
    for label in labels:
        page.add(BlockKind.PARAGRAPH, label)
    yield DocumentInfo(title=title[:500])
    yield from left_out
    if problem is not None:
        yield problem
    if shown is not None and wants_pictures(1, context):
        yield write_picture(shown, context.folder, page=1, box=(0.0, 0.0, width, height), alt=title or description)
    yield from give_pages([page.build()], context)


def open_drawing(path: Path, limits: Limits) -> Image:
    """The drawing at `path` as pixels. Raises as `extract_svg` does."""
    source, _ = _source(path)
    _parse(source, limits)
    return _render(source, limits)


def _read_as_picture(shown: Image, title: str, upload: Upload, context: ExtractContext) -> Iterator[Part]:
    path = context.folder / "drawing.png"
    shown.save(path, "PNG")
    try:
        parts = extract_picture(replace(upload, path=path), context)
        for part in parts:
            yield replace(part, title=title[:500]) if isinstance(part, DocumentInfo) else part
    finally:
        path.unlink(missing_ok=True)


def _source(path: Path) -> tuple[str, tuple[Issue, ...]]:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise TooLarge(
            f"The drawing has {size:,} bytes; up to {MAX_BYTES:,} are read. Simplify it.", code="picture_too_large"
        )
    data = path.read_bytes()
    declared = _ENCODING.match(data[:1024])
    text, _ = decode_text(data, declared.group(1).decode("ascii") if declared else "")
    return without_entities(text)


def _parse(source: str, limits: Limits) -> Any:
    root = parse_part(source.encode("utf-8"), limits, what="drawing")
    if not isinstance(root.tag, str) or _local(root) != "svg":
        raise UnreadableDocument("The file holds no SVG drawing. Export it anew.", code="unreadable_svg")
    return root


def _render(source: str, limits: Limits) -> Image:
    from io import BytesIO

    from PIL import Image as Images

    with Images.open(BytesIO(render_svg(source.encode("utf-8"), max_pixels=limits.max_pixels)), formats=["PNG"]) as it:
        it.load()
        return it.copy()


def _own(root: Any, name: str) -> str:
    """The text of the root's child called `name`."""
    return next((one_line("".join(child.itertext())) for child in root if _local(child) == name), "")


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _labels(root: Any) -> list[Label]:
    """The texts that are shown, with their places. A stack in place of recursion."""
    found: list[Label] = []
    todo: list[tuple[Any, Matrix]] = [(root, _IDENTITY)]
    while todo:
        element, above = todo.pop()
        name = _local(element)
        if not name or name in _NOT_SHOWN or element.get("display") == "none":
            continue
        if _HIDDEN_STYLE.search(element.get("style") or "") or element.get("visibility") == "hidden":
            continue
        matrix = _times(above, _transform(element.get("transform") or ""))
        if name == "text":
            found.append((*_place(element, matrix), _text(element)))
        elif name == "foreignobject":
            found.append((*_place(element, matrix), _page_text(element)))
        elif name == "switch":
            found += _alternatives(element, matrix)
        else:
            todo += [(child, matrix) for child in reversed(element)]
    return [label for label in found if label[2]]


def _alternatives(switch: Any, matrix: Matrix) -> list[Label]:
    """Of the children of a switch, which mean the same, the text of the first, at the place of the one that has one."""
    choices = []
    for child in switch:
        name = _local(child)
        if name in ("text", "foreignobject"):
            own = _times(matrix, _transform(child.get("transform") or ""))
            choices.append((*_place(child, own), _text(child) if name == "text" else _page_text(child), name))
    said = next((text for _, _, text, _ in choices if text), "")
    place = next(((x, y) for x, y, _, name in choices if name == "text"), choices[0][:2] if choices else (0.0, 0.0))
    return [(*place, said)] if said else []


def _text(element: Any) -> str:
    """The words of a text element; a span with a place of its own begins a new line."""
    parts: list[str] = [element.text or ""]
    for child in element.iter():
        if child is element or not isinstance(child.tag, str):
            continue
        if child.get("x") is not None or child.get("y") is not None or child.get("dy") is not None:
            parts.append(" ")
        if _local(child) not in _NOT_SHOWN:
            parts.append(child.text or "")
        parts.append(child.tail or "")
    return one_line("".join(parts))


def _page_text(element: Any) -> str:
    """The words of a piece of a page inside the drawing."""
    parts: list[str] = []
    for child in element.iter():
        if not isinstance(child.tag, str) or _local(child) in ("script", "style"):
            continue
        if _local(child) in _BLOCK_TAGS:
            parts.append(" ")
        parts += [child.text or "", child.tail or "" if child is not element else ""]
    return one_line("".join(parts))


def _place(element: Any, matrix: Matrix) -> tuple[float, float]:
    x, y = (_first_number(element.get(name)) for name in ("x", "y"))
    for child in element:
        if x is None and _local(child) == "tspan":
            x = _first_number(child.get("x"))
        if y is None and _local(child) == "tspan":
            y = _first_number(child.get("y"))
    a, b, c, d, e, f = matrix
    x, y = x or 0.0, y or 0.0
    return a * x + c * y + e, b * x + d * y + f


def _first_number(value: str | None) -> float | None:
    match = _NUMBER.search(value or "")
    return float(match.group()) if match else None


def in_reading_order(labels: Sequence[Label]) -> list[str]:
    """The texts line by line from the top, each line from the left."""
    ordered = sorted(
        ((x if math.isfinite(x) else 0.0, y if math.isfinite(y) else 0.0, text) for x, y, text in labels),
        key=lambda label: label[1],
    )
    lines: list[list[Label]] = []
    for label in ordered:
        if lines and label[1] - lines[-1][0][1] < _LINE_PX:
            lines[-1].append(label)
        else:
            lines.append([label])
    return [text for line in lines for _, _, text in sorted(line, key=lambda label: label[0])]


def _transform(value: str) -> Matrix:
    """The matrix of a `transform` attribute. Source: SVG 1.1, section 7.6."""
    matrix = _IDENTITY
    for kind, arguments in _TRANSFORM.findall(value[:2000]):
        n = [float(number) for number in _NUMBER.findall(arguments)]
        match kind.lower(), len(n):
            case "matrix", 6:
                step: Matrix = (n[0], n[1], n[2], n[3], n[4], n[5])
            case "translate", 1 | 2:
                step = (1.0, 0.0, 0.0, 1.0, n[0], n[1] if len(n) > 1 else 0.0)
            case "scale", 1 | 2:
                step = (n[0], 0.0, 0.0, n[-1], 0.0, 0.0)
            case "rotate", 1 | 3:
                cos, sin = math.cos(math.radians(n[0])), math.sin(math.radians(n[0]))
                x, y = (n[1], n[2]) if len(n) == 3 else (0.0, 0.0)
                step = (cos, sin, -sin, cos, x - cos * x + sin * y, y - sin * x - cos * y)
            case _:
                continue
        matrix = _times(matrix, step)
    return matrix


def _times(m: Matrix, n: Matrix) -> Matrix:
    return (
        m[0] * n[0] + m[2] * n[1],
        m[1] * n[0] + m[3] * n[1],
        m[0] * n[2] + m[2] * n[3],
        m[1] * n[2] + m[3] * n[3],
        m[0] * n[4] + m[2] * n[5] + m[4],
        m[1] * n[4] + m[3] * n[5] + m[5],
    )
