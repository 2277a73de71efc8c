"""Cuts the pictures out of a PDF, page by page.

Embedded ones, and vector figures as they look on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from services.content import Block, Box, Issue, Limits, Picture
from services.formats.pdf.captions import caption_for
from services.formats.pdf.drawing import Drawing, PlacedImage, Rule, page_share
from services.formats.pictures.encoding import write_picture

if TYPE_CHECKING:
    import pypdfium2

    from services.formats.pdf.geometry import PageGeometry
    from services.formats.pdf.tags import PageTags

__all__ = ["Drawing", "PagePictures", "PictureCollector", "Rule"]

MIN_SIDE_PX = 32
MIN_PAGE_SHARE = 0.01
"""Smaller pictures are bullets, rules and logos of a line's height."""

PAGE_SCAN_SHARE = 0.85
"""Share of the page from which a picture on a page without text of its own is the page, not a picture on it."""

MAX_PICTURES = 1000
"""Pictures kept of one document."""

MAX_REPEATS = 3
"""Pages on which the same picture is kept; on more it is a letterhead or a background, as in other formats."""

FIGURE_DPI, MAX_FIGURE_SIDE_PX = 150.0, 1600
"""Resolution at which vector figures are rendered, and the longer side of a rendered one."""


@dataclass(frozen=True, slots=True)
class PagePictures:
    """What a page has of pictures, and what its text says of them."""

    number: int
    drawing: Drawing
    geometry: PageGeometry
    figures: Sequence[Box]
    tags: PageTags
    text: str
    blocks: Sequence[Block]
    is_scan: bool
    """True where the page is a scan: the picture that covers it is no picture on it."""


def _lies_in(box: Box, figure: Box) -> bool:
    """True where the middle of `box` lies in `figure`, of which it is a part then."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return figure[0] <= x <= figure[2] and figure[1] <= y <= figure[3]


class PictureCollector:
    """Cuts out a document's pictures, each once a page.

    Holds one bitmap at a time and their digests.
    """

    def __init__(self, folder: Path, limits: Limits, known: frozenset[str] = frozenset()) -> None:
        """`known` are the SHA-256 of pictures that an interrupted run has stored."""
        self.folder = folder
        self.limits = limits
        self.left_out = 0
        """Pictures that are decoration: too small, or the same on many pages."""
        self._pages: dict[str, int] = dict.fromkeys(known, 1)
        self._given = len(known)
        self._full = False

    def collect(self, page: pypdfium2.PdfPage, found: PagePictures) -> Iterator[Picture | Issue]:
        """The pictures of `page` that are worth keeping, its vector figures behind them.

        Left out: decoration, repetitions, and the scan of a page that is nothing but a scan.
        """
        import pypdfium2

        here: set[str] = set()
        for placed in found.drawing.images:
            share = page_share(placed.box, found.geometry.width, found.geometry.height)
            if found.is_scan and share >= PAGE_SCAN_SHARE:
                continue
            if any(_lies_in(placed.box, figure) for figure in found.figures):
                continue
            try:
                width, height = placed.image.get_px_size()
            except pypdfium2.PdfiumError:
                continue
            if share < MIN_PAGE_SHARE or min(width, height) < MIN_SIDE_PX:
                self.left_out += share > 0
                continue
            if width * height > self.limits.max_pixels:
                yield Issue(
                    "picture_too_large",
                    f"A picture of {width:,} by {height:,} pixels was left out; "
                    f"pictures of up to {self.limits.max_pixels:,} pixels are kept.",
                    found.number,
                )
                continue
            if self._given >= MAX_PICTURES:
                yield from self._say_full(found.number)
                return
            try:
                picture = self._cut(placed, found)
            except (pypdfium2.PdfiumError, OSError, ValueError, MemoryError):
                yield Issue(
                    "picture_unreadable", "A picture of the page could not be decoded and was left out.", found.number
                )
                continue
            if picture is not None and picture.sha256 not in here:
                here.add(picture.sha256)
                yield from self._given_unless_repeated(picture)
        for box in found.figures:
            if self._given >= MAX_PICTURES:
                yield from self._say_full(found.number)
                return
            try:
                picture = self._drawn(page, box, found)
            except (pypdfium2.PdfiumError, OSError, ValueError, MemoryError):
                yield Issue(
                    "picture_unreadable", "A figure of the page could not be rendered and was left out.", found.number
                )
                continue
            yield from self._given_unless_repeated(picture)

    def close(self) -> Iterator[Issue]:
        """An Issue that says how many pictures were left out as decoration.

        None where it was none.
        """
        if self.left_out:
            yield Issue(
                "decoration_left_out",
                f"{self.left_out:,} pictures were left out: too small to show anything, or the same on more than "
                f"{MAX_REPEATS} pages.",
            )

    def _given_unless_repeated(self, picture: Picture) -> Iterator[Picture]:
        pages = self._pages[picture.sha256] = self._pages.get(picture.sha256, 0) + 1
        if pages > MAX_REPEATS:
            self.left_out += 1
            return
        self._given += 1
        # The parent takes the file away with the page: the next page needs one of its own.
        path = picture.path.with_name(f"{picture.page}-{picture.path.name}")
        picture.path.replace(path)
        yield replace(picture, path=path)

    def _say_full(self, number: int) -> Iterator[Issue]:
        if not self._full:
            self._full = True
            yield Issue("too_many_pictures", f"Only the first {MAX_PICTURES:,} pictures were kept.", number)

    def _cut(self, placed: PlacedImage, found: PagePictures) -> Picture | None:
        """The picture as the page shows it; None where nothing of it is seen."""
        # Rendered, so that masks, colour spaces and the turn that the page gives it are applied.
        image = placed.image.get_bitmap(render=True, scale_to_original=True).to_pil()
        if "A" in image.getbands() and image.getchannel("A").getextrema()[1] == 0:
            return None
        if found.geometry.rotation:
            image = image.rotate(-found.geometry.rotation, expand=True)
        picture = write_picture(
            image, self.folder, page=found.number, box=placed.box, alt=found.tags.alts.get(placed.content_id, "")
        )
        return replace(picture, caption=caption_for(placed.box, found.text, found.blocks))

    def _drawn(self, page: pypdfium2.PdfPage, box: Box, found: PagePictures) -> Picture:
        """The figure in `box` as the page shows it."""
        wide, high = found.geometry.width, found.geometry.height
        scale = min(FIGURE_DPI / 72, MAX_FIGURE_SIDE_PX / max(1.0, box[2] - box[0], box[3] - box[1]))
        bitmap = page.render(scale=scale, crop=(box[0], high - box[3], wide - box[2], box[1]), draw_annots=False)
        try:
            image = bitmap.to_pil().copy()
        finally:
            bitmap.close()
        picture = write_picture(image, self.folder, page=found.number, box=box)
        return replace(picture, caption=caption_for(box, found.text, found.blocks))
