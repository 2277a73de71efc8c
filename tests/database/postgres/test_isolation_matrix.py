"""Row level security: every table, every verb, everybody who may ask; and the ways around that one would try."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from database.ids import new_id
from database.records import SERVICE_ACTOR, Actor, worker_for
from tests.support.isolation_cases import STRANGER, VICTIM, Ground, matrix, open_ground, tables
from tests.support.postgres_server import PostgresServer
from tests.support.store_cases import EVERYTHING, SPACE, digest, unit

ROOT = Path(__file__).resolve().parents[3]

_READ_ONLY = {
    "owner": "rows denied denied denied",
    "owner over REST": "rows denied denied denied",
    "other user": "none denied denied denied",
    "anonymous": "denied denied denied denied",
    "service": "rows rows rows rows",
    "no actor": "denied denied denied denied",
}
_OWN = {
    **_READ_ONLY,
    "owner": "rows rows rows rows",
    "owner over REST": "rows policy none none",
    "other user": "none policy none none",
}
_SECRET = {
    **_READ_ONLY,
    **dict.fromkeys(("owner", "owner over REST", "other user"), "denied denied denied denied"),
}
_PROFILE = {
    **_READ_ONLY,
    **dict.fromkeys(("owner", "owner over REST"), "rows denied rows denied"),
    "other user": "none denied none denied",
}
EXPECTED = {
    "api_keys": _READ_ONLY,
    "blocked_users": _SECRET,
    "document_aliases": _READ_ONLY,
    "document_embeddings": _READ_ONLY,
    "document_images": _READ_ONLY,
    "document_pages": _READ_ONLY,
    "documents_metadata": _OWN,
    "jobs": _OWN,
    "local_accounts": _SECRET,
    "refresh_tokens": _SECRET,
    "similarity_searches": _OWN,
    "users": _PROFILE,
    "write_probes": _SECRET,
}
"""What select, insert, update and delete of the victim's rows give: see `isolation_cases.matrix`."""

TRUSTED_FUNCTIONS = {"block_deleted_user", "follow_auth_user", "queued_before", "rank_keywords"}
"""Run with the rights of service_role, whoever calls them."""


@pytest.fixture(scope="module")
def ground(postgres_server: PostgresServer) -> Iterator[Ground]:
    with open_ground(postgres_server) as opened:
        yield opened


def test_every_table_and_verb_gives_each_asker_what_is_declared(ground: Ground) -> None:
    assert matrix(ground) == EXPECTED


def test_every_table_forces_row_level_security_by_plain_conditions(ground: Ground) -> None:
    mine = "(user_id = ( SELECT auth.uid() AS uid))"
    by_server = "( SELECT pg_has_role(SESSION_USER, 'docatlas_server'::name, 'member'::text) AS pg_has_role)"
    with ground.as_admin() as admin:
        unforced = admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND NOT (relrowsecurity AND relforcerowsecurity)"
        ).fetchall()
        policies = admin.execute(
            "SELECT tablename, roles::text[], qual, with_check FROM pg_policies WHERE schemaname = 'public'"
        ).fetchall()
    assert unforced == []
    assert {row[0] for row in policies} == set(EXPECTED)
    for _, roles, *conditions in policies:
        if roles == ["service_role"]:
            assert conditions == ["true", "true"]
            continue
        assert roles == ["authenticated"]
        for condition in filter(None, conditions):
            normal = re.sub(r"\s+", " ", condition)
            assert normal in (mine, f"({mine} AND {by_server})")


def test_the_owner_leads_an_index_of_every_table_that_owners_read(ground: Ground) -> None:
    with ground.as_admin() as admin:
        led = admin.execute(
            "SELECT DISTINCT i.indrelid::regclass::text FROM pg_index i JOIN pg_attribute a "
            "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE a.attname = 'user_id' AND i.indpred IS NULL"
        ).fetchall()
    assert {row[0] for row in led} >= set(EXPECTED) - {"write_probes"}


def test_only_service_role_passes_row_level_security(ground: Ground) -> None:
    with ground.as_admin() as admin:
        rows = admin.execute("SELECT rolname FROM pg_roles WHERE rolbypassrls AND NOT rolsuper").fetchall()
        login = admin.execute(
            "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles "
            "WHERE rolname = 'docatlas_server'"
        ).fetchone()
        owned = admin.execute("SELECT FROM pg_class WHERE relowner = 'docatlas_server'::regrole").fetchall()
    assert [row[0] for row in rows] == ["service_role"]
    assert login == (False,) * 6
    assert owned == []


def test_the_owner_of_the_tables_sees_nothing_by_accident(ground: Ground) -> None:
    with ground.as_admin() as admin:
        admin.execute("CREATE ROLE tests_table_owner NOLOGIN")
        admin.execute("GRANT ALL ON SCHEMA public, auth TO tests_table_owner")
        for table in tables(admin):
            admin.execute(sql.SQL("ALTER TABLE {} OWNER TO tests_table_owner").format(sql.Identifier("public", table)))
        admin.execute("SET LOCAL ROLE tests_table_owner")
        for table in tables(admin):
            assert _count(admin, table) == 0, table


def test_functions_with_rights_of_their_own_are_few_and_closed(ground: Ground) -> None:
    with ground.as_admin() as admin:
        rows = admin.execute(
            "SELECT proname, pg_get_userbyid(proowner), proconfig, has_function_privilege('anon', oid, 'execute') "
            "FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
        ).fetchall()
        callable_by_anybody = admin.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "AND proname NOT IN ('docatlas_words') AND has_function_privilege('anon', oid, 'execute')"
        ).fetchall()
    assert {row[0] for row in rows} == TRUSTED_FUNCTIONS
    assert {row[1:] for row in [(r[0], r[1], tuple(r[2]), r[3]) for r in rows]} == {
        ("service_role", ('search_path=""',), False)
    }
    assert callable_by_anybody == []


@pytest.mark.parametrize("table", ["documents_metadata", "jobs", "similarity_searches"])
def test_a_row_cannot_be_given_away(ground: Ground, table: str) -> None:
    with ground.asking("owner") as owner, pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level"):
        owner.execute(_on("UPDATE {} SET user_id = %s WHERE user_id = %s", table), [STRANGER.user_id, VICTIM.user_id])


@pytest.mark.parametrize("table", ["documents_metadata", "jobs", "similarity_searches"])
def test_a_change_without_a_condition_touches_own_rows_only(ground: Ground, table: str) -> None:
    own = ground.rows_of(STRANGER)[table]
    column = {"documents_metadata": "title", "jobs": "type", "similarity_searches": "query_text"}[table]
    with ground.asking("other user") as stranger:
        change = sql.SQL("UPDATE {} SET {} = 'stolen' RETURNING user_id")
        changed = stranger.execute(change.format(sql.Identifier(table), sql.Identifier(column)))
        assert {str(row[0]) for row in changed.fetchall()} == {STRANGER.user_id}
        assert changed.rowcount == own
        deleted = stranger.execute(_on("DELETE FROM {} RETURNING user_id", table))
        assert {str(row[0]) for row in deleted.fetchall()} == {STRANGER.user_id}
    with ground.as_admin() as admin:
        assert not admin.execute(_on("SELECT FROM {} t WHERE t::text LIKE '%%stolen%%'", table)).fetchall()


def test_the_document_of_another_is_no_parent_and_reads_like_one_that_is_not_there(ground: Ground) -> None:
    told = []
    for parent_id in (ground.victim.document_id, new_id()):
        with ground.asking("other user") as stranger, pytest.raises(psycopg.errors.ForeignKeyViolation) as refused:
            _insert_document(stranger, new_id(), parent_id)
        told.append(_told(refused.value).replace(parent_id, "ID"))
    assert told[0] == told[1]
    with ground.asking("other user") as stranger, pytest.raises(psycopg.errors.ForeignKeyViolation):
        stranger.execute(
            "UPDATE documents_metadata SET parent_id = %s WHERE document_id = %s",
            [ground.victim.document_id, ground.stranger.document_id],
        )


@pytest.mark.parametrize("table", ["document_embeddings", "document_images", "document_pages", "document_aliases"])
def test_a_part_cannot_have_another_owner_than_its_document(ground: Ground, table: str) -> None:
    elsewhere = "" if table == "document_aliases" else ", generation = 77"
    with ground.asking("service") as service, pytest.raises(psycopg.errors.ForeignKeyViolation):
        service.execute(
            _on("UPDATE {} SET user_id = %s WHERE document_id = %s", table),
            [STRANGER.user_id, ground.victim.document_id],
        )
    with ground.asking("service") as service, pytest.raises(psycopg.errors.ForeignKeyViolation):
        service.execute(
            _on(f"UPDATE {{}} SET document_id = %s{elsewhere} WHERE document_id = %s", table),
            [ground.stranger.document_id, ground.victim.document_id],
        )


def test_a_job_cannot_be_of_the_document_of_another(ground: Ground) -> None:
    with ground.asking("other user") as stranger, pytest.raises(psycopg.errors.ForeignKeyViolation):
        stranger.execute(
            "UPDATE jobs SET document_id = %s, generation = 77 WHERE job_id = %s",
            [ground.victim.document_id, ground.stranger.job_id],
        )


def test_a_taken_id_tells_nothing_of_the_row_that_has_it(ground: Ground) -> None:
    taken = ground.victim.document_id
    with ground.asking("other user") as stranger, pytest.raises(psycopg.errors.UniqueViolation) as refused:
        _insert_document(stranger, taken, None)
    assert refused.value.diag.message_detail is None
    for foreign in ("victim", VICTIM.user_id, taken):
        assert foreign not in _told(refused.value)


def test_an_upsert_neither_changes_nor_shows_the_row_of_another(ground: Ground) -> None:
    taken = ground.victim.document_id
    overwrite = "ON CONFLICT (document_id) DO UPDATE SET title = 'stolen' RETURNING *"
    with ground.asking("other user") as stranger, pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        _insert_document(stranger, taken, None, overwrite)
    assert "victim" not in _told(refused.value)
    with ground.asking("other user") as stranger:
        assert _insert_document(stranger, taken, None, "ON CONFLICT DO NOTHING RETURNING *").fetchall() == []


@pytest.mark.parametrize("table", sorted(EXPECTED))
def test_bulk_statements_are_no_way_around(ground: Ground, table: str) -> None:
    for asker in ("owner", "other user", "owner over REST", "anonymous", "no actor"):
        with ground.asking(asker) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(_on("TRUNCATE {} CASCADE", table))
        with ground.asking(asker) as connection, pytest.raises(psycopg.Error) as refused:
            connection.execute(_on("COPY {} FROM STDIN", table))
        assert isinstance(refused.value, psycopg.errors.InsufficientPrivilege | psycopg.errors.FeatureNotSupported)
    reads = EXPECTED[table]["other user"].startswith("none")
    with ground.asking("other user") as stranger:
        if not reads:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                _copied(stranger, _on("COPY (SELECT 1 FROM {}) TO STDOUT", table))
            return
        assert _copied(stranger, _on("COPY (SELECT user_id FROM {}) TO STDOUT", table)) == {STRANGER.user_id}


@pytest.mark.parametrize("asker", ["other user", "anonymous", "no actor", "owner over REST"])
def test_search_functions_find_the_callers_rows_only(ground: Ground, asker: str) -> None:
    calls: list[tuple[str, list[Any]]] = [
        ("SELECT document_id FROM public.search_similar_embeddings(%s, -1, 100)", [_literal(1)]),
        ("SELECT document_id FROM public.search_similar_images(%s, -1, 100)", [_literal(5)]),
        ("SELECT document_id FROM public.rank_keywords(%s::text[], 100)", [["victim", "stranger"]]),
    ]
    own = {"other user": ground.stranger.document_id, "owner over REST": ground.victim.document_id}
    for statement, given in calls:
        with ground.asking(asker) as connection:
            if asker not in own:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement, given)
                continue
            found = connection.execute(statement, given)
            assert {str(row[0]) for row in found.fetchall()} == {own[asker]}, statement


def test_the_place_in_the_queue_is_told_of_own_jobs_only(ground: Ground) -> None:
    ask = "SELECT public.queued_before(%s)"
    with ground.asking("other user") as stranger:
        assert stranger.execute(ask, [ground.victim.job_id]).fetchone() == (None,)
        own = stranger.execute(ask, [ground.stranger.job_id]).fetchone()
        assert own is not None
        assert own[0] > 0
    for asker in ("anonymous", "no actor"):
        with ground.asking(asker) as nobody, pytest.raises(psycopg.errors.InsufficientPrivilege):
            nobody.execute(ask, [ground.victim.job_id])


def test_the_hash_of_an_api_key_is_not_shown_to_its_owner(ground: Ground) -> None:
    for columns in ("key_hash", "*"):
        with ground.asking("owner") as owner, pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute(sql.SQL("SELECT {} FROM api_keys").format(sql.SQL(columns)))


def test_a_client_over_rest_cannot_point_a_document_at_the_file_of_another(ground: Ground) -> None:
    claims = f'{{"sub": "{STRANGER.user_id}", "role": "authenticated"}}'
    with ground.over_rest(claims) as client:
        changed = client.execute("UPDATE documents_metadata SET sha256 = %s", [ground.victim.sha256])
        assert changed.rowcount == 0
    with ground.over_rest(claims) as client, pytest.raises(psycopg.errors.InsufficientPrivilege):
        _insert_document(client, new_id(), None)


@pytest.mark.parametrize(
    "claims", [None, "", "{}", '{"sub": null}', '{"sub": ""}', '{"role": "service_role"}', '{"user_id": "x"}']
)
def test_a_token_without_a_subject_is_nobody(ground: Ground, claims: str | None) -> None:
    if claims == '{"sub": ""}':
        with ground.over_rest(claims) as client, pytest.raises(psycopg.errors.InvalidTextRepresentation):
            client.execute("SELECT FROM documents_metadata")
        return
    for table in ("documents_metadata", "document_embeddings", "jobs", "users"):
        with ground.over_rest(claims) as client:
            assert _count(client, table) == 0


@pytest.mark.parametrize("user_id", ["", "not an id", "' OR true --", "00000000-0000-7000-8000-00000000000", "null"])
def test_an_actor_whose_id_is_none_sees_nothing_and_breaks_nothing(ground: Ground, user_id: str) -> None:
    nobody = Actor(user_id)
    for table in sorted(name for name, outcomes in EXPECTED.items() if outcomes["owner"].startswith("rows")):
        with ground.as_actor(nobody) as connection:
            assert _count(connection, table) == 0
    assert ground.store.search_vectors(nobody, unit(1), space=SPACE, kind="text", k=9, only=EVERYTHING).hits == []
    assert ground.store.search_keywords(nobody, "victim stranger", k=9, only=EVERYTHING) == []
    with ground.as_actor(nobody) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        _insert_document(connection, new_id(), None, owner=VICTIM.user_id)


def test_a_worker_acts_for_its_owner_and_the_service_for_nobody(ground: Ground) -> None:
    for actor, subject in ((worker_for(VICTIM.user_id), VICTIM.user_id), (SERVICE_ACTOR, None)):
        with ground.as_actor(actor) as connection:
            row = connection.execute("SELECT auth.uid()::text, auth.role(), current_user").fetchone()
            assert row == (subject, "service_role", "service_role")


def test_a_statement_can_lose_the_role_and_then_has_no_rights(ground: Ground) -> None:
    with ground.asking("owner") as owner:
        owner.execute("RESET ROLE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("SELECT FROM documents_metadata")
    for statement in ("SET ROLE postgres", "SET SESSION AUTHORIZATION postgres", "SET ROLE pg_read_all_data"):
        with ground.asking("owner") as owner, pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute(sql.SQL(statement))


def _insert_document(
    connection: psycopg.Connection[tuple[Any, ...]],
    document_id: str,
    parent_id: str | None,
    conflict: str = "",
    *,
    owner: str = STRANGER.user_id,
) -> psycopg.Cursor[tuple[Any, ...]]:
    statement = sql.SQL(
        "INSERT INTO documents_metadata SELECT %s, %s, %s, 'f', 'text', 'text/plain', 1, %s, '', '', '', 1, 0, 0, 0, "
        "'queued', 0, 0, 0, 0, now(), now(), '{{}}', '{{}}', '[]' {}"
    ).format(sql.SQL(conflict))
    return connection.execute(statement, [document_id, owner, parent_id, digest(new_id())])


def _copied(connection: psycopg.Connection[tuple[Any, ...]], statement: sql.Composed) -> set[str]:
    with connection.cursor().copy(statement) as copy:
        return {str(row[0]) for row in copy.rows()}


def _told(error: psycopg.Error) -> str:
    """Everything that the server says about an error."""
    diag = error.diag
    return " | ".join(
        str(part) for part in (diag.message_primary, diag.message_detail, diag.message_hint, diag.context)
    )


def _literal(seed: int) -> str:
    return "[" + ",".join(str(float(number)) for number in unit(seed)) + "]"


def _on(statement: str, table: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(table))


def _count(connection: psycopg.Connection[tuple[Any, ...]], table: str) -> int:
    row = connection.execute(_on("SELECT count(*) FROM {}", table)).fetchone()
    assert row is not None
    return int(row[0])
