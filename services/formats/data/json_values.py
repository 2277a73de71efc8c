"""Lays values of JSON out as text and tables for readers.

Fields become `key: value`, arrays of records tables, long strings text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.content import BlockKind, Page
from services.formats.kit.decoding import clean_text
from services.formats.kit.page_builder import PageBuilder

PAGE_CHARS = 1_000_000
"""A page is closed at the first block beyond this. Source: as for CSV, it keeps a page below some 50 MB."""

_MAX_COLUMNS = 200
_MAX_SPARSITY = 4
"""Cells of a table for each field of its records; records that share too few keys begin a new table."""
_MAY_BE_SPARSE_CELLS = 200
"""A table up to this size may have empty cells at will. Source: 2.4 MB of records that share one key of two became
61 MB of text without these bounds; they become 4.3 MB with them."""
_LONG_CHARS = 120
"""A string beyond this, or with several lines, is a text and no field."""

Path = tuple[str | int, ...]


class ValueWriter:
    """Pages of the values that it is given one after the other.

    Records with the same keys become rows of one table.
    """

    def __init__(self) -> None:
        self.first_title = ""
        self._page = PageBuilder(1)
        self._done: list[Page] = []
        self._columns: dict[str, None] = {}
        self._records: list[Mapping[str, Any]] = []
        self._records_of: Path = ()
        self._record_chars = 0
        self._record_fields = 0
        self._fields: list[str] = []
        self._headed: Path = ()

    def add(self, path: Path, value: Any) -> None:
        """Appends `value`, which stands at `path` in the document."""
        is_item = bool(path) and isinstance(path[-1], int)
        if is_item and _is_record(value):
            self._add_record(path, value)
        else:
            self._flush_records()
            self._walk(path, value)

    def take(self) -> Iterator[Page]:
        """The pages that are complete."""
        done, self._done = self._done, []
        yield from done

    def finish(self) -> Iterator[Page]:
        """The rest of the pages, at least one in all."""
        self._flush_records()
        self._flush_fields()
        yield from self.take()
        if not self._page.is_empty or self._page.number == 1:
            yield self._page.build()

    def _walk(self, path: Path, value: Any) -> None:
        """Writes a value; a stack in place of recursion, for the depth is the file's to choose."""
        todo: list[tuple[Path, Any]] = [(path, value)]
        while todo:
            here, item = todo.pop()
            if isinstance(item, dict):
                todo += [((*here, key), inner) for key, inner in reversed(item.items())]
            elif isinstance(item, list):
                if len(item) > 1 and all(_is_record(inner) for inner in item):
                    for number, inner in enumerate(item):
                        self._add_record((*here, number), inner)
                    self._flush_records()
                elif item and all(_is_short(inner) for inner in item):
                    self._add_field(here, ", ".join(shown(inner) for inner in item))
                elif item:
                    todo += [((*here, number), inner) for number, inner in reversed(list(enumerate(item)))]
                else:
                    self._add_field(here, "")
            else:
                self._add_scalar(here, item)

    def _add_scalar(self, path: Path, value: Any) -> None:
        text = shown(value)
        if not self.first_title and path and path[-1] in ("title", "name") and isinstance(value, str):
            self.first_title = " ".join(text.split())
        if _is_short(value):
            self._add_field(path, text)
            return
        self._head(path[:-1])
        self._flush_fields()
        key = path[-1] if path else ""
        if isinstance(key, str) and key:
            self._block(BlockKind.PARAGRAPH, f"{key}: {text}")
        else:
            self._block(BlockKind.LIST_ITEM if path else BlockKind.PARAGRAPH, text, level=1 if path else 0)

    def _add_field(self, path: Path, text: str) -> None:
        self._head(path[:-1])
        key = path[-1] if path else ""
        if isinstance(key, int):
            self._flush_fields()
            self._block(BlockKind.LIST_ITEM, text, level=1)
        else:
            self._fields.append(f"{clean_text(key)}: {text}" if key else text)

    def _head(self, path: Path) -> None:
        """Names the object whose fields follow, where it is not the one whose fields went before."""
        if path == self._headed:
            return
        self._flush_fields()
        self._headed = path
        name = path_name(path)
        if name:
            self._block(BlockKind.HEADING, name, level=min(6, len(path)))

    def _add_record(self, path: Path, record: Mapping[str, Any]) -> None:
        new = [key for key in record if key not in self._columns]
        if (
            path[:-1] != self._records_of
            or (self._records and len(new) == len(record))
            or len(self._columns) + len(new) > _MAX_COLUMNS
            or self._is_too_sparse(len(new), len(record))
        ):
            self._flush_records()
            self._records_of = path[:-1]
            new = list(record)
        self._columns.update(dict.fromkeys(new))
        self._records.append(record)
        self._record_chars += sum(len(shown(value)) for value in record.values()) + 3 * len(self._columns)
        self._record_fields += len(record)
        if self._record_chars >= PAGE_CHARS:
            columns = self._columns
            self._flush_records()
            self._close_page()
            self._columns = columns  # the table goes on with the same header
            self._records_of = path[:-1]

    def _is_too_sparse(self, new_columns: int, new_fields: int) -> bool:
        """True where one more record would leave nearly all cells of the table empty."""
        cells = (len(self._records) + 1) * (len(self._columns) + new_columns)
        return cells > max(_MAY_BE_SPARSE_CELLS, _MAX_SPARSITY * (self._record_fields + new_fields))

    def _flush_records(self) -> None:
        records, columns = self._records, list(self._columns)
        path = self._records_of
        self._records, self._columns, self._records_of = [], {}, ()
        self._record_chars = self._record_fields = 0
        if not records:
            return
        self._flush_fields()
        if path and path != self._headed:
            self._headed = path
            self._block(BlockKind.HEADING, path_name(path), level=min(6, len(path)))
        self._turn_page()
        self._page.add_table(
            [
                [clean_text(column) for column in columns],
                *([_cell(record.get(column)) for column in columns] for record in records),
            ]
        )

    def _flush_fields(self) -> None:
        fields, self._fields = self._fields, []
        if fields:
            self._block(BlockKind.PARAGRAPH, "\n".join(fields))

    def _block(self, kind: BlockKind, text: str, *, level: int = 0) -> None:
        self._turn_page()
        self._page.add(kind, text, level=level)

    def _turn_page(self) -> None:
        if self._page.chars >= PAGE_CHARS:
            self._close_page()

    def _close_page(self) -> None:
        self._done.append(self._page.build())
        self._page = PageBuilder(self._page.number + 1)


def path_name(path: Sequence[str | int]) -> str:
    """The way to a value as programmers write it: `berths[2].boat`."""
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{clean_text(step)}" if name else clean_text(step)
    return name


def shown(value: Any) -> str:
    """A scalar as JSON writes it, strings without their quotation marks."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value)
    return "" if value is None else shown(value)


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONG_CHARS and "\n" not in value
    return not isinstance(value, (list, Mapping))


def _is_record(value: Any) -> bool:
    """True for an object whose fields all fit into cells."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            _is_short(inner)
            or (isinstance(inner, list) and len(inner) <= 20 and all(_is_short(item) for item in inner))
            for inner in value.values()
        )
    )
