"""Finds the vector figures of a PDF page.

Charts and drawings, told from the rules and backgrounds of tables and frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.content import Box
from services.ocr.layout import Line, union

MAX_FIGURES = 12
"""Kept of one page, the largest first."""

MAX_SHAPES = 8000
"""Shapes of one page that are gathered; maps have more, and are found by the first of them."""

MAX_CELLS = 400_000
"""Places of the grid that the shapes of a page may mark, to bound the time."""

CELL_PT = 10.0
"""Shapes that are nearer than one to two of these belong together."""

MIN_SIDE_PT, MIN_SHARE = 48.0, 0.015
BACKGROUND_SHARE = 0.8
MIN_FREE_SHAPES, MIN_FREE_SEGMENTS = 3, 16
"""Shapes with slanted or curved sides, and such sides, that a drawing has at least; a rounded frame has four."""

MIN_BARS = 5
"""Filled rectangles without text on them that make a chart of bars."""

MAX_TEXT_SHARE = 0.3
"""Share of a figure's area under lines of text from which it is a text with a frame or a background."""

MAX_PICTURE_SHARE = 0.6
"""Share of a figure under one picture from which the picture is the figure."""

LABEL_REACH_PT, MAX_LABEL_CHARS = 14.0, 40
"""Short lines so near to a drawing are its labels and are shown with it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A painted path: its box on the page as shown and the number of its slanted or curved sides."""

    box: Box
    free: int
    filled: bool


def find_figures(
    shapes: Sequence[Shape],
    lines: Sequence[Line],
    tables: Sequence[Box],
    pictures: Sequence[Box],
    width: float,
    height: float,
) -> list[Box]:
    """The boxes of the figures that `shapes` draw, alone or over `pictures`, with their labels.

    None where `tables` lie, and none for a frame or an arrow on a single picture.
    """
    page = max(1.0, width * height)
    drawn = [shape for shape in shapes[:MAX_SHAPES] if _is_drawn(shape, width, height, page)]
    drawn.extend(
        shape for box in pictures[:MAX_SHAPES] if _is_drawn(shape := Shape(box, 0, False), width, height, page)
    )
    figures: list[Box] = []
    texts = [(line.box, len(line.text)) for line in lines if line.words]
    for group in _groups(drawn, width, height):
        box = _clipped(union([shape.box for shape in group]), width, height)
        wide, high = box[2] - box[0], box[3] - box[1]
        if min(wide, high) < MIN_SIDE_PT or wide * high < MIN_SHARE * page:
            continue
        if any(_shared(box, other) > 0.5 * min(_area(box), _area(other)) for other in tables):
            continue
        if any(_shared(box, other) > MAX_PICTURE_SHARE * wide * high for other in pictures):
            continue
        inside = [text for text in texts if _holds(box, text[0])]
        if not _is_figure(group, [text[0] for text in inside]):
            continue
        if sum(_area(text[0]) for text in inside) > MAX_TEXT_SHARE * wide * high:
            continue
        figures.append(_with_labels(box, texts, width, height))
    figures.sort(key=_area, reverse=True)
    apart: list[Box] = []
    for box in figures:
        if all(_shared(box, other) < 0.5 * _area(box) for other in apart):
            apart.append(box)
    return sorted(apart[:MAX_FIGURES], key=lambda box: (box[1], box[0]))


def _is_drawn(shape: Shape, width: float, height: float, page: float) -> bool:
    """False for backgrounds, for rules over the width of the text, and for what lies off the page."""
    box = _clipped(shape.box, width, height)
    wide, high = box[2] - box[0], box[3] - box[1]
    if wide < 0 or high < 0 or wide * high > BACKGROUND_SHARE * page:
        return False
    return not (not shape.free and min(wide, high) < 3 and max(wide / width, high / height) > 0.6)


def _groups(shapes: Sequence[Shape], width: float, height: float) -> list[list[Shape]]:
    """`shapes` gathered by the places of a grid that they mark, neighbouring places together."""
    cell = max(CELL_PT, width / 120, height / 120)
    owners: dict[tuple[int, int], int] = {}
    parent = list(range(len(shapes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    marked = 0
    for index, shape in enumerate(shapes):
        x0, y0, x1, y1 = _clipped(shape.box, width, height)
        columns = range(int(x0 // cell), int(x1 // cell) + 1)
        rows = range(int(y0 // cell), int(y1 // cell) + 1)
        marked += len(columns) * len(rows)
        if marked > MAX_CELLS:
            break
        for column in columns:
            for row in rows:
                other = owners.setdefault((column, row), index)
                if other != index:
                    parent[root(index)] = root(other)
    for (column, row), index in owners.items():
        for near in ((column + 1, row), (column, row + 1), (column + 1, row + 1), (column - 1, row + 1)):
            neighbour = owners.get(near)
            if neighbour is not None:
                parent[root(index)] = root(neighbour)
    groups: dict[int, list[Shape]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(root(index), []).append(shape)
    return list(groups.values())


def _is_figure(group: Sequence[Shape], texts: Sequence[Box]) -> bool:
    """True for a drawing with slanted or curved lines, and for a chart of bars."""
    free = [shape for shape in group if shape.free]
    if len(free) >= MIN_FREE_SHAPES and sum(shape.free for shape in free) >= MIN_FREE_SEGMENTS:
        return True
    bars = [
        shape.box
        for shape in group
        if shape.filled and not shape.free and min(shape.box[2] - shape.box[0], shape.box[3] - shape.box[1]) > 3
    ]
    bare = [bar for bar in bars[:200] if not any(_shared(bar, text) > 0 for text in texts)]
    lengths = {round(max(bar[2] - bar[0], bar[3] - bar[1])) for bar in bare}
    return len(bare) >= MIN_BARS and len(bare) > 0.6 * len(bars[:200]) and len(lengths) > 2


def _with_labels(box: Box, texts: Sequence[tuple[Box, int]], width: float, height: float) -> Box:
    reach = (box[0] - LABEL_REACH_PT, box[1] - LABEL_REACH_PT, box[2] + LABEL_REACH_PT, box[3] + LABEL_REACH_PT)
    labels = [
        text for text, letters in texts if letters <= MAX_LABEL_CHARS and _shared(reach, text) > 0.4 * _area(text)
    ]
    x0, y0, x1, y1 = union([box, *labels])
    return _clipped((x0 - 3, y0 - 3, x1 + 3, y1 + 3), width, height)


def _clipped(box: Box, width: float, height: float) -> Box:
    return (max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3]))


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _shared(a: Box, b: Box) -> float:
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def _holds(box: Box, other: Box) -> bool:
    return _shared(box, other) > 0.5 * _area(other)
