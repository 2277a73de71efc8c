"""Parses XML parts of documents in zip files.

Without entities, network or document types, and not too deep.
"""

from __future__ import annotations

import re
from typing import Any

from services.content import Limits
from services.errors import UnreadableDocument

Element = Any
"""An element of lxml.etree, which has no usable types."""

MAX_PART_BYTES = 128 * 1024**2
"""Of one XML part that becomes a tree. Source: libxml2's tree takes five to eight times the text, and the child may
have 2 GiB."""

_PLAIN = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:<\?xml(?:(?!encoding|\?>).){0,100}(?:encoding\s{0,9}=\s{0,9}[\"']utf-8[\"'])?"
    rb"(?:(?!encoding|\?>).){0,100}\?>)?\s{0,100}<[^?\x00]",
    re.I | re.S,
)
"""The beginning of XML in UTF-8, in which a document type can be seen byte by byte."""


def parse_part(data: bytes, limits: Limits, *, what: str) -> Element:
    """The root element of an XML part; `what` names the part to the user.

    Raises UnreadableDocument: `corrupt_document`; `xml_entities` where it declares entities; `nesting_too_deep`.
    """
    from lxml import etree

    # `huge_tree` lifts the bound of 10 MB on one text or attribute, such as a picture in an address, but also that on
    # entities, which are replaced in attributes in any case: it is for documents that cannot declare any.
    huge = _PLAIN.match(data) is not None and b"<!DOCTYPE" not in data
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=huge,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        if any(
            entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT or "depth" in entry.message for entry in parser.error_log
        ):
            raise too_deep(limits) from error
        raise UnreadableDocument(
            f"The {what} of the file is damaged. Open it in the program that made it, save it anew and upload that.",
            code="corrupt_document",
        ) from error
    declared = root.getroottree().docinfo.internalDTD
    if declared is not None and next(declared.iterentities(), None) is not None:
        raise UnreadableDocument(
            "The document declares XML entities, which no program that writes such files does. It was not read.",
            code="xml_entities",
        )
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > limits.max_nesting:
            raise too_deep(limits)
    return root


def too_deep(limits: Limits) -> UnreadableDocument:
    """The error for elements inside each other beyond the limit."""
    return UnreadableDocument(
        f"The document nests its elements more than {limits.max_nesting} deep. It was not read.",
        code="nesting_too_deep",
    )
