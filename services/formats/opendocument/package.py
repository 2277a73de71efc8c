"""The parts of an OpenDocument file, and what it says of itself.

Also the names and lengths that its XML uses.

Source: OASIS OpenDocument 1.3, part 2 (packages) and part 3 (schema).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from services.content import Issue, Limits
from services.errors import EncryptedDocument, UnreadableDocument
from services.formats.kit.archive import Archive
from services.formats.kit.page_builder import one_line
from services.formats.kit.xml import MAX_PART_BYTES, Element, parse_part

_OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
_SPACES = {
    "office": f"{_OASIS}office:1.0",
    "text": f"{_OASIS}text:1.0",
    "table": f"{_OASIS}table:1.0",
    "draw": f"{_OASIS}drawing:1.0",
    "dr3d": f"{_OASIS}dr3d:1.0",
    "presentation": f"{_OASIS}presentation:1.0",
    "style": f"{_OASIS}style:1.0",
    "fo": f"{_OASIS}xsl-fo-compatible:1.0",
    "svg": f"{_OASIS}svg-compatible:1.0",
    "chart": f"{_OASIS}chart:1.0",
    "meta": f"{_OASIS}meta:1.0",
    "manifest": f"{_OASIS}manifest:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xlink": "http://www.w3.org/1999/xlink",
    "math": "http://www.w3.org/1998/Math/MathML",
    "loext": "urn:org:documentfoundation:names:experimental:office:xmlns:loext:1.0",
    "officeooo": "http://openoffice.org/2009/office",
}
_PREFIXES = {space: prefix for prefix, space in _SPACES.items()}
_LENGTH = re.compile(r"(-?\d{1,9}(?:\.\d{0,12})?|-?\.\d{1,12})(pt|in|mm|cm|pc|px)")
_POINTS = {"pt": 1.0, "in": 72.0, "mm": 72 / 25.4, "cm": 72 / 2.54, "pc": 12.0, "px": 0.75}

_names: dict[str, str] = {}
_qualified: dict[str, str] = {}


def name_of(tag: object) -> str:
    """An element's name as `prefix:local` with the prefixes of the specification.

    Empty for what is no element.
    """
    if not isinstance(tag, str):
        return ""
    known = _names.get(tag)
    if known is None:
        space, _, local = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
        known = f"{_PREFIXES.get(space, '?')}:{local}"
        if len(_names) < 10_000:
            _names[tag] = known
    return known


def qualified(name: str) -> str:
    """`prefix:local` as lxml writes it."""
    known = _qualified.get(name)
    if known is None:
        prefix, _, local = name.partition(":")
        known = _qualified[name] = f"{{{_SPACES[prefix]}}}{local}"
    return known


def attribute(element: Element, name: str) -> str:
    """The value of the attribute `prefix:local`; empty without it."""
    return element.get(qualified(name)) or ""


def count_of(element: Element, name: str, *, at_most: int) -> int:
    """The number in an attribute such as `table:number-columns-repeated`, from 1 to `at_most`; 1 without it."""
    value = element.get(qualified(name))
    if not value or not value.isdecimal():
        return 1
    return max(1, min(int(value[:9]), at_most))


def points(value: str) -> float:
    """A length with its unit in points; 0 where it is none."""
    match = _LENGTH.fullmatch(value.strip())
    return round(float(match.group(1)) * _POINTS[match.group(2)], 2) if match else 0.0


@dataclass(frozen=True, slots=True)
class OdfInfo:
    title: str = ""
    author: str = ""
    language: str = ""


class OdfPackage:
    """Reads parts of one document on demand."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        """Raises EncryptedDocument (`encryption_unsupported`)."""
        self.archive = archive
        self.limits = limits
        self.damaged: list[str] = []
        """Parts that could not be read and were left out; each is worth an Issue."""
        manifest = self.optional_xml("META-INF/manifest.xml")
        if manifest is not None and next(manifest.iter(qualified("manifest:encryption-data")), None) is not None:
            raise EncryptedDocument(
                "The document is protected by a password, which cannot be used for OpenDocument files. Save it without "
                "the password and upload that.",
                code="encryption_unsupported",
            )

    def xml(self, name: str) -> Element | None:
        """The root element of a part; None where there is no such part.

        Raises as `parse_part` does.
        """
        data = self.archive.read(name, at_most=MAX_PART_BYTES)
        return None if data is None else parse_part(data, self.limits, what=f"part {posixpath.basename(name)[:80]}")

    def optional_xml(self, name: str) -> Element | None:
        """As `xml`, for a part without which the document can be read: None where it is damaged, which is noted."""
        try:
            return self.xml(name)
        except UnreadableDocument as error:
            if error.code not in ("corrupt_document", "corrupt_archive"):
                raise
            self.damaged.append(name)
            return None

    def issues(self) -> Iterator[Issue]:
        """An Issue for each part that was left out because it is damaged."""
        for name in self.damaged:
            yield Issue("part_unreadable", f"The damaged part {posixpath.basename(name)[:80]} was left out.")

    def content(self, kind: str) -> tuple[Element, Element]:
        """(root of the content, its body's element called `kind`, such as `office:text`). Raises UnreadableDocument."""
        root = self.xml("content.xml")
        body = None if root is None else next(root.iter(qualified(kind)), None)
        if root is None or body is None:
            raise no_content()
        return root, body

    def member(self, address: str, folder: str = "") -> str | None:
        """The member of the archive that an address such as `Pictures/a.png` or `./Object 1` names; None without it."""
        path = posixpath.normpath(posixpath.join("/", folder, unquote(address))).lstrip("/")
        return self.archive.find(path) if path and ":" not in address.partition("/")[0] else None

    def info(self) -> OdfInfo:
        """Title, author and language that the file names."""
        root = self.optional_xml("meta.xml")
        found: dict[str, str] = {}
        for item in root.iter() if root is not None else ():
            found.setdefault(name_of(item.tag), one_line(item.text or ""))
        author = found.get("meta:initial-creator") or found.get("dc:creator") or ""
        return OdfInfo(found.get("dc:title", "")[:500], author[:500], found.get("dc:language", "")[:64])


def no_content() -> UnreadableDocument:
    """The error for a file without the part that holds what it shows."""
    return UnreadableDocument(
        "The file lacks the part that holds its content. Open it in the program that made it, save it anew and upload "
        "that.",
        code="corrupt_document",
    )
