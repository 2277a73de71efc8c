"""Diagrams (SmartArt) of presentations and workbooks: their points as an outline."""

from __future__ import annotations

from dataclasses import dataclass

from services.formats.kit.xml import Element
from services.formats.office.drawing_text import plain_text
from services.formats.office.markup import children, first, whole_number

_DRAWN_ONLY = ("parTrans", "sibTrans", "pres")
"""Points that stand for arrows and placement. Source: ECMA-376 part 1, 21.4.7.51."""

MAX_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class DiagramPoint:
    """A point of a diagram; `level` counts from 0."""

    text: str
    level: int


def diagram_points(root: Element) -> list[DiagramPoint]:
    """The points of a diagram's data part that hold text, in the order of its outline."""
    texts: dict[str, str] = {}
    roots: list[str] = []
    for item in children(first(root, "ptLst"))[:MAX_POINTS]:
        kind = item.get("type") or "node"
        if kind in _DRAWN_ONLY:
            continue
        identifier = item.get("modelId") or str(len(texts))
        texts[identifier] = plain_text(first(item, "t"))
        if kind == "doc":
            roots.append(identifier)
    below: dict[str, list[tuple[int, str]]] = {}
    for item in children(first(root, "cxnLst")):
        if (item.get("type") or "parOf") == "parOf":
            order = whole_number(item.get("srcOrd"))
            below.setdefault(item.get("srcId") or "", []).append((order, item.get("destId") or ""))
    found: list[DiagramPoint] = []
    seen: set[str] = set()
    stack = [(identifier, 0) for identifier in reversed(dict.fromkeys([*roots, *texts]))]
    # Those that hang on no root come last, unless they were reached on the way.
    while stack:
        identifier, level = stack.pop()
        if identifier in seen or identifier not in texts:
            continue
        seen.add(identifier)
        inner = level
        if texts[identifier]:
            found.append(DiagramPoint(texts[identifier], level))
            inner = min(level + 1, 8)
        stack.extend((child, inner) for _, child in sorted(below.get(identifier, ()), reverse=True))
    return found
