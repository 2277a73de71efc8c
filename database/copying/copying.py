"""Copies the rows that a database lacks of another, table by table.

It can be stopped anywhere and begun again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.exc import DBAPIError

from database import schema
from database.copying.comparison import (
    Difference,
    Progress,
    TableComparison,
    compare,
    in_short_transactions,
    on_connection,
    owns_rows,
    stretches,
)
from database.copying.rows import Part, Row, count_rows, parts_of, show_key, tables
from database.copying.writing import announce_rows, insert_rows, numbered_by, replace_row, reserve_numbers
from database.errors import RowRefused, StoreError
from database.ids import format_time
from database.jobs.jobs import RUNNING_STATUSES
from database.records import SERVICE_ACTOR
from database.store import Store, Transaction

LIVE_S = 120.0
"""A job whose worker wrote no heartbeat for so long is nobody's: the next server puts it back into the queue."""
_SHOWN = 5


class CopyRefused(StoreError):
    """The databases are not in a state in which one can be copied into the other.

    Nothing was overwritten.
    """


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did."""

    rows: dict[str, int]
    """Rows written in this run, by table."""
    comparisons: Sequence[TableComparison]
    """What both databases hold afterwards, read once more from the beginning."""

    @property
    def is_equal(self) -> bool:
        return all(comparison.is_equal for comparison in self.comparisons)


def copy_rows(source: Store, target: Store, progress: Progress) -> Copied:
    """Brings every row of `source` into `target`, and then compares all of both.

    Both have the newest schema. All of it is read from one state of the source; the target is written in short
    transactions, parents first, each table by key. What is there already is compared and stays: so a copy that was
    killed goes on where it stopped. Raises CopyRefused for a row that is there with other values or that the source
    lacks, for values that the target does not accept, and while a worker runs jobs in one of them.
    """
    for store in (source, target):
        require_no_running_jobs(store)
    written: dict[str, int] = {}
    with source.begin(SERVICE_ACTOR) as reading:
        _align_profiles(reading.connection, target)
        for table in tables():
            written[table.name] = _copy_table(reading.connection, target, table, progress)
    with _writing(target) as tx:
        announce_rows(tx)
    return Copied(written, compare_stores(source, target, progress))


def compare_stores(source: Store, target: Store, progress: Progress) -> list[TableComparison]:
    """Every table of two stores compared row by row, each store in one state."""
    with source.begin(SERVICE_ACTOR) as ours, target.begin(SERVICE_ACTOR) as theirs:
        return compare(ours.connection, theirs.connection, progress)


def require_no_running_jobs(store: Store) -> None:
    """Raises CopyRefused while a worker of any node runs jobs of this database."""
    jobs = schema.jobs
    silent_since = format_time(datetime.now(UTC) - timedelta(seconds=LIVE_S))
    held = (jobs.c.status.in_(RUNNING_STATUSES), jobs.c.worker_id.is_not(None), jobs.c.heartbeat_at > silent_since)
    with store.begin(SERVICE_ACTOR) as tx:
        running = tx.connection.execute(select(func.count()).select_from(jobs).where(*held)).scalar_one()
    if running:
        raise CopyRefused(
            f"{running} jobs of the {store.kind} database run, or did so less than {LIVE_S:.0f} s ago. Stop every "
            "server that uses it (its jobs then go back to the queue, and are copied as queued), and run again"
        )


def _align_profiles(source: Connection, target: Store) -> None:
    """Gives the source's values to profiles that the target made by itself.

    Only to those that own nothing there yet.
    """
    read_source, read_target = on_connection(source), in_short_transactions(target)
    for stretch in stretches(read_source, read_target, Part(schema.users)):
        there = {row.key: row for row in stretch.target}
        unlike = [row for row in stretch.source if row.key in there and row.fields != there[row.key].fields]
        stale = [row for row in unlike if not read_target(partial(owns_rows, user_id=row.key[0]))]
        if stale:
            with _writing(target) as tx:
                for row in stale:
                    replace_row(tx.connection, schema.users, row)


def _copy_table(source: Connection, target: Store, table: Table, progress: Progress) -> int:
    """How many rows were written."""
    progress.begin("copy", table.name, count_rows(source, table))
    column = numbered_by(table)
    if column is not None:
        largest = source.scalar(select(func.max(column)))
        with _writing(target) as tx:
            reserve_numbers(tx, table, largest)
    read_source, read_target = on_connection(source), in_short_transactions(target)
    written = 0
    for part in read_target(lambda connection: parts_of(table, source, connection)):
        for stretch in stretches(read_source, read_target, part):
            unlike = [found for found in stretch.differences(table) if found.kind != "missing"]
            if unlike:
                raise _refusal(unlike)
            missing = stretch.missing
            if missing:
                _insert(target, table, missing)
            written += len(missing)
            progress.advance(len(stretch.source))
    return written


def _insert(target: Store, table: Table, rows: Sequence[Row]) -> None:
    try:
        with _writing(target) as tx:
            insert_rows(tx.connection, table, rows)
    except _RowsRefused as error:
        if len(rows) > 1:
            # One by one, to name the one that is wrong; those before it are written.
            for row in rows:
                _insert(target, table, [row])
            return
        raise CopyRefused(
            f"the target does not take the row {show_key(table, rows[0].key)}: {error}. Either another row there has "
            "a value that only one may have, or the column takes no such value. Nothing was overwritten. Copy into "
            "an empty database, or mend the row in the source, and run again"
        ) from error


def _refusal(unlike: Sequence[Difference]) -> CopyRefused:
    shown = "; ".join(str(difference) for difference in unlike[:_SHOWN])
    more = f"; and {len(unlike) - _SHOWN} more" if len(unlike) > _SHOWN else ""
    return CopyRefused(
        f"the target has other rows than the source: {shown}{more}. Nothing was overwritten. Copy into an empty "
        "database; if this one is what an earlier copy left, one of the two was written to since: make the target anew"
    )


class _RowsRefused(Exception):
    """A statement was refused for what the rows hold.

    The text names the rule, never a value.
    """


_OF_VALUES = ("22", "23", "54")
"""Data exceptions, broken constraints, limits of the program. Source: PostgreSQL documentation, appendix A."""


@contextmanager
def _writing(target: Store) -> Iterator[Transaction]:
    try:
        with target.begin(SERVICE_ACTOR, write=True) as tx:
            yield tx
    except (psycopg.Error, DBAPIError, RowRefused) as error:
        cause = error.__cause__ if isinstance(error, RowRefused) else error
        if isinstance(cause, DBAPIError):
            cause = cause.orig
        rule = _broken_rule(cause)
        if rule is None:
            raise
        raise _RowsRefused(rule) from error


def _broken_rule(error: BaseException | None) -> str | None:
    """The rule that the rows broke; None where the error is not theirs."""
    if isinstance(error, psycopg.Error):
        if not (error.sqlstate or "").startswith(_OF_VALUES):
            return None
        rule = error.diag.constraint_name
        return f"SQLSTATE {error.sqlstate}" + (f", {rule}" if rule else "")
    # SQLite's text names the rule: "UNIQUE constraint failed: local_accounts.email".
    return str(error) if isinstance(error, sqlite3.IntegrityError) else None
