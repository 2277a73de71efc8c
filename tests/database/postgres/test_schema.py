"""The schema that the migrations make on a real server: the one that the tables describe, without orphans, guarded."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from sqlalchemy import ForeignKeyConstraint, MetaData, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from database import schema
from database.accounts import tables as account_tables
from tests.support.postgres_server import DatabaseUrls, rows

WITHOUT_OWNER = {"users", "blocked_users", "write_probes"}
"""Tables whose rows do not go with a user: the users themselves, who is kept out after having been deleted, and what
only shows whether the database takes writes."""


def tables() -> list[Table]:
    assert account_tables.accounts.metadata is schema.metadata
    return [table for table in schema.metadata.tables.values() if table.info != schema.ONLY_SQLITE]


def differences(url: str, metadata: MetaData) -> list[str]:
    """What the tables say otherwise than the server; empty when both describe the same schema."""
    wanted = {name: table for name, table in metadata.tables.items() if table.info != schema.ONLY_SQLITE}
    found = {
        name
        for (name,) in rows(
            url,
            "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
        )
    }
    said = [f"{name} is on one side only" for name in found ^ set(wanted)]
    for name in sorted(found & set(wanted)):
        said += [f"{name}: {difference}" for difference in _table_differences(url, wanted[name])]
    return said


def _table_differences(url: str, table: Table) -> list[str]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    words = {"FLOAT": "double precision"}
    ours = {
        column.name: (
            words.get(column.type.compile(dialect), column.type.compile(dialect).lower()),
            bool(column.nullable),
        )
        for column in table.columns
    }
    theirs = {
        name: (kind.removeprefix("extensions."), not required)
        for name, kind, required, generated in rows(
            url,
            "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, attgenerated <> '' FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            f"public.{table.name}",
        )
        # What the server makes of other columns, for its own use.
        if not (generated and name not in ours)
    }
    said = [
        f"{name} is {ours.get(name)} in the tables and {theirs.get(name)} on the server"
        for name in sorted(set(ours) | set(theirs))
        if ours.get(name) != theirs.get(name)
    ]
    declared: set[tuple[Any, ...]] = {("p", tuple(column.name for column in table.primary_key), "", (), " ")}
    if not table.primary_key:
        declared.clear()
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            declared.add(("u", tuple(column.name for column in constraint.columns), "", (), " "))
        elif isinstance(constraint, ForeignKeyConstraint):
            targets = tuple(element.column.name for element in constraint.elements)
            action = "c" if constraint.ondelete == "CASCADE" else "a"
            declared.add(("f", tuple(constraint.column_keys), constraint.referred_table.name, targets, action))
    made = {
        (kind, tuple(columns), target or "", tuple(targets or ()), action)
        for kind, columns, target, targets, action in rows(
            url,
            """
            SELECT c.contype::text,
                (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k (number, n)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number),
                (SELECT relname::text FROM pg_class WHERE oid = c.confrelid),
                (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k (number, n)
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number),
                c.confdeltype::text
            FROM pg_constraint c WHERE c.conrelid = %s::regclass AND c.contype IN ('p', 'u', 'f')
            """,
            f"public.{table.name}",
        )
    }
    return said + [f"constraint {constraint} is on one side only" for constraint in sorted(declared ^ made)]


def test_the_tables_describe_the_schema_that_the_migrations_make(postgres: DatabaseUrls) -> None:
    assert len(tables()) >= 10
    assert differences(postgres.admin_url, schema.metadata) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE public.jobs ADD COLUMN extra int", "jobs: extra"),
        ("ALTER TABLE public.jobs ALTER COLUMN pages_done TYPE bigint", "jobs: pages_done"),
        ("ALTER TABLE public.jobs ALTER COLUMN percent DROP NOT NULL", "jobs: percent"),
        ("ALTER TABLE public.document_embeddings ALTER COLUMN embedding TYPE extensions.vector", "embedding"),
        ("ALTER TABLE public.api_keys DROP CONSTRAINT api_keys_pkey", "'p', ('key_id',)"),
        (
            "ALTER TABLE public.similarity_searches DROP CONSTRAINT similarity_searches_user_id_fkey",
            "'f', ('user_id',)",
        ),
        ("CREATE TABLE public.stray (n int)", "stray is on one side only"),
        ("DROP TABLE public.similarity_searches", "similarity_searches is on one side only"),
    ],
)
def test_the_comparison_notices_a_change_on_the_server(postgres: DatabaseUrls, change: str, named: str) -> None:
    with psycopg.connect(postgres.admin_url) as connection:
        connection.execute(change.encode())
    found = differences(postgres.admin_url, schema.metadata)
    assert any(named in difference for difference in found), found


def test_every_table_is_guarded_and_described(postgres: DatabaseUrls) -> None:
    found = rows(
        postgres.admin_url,
        "SELECT relname::text, relrowsecurity, relforcerowsecurity, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
    )
    assert {name for name, *_ in found} == {table.name for table in tables()}
    assert [name for name, enabled, forced, _ in found if not (enabled and forced)] == []
    assert [name for name, _, _, comment in found if not comment] == []


def test_every_foreign_key_has_an_index_that_its_check_can_use(postgres: DatabaseUrls) -> None:
    lacking = rows(
        postgres.admin_url,
        """
        SELECT c.conrelid::regclass::text, c.conname::text FROM pg_constraint c
        WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
            -- The key's columns are the first ones of the index, in any order.
            AND (SELECT array_agg(k ORDER BY k) FROM unnest((i.indkey::int2[])[0:cardinality(c.conkey) - 1]) k)
                = (SELECT array_agg(k ORDER BY k) FROM unnest(c.conkey) k)
            AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$')
        )
        """,
    )
    # Those whose first column alone is nearly unique are served by an index on it.
    lacking = [
        (table, name)
        for table, name in lacking
        if not rows(
            postgres.admin_url,
            "SELECT FROM pg_index i, pg_constraint c WHERE c.conname = %s AND c.conrelid = %s::regclass "
            "AND i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND i.indpred IS NULL AND i.indkey[0] <> "
            "(SELECT attnum FROM pg_attribute WHERE attrelid = c.conrelid AND attname = 'user_id')",
            name,
            table,
        )
    ]
    assert lacking == []


def test_no_row_can_outlive_its_owner_or_have_another_owner_than_its_document(postgres: DatabaseUrls) -> None:
    for table in tables():
        if table.name in WITHOUT_OWNER:
            continue
        assert not table.c.user_id.nullable
        keys = [key for key in table.foreign_key_constraints if "user_id" in key.column_keys]
        assert keys, f"{table.name} has rows that nothing takes along"
        assert all(key.ondelete == "CASCADE" for key in table.foreign_key_constraints)
    for table in tables():
        for key in table.foreign_key_constraints:
            if key.referred_table.name == "documents_metadata":
                assert "user_id" in key.column_keys, f"{table.name} may name another owner's document"


def test_indices_that_begin_with_the_owner_exist_where_owners_search(postgres: DatabaseUrls) -> None:
    led = {
        name
        for (name,) in rows(
            postgres.admin_url,
            "SELECT i.indrelid::regclass::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            "AND a.attnum = i.indkey[0] WHERE a.attname = 'user_id'",
        )
    }
    assert {table.name for table in tables() if "user_id" in table.c} - led == set()
