"""The parts of an Office document and the relations between them.

Source: ECMA-376 part 2, Open Packaging Conventions.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from services.content import Issue, Upload
from services.errors import TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.archive import Archive, InflationBudget, part_too_large
from services.formats.kit.page_builder import one_line
from services.formats.kit.xml import Element, parse_part

MAX_PART_BYTES = 64 * 1024**2
"""Of one part of a presentation or workbook that is held as a tree: slides, drawings, comments. Source: the largest
slide that was seen has 3 MB, and libxml2's tree takes five to eight times the text."""

_PROLOG_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a relationship of a part leads; never outside the file."""

    kind: str
    """Last word of the relationship's type, such as `image`."""
    target: str


class OfficePackage:
    """Reads the parts of one document on demand; XML is parsed without entities.

    `max_part_bytes` bounds a part that is held as a tree; the whole of a Word document is in one.
    """

    def __init__(self, archive: Archive, *, max_part_bytes: int = MAX_PART_BYTES) -> None:
        self.archive = archive
        self.damaged: list[str] = []
        """Names of the parts that could not be read and were left out; each is worth an Issue."""
        self._max_part_bytes = max_part_bytes
        self._relations: dict[str, dict[str, Relation]] = {}
        self._links: dict[str, dict[str, str]] = {}

    def xml(self, name: str) -> Element | None:
        """The root element of a part; None where there is no such part.

        Raises UnreadableDocument (`corrupt_document`; `xml_entities` for a document type, which Office never writes)
        and TooLarge (`archive_too_large`).
        """
        if self.archive.declared_size(name) > self._max_part_bytes:
            raise part_too_large(self._max_part_bytes)
        data = self.archive.read(name, at_most=self._max_part_bytes)
        if data is None:
            return None
        _check_prolog(data)
        root = parse_part(data, self.archive.limits, what=f"part {posixpath.basename(name)[:80]}")
        if root.getroottree().docinfo.internalDTD is not None:
            raise _declares_entities()
        return root

    def optional_xml(self, name: str) -> Element | None:
        """As `xml`, for a part without which the document can be read: None where it is damaged, which is noted."""
        try:
            return self.xml(name)
        except UnreadableDocument:
            if name not in self.damaged:
                self.damaged.append(name)
            return None

    def relations(self, part: str) -> Mapping[str, Relation]:
        """Relationships of `part` by id that stay inside the file.

        None where their list is damaged, which is noted.
        """
        if part not in self._relations:
            self._take_relations(part, self.optional_xml(_relations_part(part)))
            if _relations_part(part) in self.damaged:
                del self._links[part]
        return self._relations[part]

    def links(self, part: str) -> Mapping[str, str]:
        """Addresses outside the file to which `part` has relationships, by id.

        Raises as `xml` does.
        """
        if part not in self._links:
            self._take_relations(part, self.xml(_relations_part(part)))
        return self._links[part]

    def link(self, part: str, key: str) -> str:
        """Where the external relationship of `part` with that id leads; empty without it."""
        self.relations(part)
        return self._links.get(part, {}).get(key, "")

    def _take_relations(self, part: str, root: Element | None) -> None:
        inside = self._relations[part] = {}
        outside = self._links[part] = {}
        for item in root if root is not None else ():
            key, target = item.get("Id") or "", item.get("Target") or ""
            if item.get("TargetMode") == "External":
                outside[key] = target
            elif target:
                path = target if target.startswith("/") else posixpath.join("/", posixpath.dirname(part), target)
                kind = (item.get("Type") or "").rpartition("/")[2]
                inside[key] = Relation(kind, posixpath.normpath(path).lstrip("/"))

    def related(self, part: str, *kinds: str) -> list[str]:
        """Names of the parts to which `part` has relationships of one of `kinds`, whichever their case."""
        folded = {kind.casefold() for kind in kinds}
        return [item.target for item in self.relations(part).values() if item.kind.casefold() in folded]

    def main_part(self, usual: str) -> str | None:
        """Name of the part that holds the document or lists its pages.

        `usual` where the file does not say.
        """
        named = [*self.related("", "officeDocument"), usual]
        return next((name for name in named if self.archive.find(name) is not None), None)

    def properties(self) -> tuple[str, str, str]:
        """(title, author, language) of the file's core properties; empty where they are damaged."""
        found = {"title": "", "creator": "", "language": ""}
        for name in self.related("", "core-properties")[:1]:
            root = self.optional_xml(name)
            for item in root if root is not None else ():
                local = item.tag.rpartition("}")[2] if isinstance(item.tag, str) else ""
                if local in found:
                    found[local] = one_line(item.text or "")
        return found["title"], found["creator"], found["language"]

    def stream(self, name: str) -> Iterator[bytes]:
        """The bytes of a part, inflated piece by piece and never held as a whole.

        A part may be streamed several times, so each time counts by itself. Raises TooLarge (`archive_too_large`,
        `compression_ratio`) and UnreadableDocument (`corrupt_archive`, `xml_entities`).
        """
        budget = InflationBudget(self.archive.limits, of_part=True)
        is_first = True
        try:
            for piece in self.archive.stream(name, budget=budget):
                if is_first:
                    _check_prolog(piece)
                    is_first = False
                yield piece
        except UnreadableDocument as error:
            if error.code != "corrupt_archive":
                raise
            raise UnreadableDocument(
                "A part of the document is damaged. Save it anew in the program that made it, and upload it again.",
                code="corrupt_archive",
            ) from error

    def elements(self, name: str, *tags: str) -> Iterator[Element]:
        """The elements of a streamed part whose local name is among `tags`, each when it ends.

        The caller clears what it has read. Besides what `stream` raises: UnreadableDocument (`corrupt_document`) and
        TooLarge (`part_too_large`).
        """
        from lxml import etree

        parser = etree.XMLPullParser(
            events=("end",), tag=[f"{{*}}{tag}" for tag in tags], resolve_entities=False,
            no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, remove_comments=True,
            remove_pis=True,
        )  # fmt: skip
        fed = False
        idle = 0
        try:
            for piece in self.stream(name):
                fed = True
                idle += len(piece)
                if idle > MAX_PART_BYTES:
                    raise TooLarge(
                        f"A part of the file holds more than {MAX_PART_BYTES:,} bytes in one piece.",
                        code="part_too_large",
                        facts={"limit_bytes": MAX_PART_BYTES},
                    )
                try:
                    parser.feed(piece)
                finally:  # what ended before the damage is still there
                    for _, element in parser.read_events():
                        idle = 0
                        yield element
            if fed:
                parser.close()
        except (etree.XMLSyntaxError, ValueError) as error:
            raise UnreadableDocument(
                "A part of the document is no well-formed XML. Let the program that made it repair it.",
                code="corrupt_document",
            ) from error


@contextmanager
def open_package(
    upload: Upload, context: ExtractContext, *, max_part_bytes: int = MAX_PART_BYTES
) -> Iterator[OfficePackage]:
    """The package of an upload, closed on leaving. Raises what `Archive` raises."""
    with Archive(upload.path, context.limits) as archive:
        yield OfficePackage(archive, max_part_bytes=max_part_bytes)


def damaged_parts(package: OfficePackage) -> Iterator[Issue]:
    """An Issue for each part that was left out because it is damaged."""
    for name in package.damaged:
        yield Issue("part_unreadable", f"The damaged part {posixpath.basename(name)[:80]} was left out.")


def _relations_part(part: str) -> str:
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")


def _check_prolog(data: bytes) -> None:
    """Raises UnreadableDocument (`xml_entities`) where the beginning of a part declares a document type."""
    if b"<!DOCTYPE" in data[:_PROLOG_BYTES].replace(b"\x00", b""):
        raise _declares_entities()


def _declares_entities() -> UnreadableDocument:
    return UnreadableDocument(
        "The document declares XML entities, which no Office program writes. It was not read.", code="xml_entities"
    )
