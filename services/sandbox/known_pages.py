"""Pages that an interrupted run has stored, on their way back to the child that goes on with the document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.content import Page
from services.page_json import unpack_page


def page_line(packed: Mapping[str, Any]) -> str:
    """A page, packed as by services.page_json.pack_page, as a line of the file that `KnownPages` reads."""
    return f"{packed['number']}\t{json.dumps(packed, separators=(',', ':'))}\n"


class KnownPages(Mapping[int, Page]):
    """Pages by number, read from their file one at a time: only the offsets are held in memory."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._offsets: dict[int, int] = {}
        if path is not None:
            with open(path, "rb") as lines:
                offset = 0
                for line in lines:
                    number, _, _ = line.partition(b"\t")
                    self._offsets[int(number)] = offset
                    offset += len(line)

    def __getitem__(self, number: int) -> Page:
        offset = self._offsets[number]
        assert self._path is not None
        with open(self._path, "rb") as lines:
            lines.seek(offset)
            _, _, packed = lines.readline().partition(b"\t")
        return unpack_page(json.loads(packed))

    def __iter__(self) -> Iterator[int]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)
