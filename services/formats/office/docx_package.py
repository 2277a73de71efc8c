"""The parts of an OPC package (ECMA-376 part 2) and the relations between them; XML is parsed without entities."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from services.errors import UnreadableDocument
from services.formats.kit.archive import Archive
from services.formats.kit.page_builder import one_line
from services.formats.kit.xml import MAX_PART_BYTES, parse_part
from services.formats.kit.xml import Element as Element

_PREFIXES = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://purl.oclc.org/ooxml/wordprocessingml/main": "w",
    "http://schemas.openxmlformats.org/drawingml/2006/main": "a",
    "http://purl.oclc.org/ooxml/drawingml/main": "a",
    "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing": "wp",
    "http://purl.oclc.org/ooxml/drawingml/wordprocessingDrawing": "wp",
    "http://schemas.openxmlformats.org/officeDocument/2006/math": "m",
    "http://purl.oclc.org/ooxml/officeDocument/math": "m",
    "http://schemas.openxmlformats.org/drawingml/2006/chart": "c",
    "http://purl.oclc.org/ooxml/drawingml/chart": "c",
    "http://schemas.openxmlformats.org/drawingml/2006/diagram": "dgm",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    "http://purl.oclc.org/ooxml/drawingml/diagram": "dgm",
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
    "http://schemas.microsoft.com/office/word/2010/wordprocessingShape": "wps",
    "urn:schemas-microsoft-com:vml": "v",
    "http://schemas.microsoft.com/office/word/2010/wordml": "w14",
    "http://schemas.microsoft.com/office/word/2012/wordml": "w15",
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships": "r",
    "http://purl.oclc.org/ooxml/officeDocument/relationships": "r",
}
"""Transitional and strict names of the same vocabularies. Source: ECMA-376 part 1 and part 4."""

_PROLOG_BYTES = 16_384

_names: dict[str, str] = {}


def name_of(name: Any) -> str:
    """An element's or attribute's name as `prefix:local`, the same for strict and transitional files."""
    if not isinstance(name, str):
        return ""
    known = _names.get(name)
    if known is None:
        space, _, local = name[1:].partition("}") if name.startswith("{") else ("", "", name)
        prefix = _PREFIXES.get(space, "" if not space else "?")
        known = f"{prefix}:{local}" if prefix else local
        if len(_names) < 10_000:
            _names[name] = known
    return known


def attribute(element: Element, name: str) -> str:
    """The value of the attribute `prefix:local`, in whichever of its namespaces; empty without it."""
    return next((str(value) for key, value in element.attrib.items() if name_of(key) == name), "")


def child(element: Element | None, name: str) -> Element | None:
    """The first child called `prefix:local`."""
    return None if element is None else next((item for item in element if name_of(item.tag) == name), None)


def value_of(element: Element | None, name: str) -> str | None:
    """`w:val` of the child called `name`; None without such a child, empty without the attribute."""
    found = child(element, name)
    return None if found is None else attribute(found, "w:val")


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a relationship of a part leads; never outside the file."""

    kind: str
    """Last word of the relationship's type, such as `image`."""
    target: str


class Package:
    """Reads parts of one document on demand."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._relations: dict[str, dict[str, Relation]] = {}
        self._links: dict[tuple[str, str], str] = {}
        self.damaged: list[str] = []
        """Parts that could not be read and were left out."""

    def xml(self, name: str) -> Element | None:
        """The root element of a part; None where there is no such part.

        Raises UnreadableDocument (`corrupt_document`; `xml_entities` for a document type, which Word never writes).
        """
        data = self._archive.read(name, at_most=MAX_PART_BYTES)
        if data is None:
            return None
        if b"<!DOCTYPE" in data[:_PROLOG_BYTES].replace(b"\x00", b""):
            raise _declares_entities()
        root = parse_part(data, self._archive.limits, what=f"part {posixpath.basename(name)[:80]}")
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

    def link(self, part: str, key: str) -> str:
        """Where the external relationship of `part` with that id leads; empty without it."""
        self.relations(part)
        return self._links.get((part, key), "")

    def relations(self, part: str) -> dict[str, Relation]:
        """Relationships of `part` by id; those that lead outside the file are left out."""
        known = self._relations.get(part)
        if known is None:
            folder, name = posixpath.split(part)
            root = self.optional_xml(posixpath.join(folder, "_rels", f"{name}.rels"))
            known = self._relations[part] = {}
            for item in root if root is not None else ():
                if item.get("TargetMode") == "External":
                    self._links[part, item.get("Id") or ""] = item.get("Target") or ""
                if item.get("TargetMode") == "External" or not item.get("Target"):
                    continue
                target = item.get("Target")
                path = target if target.startswith("/") else posixpath.join("/", folder, target)
                kind = (item.get("Type") or "").rpartition("/")[2]
                known[item.get("Id") or ""] = Relation(kind, posixpath.normpath(path).lstrip("/"))
        return known

    def related(self, part: str, kind: str) -> list[str]:
        """Names of the parts to which `part` has relationships of `kind`."""
        return [relation.target for relation in self.relations(part).values() if relation.kind == kind]

    def main_part(self) -> str | None:
        """Name of the part that holds the document's body."""
        named = [*self.related("", "officeDocument"), "word/document.xml"]
        return next((name for name in named if self._archive.find(name) is not None), None)

    def properties(self) -> tuple[str, str, str]:
        """(title, author, language) of the file's core properties."""
        found = {"title": "", "creator": "", "language": ""}
        for name in self.related("", "core-properties")[:1]:
            root = self.optional_xml(name)
            for item in root if root is not None else ():
                local = item.tag.rpartition("}")[2] if isinstance(item.tag, str) else ""
                if local in found:
                    found[local] = one_line(item.text or "")
        return found["title"], found["creator"], found["language"]


def _declares_entities() -> UnreadableDocument:
    return UnreadableDocument(
        "The document declares XML entities, which no word processor writes. It was not read.", code="xml_entities"
    )
