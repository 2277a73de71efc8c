"""Tells which frames of a GIF are pages.

A slow one is a set of slides, a quick one an animation that is only sampled.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from services.content import Limits
from services.errors import TooLarge

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_ANIMATION_FRAMES = 16
"""Frames of an animation that become pages, spread over all that differ."""

_SLIDE_MS = 500
"""Frames that stand at least so long, as half of them have to, are there to be read. Source: people take in a line of
text in about as long; animations run at 30 to 200 ms a frame."""

_THUMB = (64, 64)
_DIFFERENT = 6.0
"""Mean difference of two frames' thumbnails, of 255, from which an animation shows something new."""

_MAX_DECODED = 40
"""Times the pixels that one picture may have: what all frames together may have. Beyond it only the first are seen."""


def frames_of_gif(image: Image, limits: Limits) -> tuple[int, ...]:
    """The numbers, from 0, of the frames that are pages; the first is always one.

    Raises TooLarge (`too_many_pages`) and what Pillow raises where the first frame is damaged.
    """
    durations: list[int] = []
    slides: list[int] = []
    moving: list[int] = []
    seen: set[bytes] = set()
    last_thumb = b""
    budget = _MAX_DECODED * limits.max_pixels
    index = 0
    while budget > 0:
        try:
            image.seek(index)
            if image.width * image.height > limits.max_pixels:  # a frame may be larger than the header says
                break
            image.load()
        except EOFError:
            break
        except (OSError, ValueError, SyntaxError, IndexError):
            if index == 0:
                raise
            break
        budget -= image.width * image.height
        durations.append(int(image.info.get("duration") or 0))
        shown = image.convert("RGB")
        digest = hashlib.sha256(shown.tobytes()).digest()
        if digest not in seen:
            seen.add(digest)
            slides.append(index)
        thumb = shown.convert("L").resize(_THUMB).tobytes()
        if not moving or sum(abs(a - b) for a, b in zip(thumb, last_thumb, strict=True)) > _DIFFERENT * len(thumb):
            moving.append(index)
            last_thumb = thumb
        index += 1
        if len(slides) > limits.max_pages:
            raise too_many_frames(limits)
    standing = [duration for duration in durations if duration == 0 or duration >= _SLIDE_MS]
    if not durations:
        return (0,)
    if 2 * len(standing) >= len(durations):
        return tuple(slides)
    if len(moving) <= MAX_ANIMATION_FRAMES:
        return tuple(moving)
    return tuple(moving[n * len(moving) // MAX_ANIMATION_FRAMES] for n in range(MAX_ANIMATION_FRAMES))


def too_many_frames(limits: Limits) -> TooLarge:
    """The error for a picture with more pages than one document may have."""
    return TooLarge(
        f"The picture has more than {limits.max_pages:,} pages. Split it, or raise DOCATLAS_MAX_PAGES.",
        code="too_many_pages",
    )
