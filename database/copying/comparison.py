"""Compares the same rows of two databases, and says where they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol, TypeVar

from sqlalchemy import Connection, Table, exists, literal, or_, select

from database import schema
from database.copying.rows import Checksum, Key, Part, Row, count_rows, parts_of, read_rows, show_key, tables
from database.records import SERVICE_ACTOR
from database.store import Store

T = TypeVar("T")

DIFFERENCES_KEPT = 20
"""Of each table; what is more is only counted."""


class Progress(Protocol):
    """Who is told how far a copy or a comparison is."""

    def begin(self, step: Literal["copy", "verify"], table: str, rows: int) -> None:
        """A table of about so many rows is begun."""
        ...

    def advance(self, rows: int) -> None:
        """So many rows of it were dealt with."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the same on both sides."""

    table: str
    row: str
    """Its table and its key, to be read by a person."""
    kind: Literal["missing", "extra", "differs"]
    """Seen from the target: it lacks the row, has it alone, or has other values in `columns`."""
    columns: Sequence[str] = ()

    def __str__(self) -> str:
        said = {"missing": "is missing in the target", "extra": "is in the target only"}.get(self.kind)
        return f"{self.row} {said or 'differs in ' + ', '.join(self.columns)}"


@dataclass
class TableComparison:
    """How a table of the one database compares with that of the other."""

    table: str
    source_rows: int = 0
    target_rows: int = 0
    source_checksum: str = ""
    """See rows.Checksum."""
    target_checksum: str = ""
    differing_rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    """The first of them."""

    @property
    def is_equal(self) -> bool:
        return self.source_checksum == self.target_checksum and self.source_rows == self.target_rows


@dataclass(frozen=True, slots=True)
class Stretch:
    """All rows of both databases between two keys."""

    source: Sequence[Row]
    target: Sequence[Row]

    @property
    def missing(self) -> Sequence[Row]:
        """Rows that the target lacks."""
        known = {row.key for row in self.target}
        return [row for row in self.source if row.key not in known]

    def differences(self, table: Table) -> list[Difference]:
        """Rows that are not the same, those of the source first."""
        there = {row.key: row for row in self.target}
        here = {row.key for row in self.source}
        found: list[Difference] = []
        for row in self.source:
            other = there.get(row.key)
            if other is None:
                found.append(Difference(table.name, show_key(table, row.key), "missing"))
            elif other.fields != row.fields:
                columns = [
                    column.name for column, a, b in zip(table.c, row.fields, other.fields, strict=True) if a != b
                ]
                found.append(Difference(table.name, show_key(table, row.key), "differs", columns))
        extra = [row for row in self.target if row.key not in here]
        return found + [Difference(table.name, show_key(table, row.key), "extra") for row in extra]


def compare(source: Connection, target: Connection, progress: Progress) -> list[TableComparison]:
    """Every table compared row by row.

    The connections are in transactions that see one state each.
    """
    return [_compare_table(source, target, table, progress) for table in tables()]


def _compare_table(source: Connection, target: Connection, table: Table, progress: Progress) -> TableComparison:
    result = TableComparison(table.name)
    sums = Checksum(), Checksum()
    progress.begin("verify", table.name, count_rows(source, table))
    for part in parts_of(table, source, target):
        for stretch in stretches(on_connection(source), on_connection(target), part):
            for checksum, rows in zip(sums, (stretch.source, stretch.target), strict=True):
                for row in rows:
                    checksum.add(row)
            found = stretch.differences(table)
            result.differing_rows += len(found)
            result.differences += found[: DIFFERENCES_KEPT - len(result.differences)]
            progress.advance(len(stretch.source))
    result.source_rows, result.target_rows = (checksum.rows for checksum in sums)
    result.source_checksum, result.target_checksum = (checksum.hexdigest() for checksum in sums)
    return result


class Reading(Protocol):
    """Runs a function that only reads on a connection, and returns what it returns."""

    def __call__(self, work: Callable[[Connection], T]) -> T: ...


def on_connection(connection: Connection) -> Reading:
    """Reads in the transaction that the connection is in."""

    def run(work: Callable[[Connection], T]) -> T:
        return work(connection)

    return run


def in_short_transactions(store: Store) -> Reading:
    """Reads in a transaction of its own each time, so that none is long."""

    def run(work: Callable[[Connection], T]) -> T:
        with store.begin(SERVICE_ACTOR) as tx:
            return work(tx.connection)

    return run


def stretches(source: Reading, target: Reading, part: Part) -> Iterator[Stretch]:
    """Both databases' rows of a part, side by side, by key.

    At most a batch of each at a time. Profiles of the target's that own nothing are left out: the schema makes one by
    itself, Supabase one an account.
    """
    after: Key | None = None
    while True:
        read = partial(read_rows, part=part, after=after)
        ours, theirs = source(read), target(read)
        # As far as both are known: keys are ids, hashes and numbers, which sort here as they do in the databases.
        ends = [rows[-1].key for rows in (ours, theirs) if len(rows) == part.batch_rows]
        until = min(ends, default=None)
        if until is not None:
            ours = [row for row in ours if row.key <= until]
            theirs = [row for row in theirs if row.key <= until]
        if part.table is schema.users:
            known = {row.key for row in ours}
            theirs = [row for row in theirs if row.key in known or target(partial(owns_rows, user_id=row.key[0]))]
        yield Stretch(ours, theirs)
        if until is None:
            return
        after = until


def owns_rows(connection: Connection, user_id: str) -> bool:
    """True when anything beside the profile belongs to this owner."""
    owned = [table for table in tables() if table is not schema.users and "user_id" in table.c]
    rows = [exists(select(literal(1)).where(table.c.user_id == user_id)) for table in owned]
    return bool(connection.scalar(select(or_(*rows))))
