"""What PPTX and XLSX share of their package: parts read whole or as a stream, and links."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from services.content import Issue, Limits, Upload
from services.errors import TooLarge, UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.archive import MEMBER_DAMAGE, Archive
from services.formats.office.docx_package import Element, Package, Relation, attribute

MAX_PART_BYTES = 64 * 1024**2
"""Of one part that is held as a tree: slides, drawings, comments. Source: the largest slide that was seen has 3 MB, and
libxml2's tree takes five to eight times the text."""

_RATIO_APPLIES_FROM = 10_000_000
_PROLOG_BYTES = 16_384
_STEP = 1 << 18


class OfficePackage:
    """The parts of one presentation or workbook."""

    def __init__(self, archive: Archive, zipped: zipfile.ZipFile, limits: Limits) -> None:
        self.archive = archive
        self._zip = zipped
        self._limits = limits
        self._package = Package(archive)
        self._links: dict[str, dict[str, str]] = {}

    def xml(self, name: str) -> Element | None:
        """The root element of a part; None where there is no such part.

        Raises UnreadableDocument (`corrupt_document`, `xml_entities`) and TooLarge (`archive_too_large`).
        """
        found = self.archive.find(name)
        if found is None:
            return None
        if self._zip.getinfo(self._stored_name(found)).file_size > MAX_PART_BYTES:
            raise _part_too_large(MAX_PART_BYTES)
        return self._package.xml(name)

    def relations(self, part: str) -> dict[str, Relation]:
        """Relationships of `part` by id that stay inside the file. Raises as `xml` does."""
        return self._package.relations(part)

    @property
    def damaged(self) -> list[str]:
        """Names of the parts without which the rest could be read; each is worth an Issue."""
        return self._package.damaged

    def related(self, part: str, *kinds: str) -> list[str]:
        """Names of the parts to which `part` has relationships of one of `kinds`, whichever their case."""
        folded = {kind.casefold() for kind in kinds}
        return [item.target for item in self.relations(part).values() if item.kind.casefold() in folded]

    def links(self, part: str) -> dict[str, str]:
        """Addresses outside the file to which `part` has relationships, by id. Raises as `xml` does."""
        known = self._links.get(part)
        if known is None:
            folder, name = posixpath.split(part)
            root = self.xml(posixpath.join(folder, "_rels", f"{name}.rels"))
            known = self._links[part] = {
                item.get("Id") or "": item.get("Target") or ""
                for item in (root if root is not None else ())
                if item.get("TargetMode") == "External"
            }
        return known

    def main_part(self, usual: str) -> str | None:
        """Name of the part that lists slides or sheets; `usual` where the file does not say."""
        try:
            named = self.related("", "officeDocument")
        except UnreadableDocument:
            named = []
        return next((name for name in [*named, usual] if self.archive.find(name) is not None), None)

    def properties(self) -> tuple[str, str, str]:
        """(title, author, language) of the file's core properties; empty where they are damaged."""
        try:
            return self._package.properties()
        except UnreadableDocument:
            return "", "", ""

    def stream(self, name: str) -> Iterator[bytes]:
        """The bytes of a part, inflated piece by piece and never held as a whole.

        Raises TooLarge (`archive_too_large`, `compression_ratio`) and UnreadableDocument (`corrupt_archive`,
        `xml_entities`).
        """
        found = self.archive.find(name)
        if found is None:
            return
        member = self._zip.getinfo(self._stored_name(found))
        size = 0
        try:
            with self._zip.open(member) as source:
                while piece := source.read(_STEP):
                    if not size and b"<!DOCTYPE" in piece[:_PROLOG_BYTES].replace(b"\x00", b""):
                        raise UnreadableDocument(
                            "The document declares XML entities, which no Office program writes. It was not read.",
                            code="xml_entities",
                        )
                    size += len(piece)
                    self._check(size, member.compress_size)
                    yield piece
        except MEMBER_DAMAGE as error:
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

    def _stored_name(self, found: str) -> str:
        return found if found in self._zip.NameToInfo else "/" + found

    def _check(self, size: int, packed: int) -> None:
        limits = self._limits
        if size > limits.max_unpacked_bytes:
            raise _part_too_large(limits.max_unpacked_bytes)
        if size > _RATIO_APPLIES_FROM and size > limits.max_unpack_ratio * max(1, packed):
            raise TooLarge(
                f"A part unpacks to more than {limits.max_unpack_ratio} times its size, as a zip bomb does.",
                code="compression_ratio",
                facts={"limit_ratio": limits.max_unpack_ratio},
            )


def _part_too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"A part of the file unpacks to more than {limit:,} bytes, which is the limit.",
        code="archive_too_large",
        facts={"limit_bytes": limit},
    )


@contextmanager
def open_package(upload: Upload, context: ExtractContext) -> Iterator[OfficePackage]:
    """The package of an upload, closed on leaving. Raises what `Archive` raises."""
    with Archive(upload.path, context.limits) as archive, zipfile.ZipFile(upload.path) as zipped:
        yield OfficePackage(archive, zipped, context.limits)


def damaged_parts(package: OfficePackage) -> Iterator[Issue]:
    """An Issue for each part that was left out because it is damaged."""
    for name in package.damaged:
        yield Issue("part_unreadable", f"The damaged part {posixpath.basename(name)[:80]} was left out.")


def local(element: Element) -> str:
    """An element's name without its namespace; empty for what is no element."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def first(element: Element | None, *path: str) -> Element | None:
    """The element reached from `element` by going to the first child of each local name in turn."""
    for name in path:
        if element is None:
            return None
        element = next((item for item in element if local(item) == name), None)
    return element


def children(element: Element | None) -> list[Element]:
    """The elements directly inside `element`; none without it."""
    return [] if element is None else [item for item in element if isinstance(item.tag, str)]


def text_at(element: Element | None, *path: str) -> str:
    """The text of the element that `first` finds; empty without one."""
    found = first(element, *path)
    return "" if found is None else found.text or ""


def reference(element: Element | None, name: str) -> str:
    """The value of the attribute `prefix:local`, such as `r:embed`; empty without the element or the attribute."""
    return "" if element is None else attribute(element, name)


def whole_number(value: str | None, default: int = 0) -> int:
    """`value` as an integer of at most 18 digits; `default` where it is none."""
    text = (value or "").strip()
    sign = text[:1] == "-"
    digits = text[1:] if sign else text
    return (
        (-1 if sign else 1) * int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else default
    )


def is_on(value: str | None) -> bool:
    """True for the spellings of true in XML Schema."""
    return (value or "").strip().lower() in ("1", "true", "on")
