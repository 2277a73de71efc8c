"""Pictures as they are met in a document, and which caption belongs to which."""

from __future__ import annotations

from dataclasses import dataclass

from services.content import Box


@dataclass(slots=True)
class PlacedPicture:
    """A picture in the part called `part`, with what the document says of it."""

    part: str
    alt: str = ""
    caption: str = ""
    box: Box | None = None


class CaptionMatcher:
    """Gives a caption to the pictures right before it, else to those right behind it."""

    def __init__(self) -> None:
        self._waiting: list[PlacedPicture] = []
        self._caption = ""

    def picture(self, picture: PlacedPicture) -> None:
        """A picture was met."""
        if self._caption and not picture.caption:
            picture.caption = self._caption
        elif not picture.caption:
            self._waiting.append(picture)

    def caption(self, text: str) -> None:
        """A caption was met."""
        self._caption = ""
        if self._waiting:
            for picture in self._waiting:
                picture.caption = text
            self._waiting = []
        else:
            self._caption = text

    def other(self) -> None:
        """Something else was met: what stands apart does not belong together."""
        self._waiting = []
        self._caption = ""
