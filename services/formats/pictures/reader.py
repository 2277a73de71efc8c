"""Reads PNG, JPEG, TIFF, WebP, GIF, BMP, HEIC and AVIF.

Every frame is a page that OCR reads, and a picture.
"""

from __future__ import annotations

import struct
import time
import warnings
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.content import DocumentInfo, Issue, Limits, Page, Part, Picture, Progress, TextSource, Upload
from services.errors import FieldError, InvalidOption, TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.pictures.encoding import to_srgb, write_picture
from services.formats.pictures.gif import MAX_ANIMATION_FRAMES, frames_of_gif, too_many_frames
from services.ocr.base import LOW_CONFIDENCE
from services.ocr.preparation import to_gray
from services.ocr.window import OcrWindow, Reading

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "DIB", "AVIF")
"""Pillow's decoders that are let near the file; HEIF's is another library's and is added where it is wanted."""

SANE_DPI = (50.0, 1200.0)
"""Resolutions of a file's header that are believed."""

SCREEN_DPI = 72.0
"""Taken where the file names none: a point is then a pixel, so that boxes are pixels."""

_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, ArithmeticError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on damaged files. Source: the errors of its own fuzz tests (Tests/oss-fuzz)."""


def extract_picture(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Parts of a picture file: for each frame a Picture and a Page.

    The page is the frame as shown (EXIF orientation applied) at the resolution that the file names, 72 dpi where it
    names none that is between 50 and 1200. Frames are decoded one at a time, after their header was checked.

    Raises:
        TooLarge: `too_many_pixels`, `too_many_pages`.
        UnreadableDocument: `picture_corrupt` when the first frame, or every frame, cannot be decoded.
        InvalidOption: `no_such_page` when `options.pages` names no frame.
        CapabilityMissing: `ocr_language_missing`.
    """
    with open_picture(upload.path, context.limits) as image:
        frames = find_frames(image, context.limits)
        count = len(frames)
        wanted = [n for n in range(1, count + 1) if context.options.wants_page(n)]
        if not wanted:
            raise InvalidOption(
                f"`pages` is `{context.options.pages}`, but the picture has {count} frames.",
                code="no_such_page",
                errors=(FieldError("/options/pages", f"must name pages from 1 to {count}"),),
            )
        yield DocumentInfo(page_count=count)
        left_out = getattr(image, "n_frames", count) - count if image.format == "GIF" else 0
        if left_out > 0:
            yield Issue(
                "frames_left_out",
                f"{left_out:,} frames were left out: the same as the one before or, of an animation, hardly different "
                f"from it or beyond {MAX_ANIMATION_FRAMES}.",
            )
        with OcrWindow(context.ocr, context.options.ocr_languages, context.limits) as window:
            yield from _PictureReader(image, frames, context, window).parts(wanted)


@contextmanager
def open_picture(path: Path, limits: Limits) -> Iterator[Image]:
    """The picture at `path`, of whose pixels none is decoded yet.

    Raises as `extract_picture` does.
    """
    from PIL import Image as Images

    # Our own limit is the one that holds; Pillow's would warn at another.
    Images.MAX_IMAGE_PIXELS = None
    formats = _with_heif(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Images.open(path, formats=formats)
        except _DAMAGE as error:
            raise _corrupt() from error
        with image:
            check_size(image, limits)
            yield image


def _corrupt() -> UnreadableDocument:
    return UnreadableDocument(
        "The picture is damaged or cut off and cannot be decoded. Upload it again, or save it anew.",
        code="picture_corrupt",
    )


def check_size(image: Image, limits: Limits) -> None:
    """Returns when the frame at hand has at most `limits.max_pixels`, by its header.

    Raises TooLarge.
    """
    if image.width * image.height > limits.max_pixels:
        raise TooLarge(
            f"The picture has {image.width:,} by {image.height:,} pixels; up to {limits.max_pixels:,} are read. "
            "Scale it down.",
            code="too_many_pixels",
        )


def _with_heif(path: Path) -> tuple[str, ...]:
    """The decoders for the file at `path`; that of HEIC is loaded for no other file."""
    from PIL import features

    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] != b"ftyp" or (b"avif" in head and features.check("avif")):
        return FORMATS
    import pi_heif

    # One thread: the limit on memory counts the stacks of all.
    pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return ("HEIF",)


def find_frames(image: Image, limits: Limits) -> tuple[int, ...]:
    """The frames (from 0) that are pages: all of a TIFF, those of a GIF that show something new, else the first.

    The first frame stands for a WebP or AVIF animation and for the burst in a HEIC file. Raises TooLarge, and
    UnreadableDocument where there is not one.
    """
    if image.format == "GIF":
        try:
            return frames_of_gif(image, limits)
        except _DAMAGE as error:
            raise _corrupt() from error
    if image.format != "TIFF":
        return (0,)
    count = 0
    try:
        # Counted by hand: a chain of directories may be endless, and Pillow's own count follows it to its end.
        while count <= limits.max_pages:
            image.seek(count)
            count += 1
    except EOFError:
        pass
    except _DAMAGE as error:
        if not count:
            raise _corrupt() from error
    if count > limits.max_pages:
        raise too_many_frames(limits)
    return tuple(range(max(1, count)))


def load_frame(image: Image, frame: int, limits: Limits) -> Image:
    """Frame `frame` (from 0), decoded, in the colours of sRGB and turned as its EXIF orientation says.

    Raises as `extract_picture` does.
    """
    from PIL import ImageOps

    try:
        if frame > 0 or image.format in ("TIFF", "GIF"):
            image.seek(frame)
        check_size(image, limits)
        image.load()
        shown = to_srgb(ImageOps.exif_transpose(image))
    except _DAMAGE as error:
        raise _corrupt() from error
    except MemoryError as error:
        raise TooLarge(
            "Decoding the picture takes more memory than one document may use. Scale it down.", code="too_many_pixels"
        ) from error
    return shown


def resolution(image: Image) -> float:
    """Dots per inch that the file names where they are sane and the same both ways, else `SCREEN_DPI`."""
    named: Any = image.info.get("dpi")
    try:
        across, down = float(named[0]), float(named[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return SCREEN_DPI
    low, high = SANE_DPI
    if low <= across <= high and 0.8 <= across / max(down, 1.0) <= 1.25:
        return across
    return SCREEN_DPI


@dataclass(slots=True)
class _Frame:
    number: int
    before: list[Part] = field(default_factory=list)
    page: Page | None = None
    ocr: Future[Reading] | None = None


class _PictureReader:
    """One pass over the frames of an open picture."""

    def __init__(self, image: Image, frames: Sequence[int], context: ExtractContext, window: OcrWindow) -> None:
        self.image = image
        self.frames = frames
        self.context = context
        self.window = window
        self.seen: set[str] = set(context.known_pictures)
        self.said_no_ocr = False
        self.readable = 0
        self.failure: UnreadableDocument | None = None

    def parts(self, wanted: list[int]) -> Iterator[Part]:
        """The parts of the frames, in their order."""
        pending: deque[_Frame] = deque()
        done = 0
        for number in wanted:
            pending.append(self._begin(number))
            while pending and (pending[0].ocr is None or len(pending) > self.context.limits.ocr_processes):
                done += 1
                yield from self._finish(pending.popleft(), done, len(wanted))
        for frame in pending:
            done += 1
            yield from self._finish(frame, done, len(wanted))
        if not self.readable:
            raise self.failure or _corrupt()

    def _begin(self, number: int) -> _Frame:
        known = self.context.known_pages.get(number)
        if known is not None:
            return _Frame(number, page=known)
        start = time.monotonic()
        frame = _Frame(number)
        try:
            shown = load_frame(self.image, self.frames[number - 1], self.context.limits)
        except UnreadableDocument as error:
            self.failure = error
            frame.before.append(Issue("page_unreadable", f"Page {number} of the file cannot be decoded.", number))
            return frame
        dpi = resolution(self.image)
        width, height = shown.width * 72.0 / dpi, shown.height * 72.0 / dpi
        if self.context.options.extract_images:
            picture = self._keep(shown, number, (0.0, 0.0, width, height))
            if picture is not None:
                frame.before.append(picture)
        frame.page = Page(
            number,
            "",
            width=round(width, 2),
            height=round(height, 2),
            reason="picture",
            elapsed_ms=round(1000 * (time.monotonic() - start)),
        )
        self._start_ocr(frame, shown, dpi)
        return frame

    def _keep(self, shown: Image, number: int, box: tuple[float, float, float, float]) -> Picture | None:
        picture = write_picture(shown, self.context.folder, page=number, box=box)
        if picture.sha256 in self.seen:
            return None
        self.seen.add(picture.sha256)
        return picture

    def _start_ocr(self, frame: _Frame, shown: Image, dpi: float) -> None:
        if self.context.options.ocr == "off":
            return
        if self.context.ocr.name == "none":
            if not self.said_no_ocr:
                self.said_no_ocr = True
                message = (
                    "The text in the picture was not read, for no OCR engine is installed. "
                    "Install Tesseract (`docatlas doctor` says how) and reprocess the document."
                )
                frame.before.append(Issue("ocr_unavailable", message))
            return
        self.context.ocr.require(self.context.options.ocr_languages)
        frame.ocr = self.window.submit(to_gray(shown).copy(), dpi)

    def _finish(self, frame: _Frame, done: int, total: int) -> Iterator[Part]:
        page = frame.page
        if page is not None and frame.ocr is not None:
            try:
                result, elapsed_ms = frame.ocr.result()
            except UnreadableDocument as error:
                frame.before.append(Issue(error.code, error.detail, frame.number))
            else:
                page = replace(
                    page,
                    text=result.text,
                    words=result.words,
                    blocks=result.blocks,
                    source=TextSource.OCR,
                    rotation=result.rotation,
                    confidence=result.confidence if result.text else 1.0,
                    languages=result.languages or self.context.options.ocr_languages,
                    engine=result.engine,
                    elapsed_ms=page.elapsed_ms + elapsed_ms,
                )
                if result.text and result.confidence < LOW_CONFIDENCE:
                    frame.before.append(low_confidence(result.confidence, frame.number))
        yield from frame.before
        if page is not None:
            self.readable += 1
            yield page
        yield Progress("ocr" if frame.ocr is not None else "extracting", done, total)


def low_confidence(confidence: float, number: int) -> Issue:
    """The issue of a page that OCR is unsure of."""
    return Issue(
        "low_confidence",
        f"OCR is unsure of the page: mean confidence {confidence:.0%}. Check it against the original.",
        number,
    )
