"""Reads the footnotes, endnotes and comments of a Word document.

They lie in parts of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from services.formats.kit.xml import Element
from services.formats.office.markup import attribute, name_of
from services.formats.office.package import OfficePackage

_PARTS = {"footnote": "footnotes", "endnote": "endnotes", "comment": "comments"}
_SEPARATORS = ("separator", "continuationSeparator", "continuationNotice")


@dataclass(frozen=True, slots=True)
class NoteText:
    """A note and the part that it lies in."""

    part: str
    element: Element

    @property
    def author(self) -> str:
        return attribute(self.element, "w:author")


class Notes:
    """Gives each note once."""

    def __init__(self, package: OfficePackage, main: str) -> None:
        self._notes: dict[str, dict[str, NoteText]] = {}
        for kind, relation in _PARTS.items():
            found = self._notes[kind] = {}
            for part in package.related(main, relation)[:1]:
                root = package.optional_xml(part)
                for item in root if root is not None else ():
                    if name_of(item.tag) == f"w:{kind}" and attribute(item, "w:type") not in _SEPARATORS:
                        found[attribute(item, "w:id")] = NoteText(part, item)
        self._replies = self._read_replies(package, main)

    def _read_replies(self, package: OfficePackage, main: str) -> dict[str, list[str]]:
        """Ids of the comments that answer a comment, by its id.

        Source: [MS-DOCX] 2.5.4.1, commentEx.
        """
        by_paragraph = {
            attribute(item, "w14:paraId"): key
            for key, note in self._notes["comment"].items()
            for item in note.element.iter()
            if name_of(item.tag) == "w:p"
        }
        found: dict[str, list[str]] = {}
        for part in package.related(main, "commentsExtended")[:1]:
            root = package.optional_xml(part)
            for item in root if root is not None else ():
                parent = by_paragraph.get(attribute(item, "w15:paraIdParent") or "-")
                reply = by_paragraph.get(attribute(item, "w15:paraId") or "-")
                if parent is not None and reply is not None and parent != reply:
                    found.setdefault(parent, []).append(reply)
        return found

    def take(self, kind: str, key: str) -> Iterator[NoteText]:
        """The note that is referred to, and the comments that answer it.

        Those that were taken before are left out.
        """
        todo = deque([key])
        while todo:
            current = todo.popleft()
            note = self._notes[kind].pop(current, None)
            if note is not None:
                yield note
                todo += self._replies.get(current, []) if kind == "comment" else []

    def take_comments(self) -> Iterator[NoteText]:
        """The comments that nothing in the text refers to."""
        for key in list(self._notes["comment"]):
            yield from self.take("comment", key)
