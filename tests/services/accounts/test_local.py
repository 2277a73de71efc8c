"""Local accounts through the HTTP API: register, log in, refresh, log out, change the password, and every refusal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from sqlalchemy import func, select, update

from database.accounts.tables import accounts, refresh_tokens
from database.ids import format_time, new_id
from database.records import SERVICE_ACTOR, worker_for
from services.accounts.attempts import PER_ACCOUNT
from services.admin.users import disable_user, enable_user, remove_user
from services.runtime import Runtime
from tests.support.account_cases import PASSWORD, SECRET, bearer, local_server, login, refresh, register
from tests.support.api_server import assert_problem
from tests.support.databases import Databases


def new_email() -> str:
    return f"{new_id()}@example.org"


def try_login(client: httpx.Client, email: str, password: str) -> httpx.Response:
    return client.post("/v1/auth/login", json={"email": email, "password": password})


def test_a_new_account_is_logged_in_and_can_log_in_again(client: httpx.Client) -> None:
    email = new_email()
    first = register(client, email)
    second = login(client, email)
    assert first["user"] == second["user"] == {"id": first["user"]["id"], "email": email}
    assert first["expires_in"] == 900
    me = client.get("/v1/auth/me", headers=bearer(second)).json()
    assert (me["id"], me["email"], me["authenticated_by"]) == (first["user"]["id"], email, "local")
    assert me["scopes"] == ["read", "write", "admin"]


def test_answers_with_tokens_are_not_cached(client: httpx.Client) -> None:
    email = new_email()
    register(client, email)
    assert try_login(client, email, PASSWORD).headers["cache-control"] == "no-store"


def test_the_old_path_of_the_login_still_works(client: httpx.Client) -> None:
    email = new_email()
    register(client, email)
    reply = client.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert reply.status_code == 200
    assert client.get("/v1/auth/me", headers=bearer(reply.json())).status_code == 200


def test_an_email_address_is_the_same_in_any_case_and_form(client: httpx.Client) -> None:
    name = new_id()
    register(client, f"  {name.upper()}@Example.ORG ")
    assert login(client, f"{name}@example.org")["user"]["email"] == f"{name}@example.org"
    again = client.post("/v1/auth/register", json={"email": f"{name}@ｅxample.org", "password": PASSWORD})
    assert_problem(again, 409, "email_taken")


@pytest.mark.parametrize("email", ["nobody", "a@b@c", "a b@example.org", "@example.org", "a@", "x" * 260 + "@e.org"])
def test_what_is_no_email_address_is_refused(client: httpx.Client, email: str) -> None:
    reply = client.post("/v1/auth/register", json={"email": email, "password": PASSWORD})
    assert_problem(reply, 422, "invalid_request")


@pytest.mark.parametrize(
    "password", ["seven77", "x" * 1025, "password123", "PassWord1", "aaaaaaaaaa", "１２３４５６７８"]
)
def test_a_weak_password_is_refused_and_not_repeated(client: httpx.Client, password: str) -> None:
    reply = client.post("/v1/auth/register", json={"email": new_email(), "password": password})
    assert_problem(reply, 422, "weak_password")
    assert password not in reply.text


def test_an_email_address_is_no_password(client: httpx.Client) -> None:
    email = new_email()
    assert_problem(client.post("/v1/auth/register", json={"email": email, "password": email}), 422, "weak_password")


@pytest.mark.parametrize("password", ["correct horse battery staple", "🔑🔑🔑🗝🗝🗝🔒🔓", "x1" * 512, "Zwölf Boxkämpfer"])
def test_any_long_enough_text_is_a_password(client: httpx.Client, password: str) -> None:
    email = new_email()
    register(client, email, password)
    login(client, email, password)
    assert_problem(try_login(client, email, password + "!"), 401, "invalid_credentials")


def test_a_password_typed_in_another_normal_form_is_the_same(client: httpx.Client) -> None:
    email = new_email()
    register(client, email, "Zwo\u0308lf Boxka\u0308mpfer")
    login(client, email, "Zwölf Boxkämpfer")


def test_wrong_password_and_unknown_account_get_the_same_answer(client: httpx.Client) -> None:
    email = new_email()
    register(client, email)
    wrong = assert_problem(try_login(client, email, "not the password"), 401, "invalid_credentials")
    unknown = assert_problem(try_login(client, new_email(), PASSWORD), 401, "invalid_credentials")
    differing = {"request_id"}
    assert {k: v for k, v in wrong.items() if k not in differing} == {
        k: v for k, v in unknown.items() if k not in differing
    }


def test_an_invalid_body_never_repeats_the_password(client: httpx.Client) -> None:
    reply = client.post("/v1/auth/login", json={"email": 5, "password": {"secret": "hunter2hunter2"}})
    assert_problem(reply, 422, "invalid_request")
    assert "hunter2" not in reply.text


def test_attempts_at_one_account_are_limited_known_or_not(client: httpx.Client) -> None:
    known, unknown = new_email(), new_email()
    register(client, known)
    for email in (known, unknown):
        statuses = [try_login(client, email, "not the password").status_code for _ in range(PER_ACCOUNT + 2)]
        assert set(statuses[: PER_ACCOUNT - 1]) == {401}
        reply = try_login(client, email, PASSWORD)
        assert_problem(reply, 429, "too_many_attempts")
        assert int(reply.headers["retry-after"]) > 1


def test_right_passwords_are_not_counted(client: httpx.Client) -> None:
    email = new_email()
    register(client, email)
    assert {try_login(client, email, PASSWORD).status_code for _ in range(PER_ACCOUNT + 3)} == {200}


def test_a_refresh_token_is_used_once_and_continues_the_session(client: httpx.Client) -> None:
    first = register(client, new_email())
    second = refresh(client, first["refresh_token"]).json()
    third = refresh(client, second["refresh_token"]).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    sessions = {jwt.decode(s["access_token"], options={"verify_signature": False})["sid"] for s in (first, third)}
    assert len(sessions) == 1
    assert client.get("/v1/documents", headers=bearer(third)).status_code == 200


def test_reuse_of_a_refresh_token_ends_the_whole_session(client: httpx.Client) -> None:
    email = new_email()
    register(client, email)
    first, other = login(client, email), login(client, email)
    second = refresh(client, first["refresh_token"]).json()
    third = refresh(client, second["refresh_token"]).json()
    assert_problem(refresh(client, first["refresh_token"]), 401, "refresh_token_reused")
    assert_problem(refresh(client, third["refresh_token"]), 401, "invalid_refresh_token")
    assert refresh(client, other["refresh_token"]).status_code == 200


def test_a_client_whose_answer_was_lost_gets_the_same_successor_again(client: httpx.Client) -> None:
    first = register(client, new_email())
    lost, again = (refresh(client, first["refresh_token"]).json() for _ in range(2))
    assert lost["refresh_token"] == again["refresh_token"]
    assert refresh(client, again["refresh_token"]).status_code == 200


def test_after_the_grace_a_second_use_is_a_reuse(runtime: Runtime, client: httpx.Client) -> None:
    first = register(client, new_email())
    second = refresh(client, first["refresh_token"]).json()
    user_id = first["user"]["id"]
    long_ago = format_time(datetime.now(UTC) - timedelta(minutes=1))
    with runtime.store.begin(worker_for(user_id), write=True) as tx:
        table = refresh_tokens
        tx.connection.execute(
            update(table).where(table.c.user_id == user_id, table.c.used_at.is_not(None)).values(used_at=long_ago)
        )
    assert_problem(refresh(client, first["refresh_token"]), 401, "refresh_token_reused")
    assert_problem(refresh(client, second["refresh_token"]), 401, "invalid_refresh_token")


def test_two_refreshes_at_the_same_instant_get_one_successor(client: httpx.Client) -> None:
    token = register(client, new_email())["refresh_token"]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: refresh(client, token), range(4)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["refresh_token"] for reply in replies}) == 1


def test_an_expired_refresh_token_is_refused(runtime: Runtime, client: httpx.Client) -> None:
    session = register(client, new_email())
    user_id = session["user"]["id"]
    with runtime.store.begin(worker_for(user_id), write=True) as tx:
        past = format_time(datetime.now(UTC) - timedelta(seconds=1))
        tx.connection.execute(update(refresh_tokens).where(refresh_tokens.c.user_id == user_id).values(expires_at=past))
    assert_problem(refresh(client, session["refresh_token"]), 401, "invalid_refresh_token")


@pytest.mark.parametrize("token", ["drt_", "drt_unknown", "something else", "dak_x", "é"])
def test_an_unknown_refresh_token_is_refused(client: httpx.Client, token: str) -> None:
    assert_problem(refresh(client, token), 401, "invalid_refresh_token")


def test_no_secret_is_stored_readably(runtime: Runtime, client: httpx.Client) -> None:
    session = register(client, new_email())
    after = refresh(client, session["refresh_token"]).json()
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        rows = str(tx.connection.execute(select(refresh_tokens)).all())
        rows += str(tx.connection.execute(select(accounts)).all())
    for secret in (session["refresh_token"], after["refresh_token"], PASSWORD):
        assert secret not in rows
        assert secret.removeprefix("drt_") not in rows
    assert "$argon2id$v=19$" in rows


def test_logout_ends_the_session_and_no_other(client: httpx.Client) -> None:
    email = new_email()
    register(client, email)
    one, other = login(client, email), login(client, email)
    assert client.post("/v1/auth/logout", headers=bearer(one)).status_code == 204
    assert_problem(refresh(client, one["refresh_token"]), 401, "invalid_refresh_token")
    assert refresh(client, other["refresh_token"]).status_code == 200


def test_a_new_password_ends_every_other_session(client: httpx.Client) -> None:
    email = new_email()
    register(client, email)
    one, other = login(client, email), login(client, email)
    asked = {"current_password": PASSWORD, "new_password": "another horse entirely"}
    reply = client.post("/v1/auth/change-password", json=asked, headers=bearer(one))
    assert reply.status_code == 200, reply.text
    for old in (one, other):
        assert_problem(refresh(client, old["refresh_token"]), 401, "invalid_refresh_token")
    assert refresh(client, reply.json()["refresh_token"]).status_code == 200
    assert_problem(try_login(client, email, PASSWORD), 401, "invalid_credentials")
    login(client, email, "another horse entirely")


def test_a_new_password_needs_the_old_one_and_has_to_be_good(client: httpx.Client) -> None:
    email = new_email()
    session = register(client, email)
    wrong = {"current_password": "not the password", "new_password": "another horse entirely"}
    reply = client.post("/v1/auth/change-password", json=wrong, headers=bearer(session))
    assert_problem(reply, 401, "invalid_credentials")
    weak = {"current_password": PASSWORD, "new_password": "short"}
    problem = assert_problem(
        client.post("/v1/auth/change-password", json=weak, headers=bearer(session)), 422, "weak_password"
    )
    assert problem["errors"][0]["pointer"] == "/new_password"
    login(client, email)


def test_a_disabled_account_is_out_at_once_and_in_again_when_enabled(runtime: Runtime, client: httpx.Client) -> None:
    email = new_email()
    session = register(client, email)
    assert client.get("/v1/documents", headers=bearer(session)).status_code == 200
    disable_user(runtime, email)
    assert_problem(client.get("/v1/documents", headers=bearer(session)), 401, "account_disabled")
    assert_problem(refresh(client, session["refresh_token"]), 401, "invalid_refresh_token")
    assert_problem(try_login(client, email, PASSWORD), 403, "account_disabled")
    assert_problem(try_login(client, email, "not the password"), 401, "invalid_credentials")
    enable_user(runtime, email)
    assert client.get("/v1/documents", headers=bearer(login(client, email))).status_code == 200


def test_a_deleted_account_is_out_with_everything(runtime: Runtime, client: httpx.Client) -> None:
    email = new_email()
    session = register(client, email)
    user_id = session["user"]["id"]
    reply = client.post("/v1/documents", files=[("files", ("a.txt", email.encode()))], headers=bearer(session))
    assert reply.status_code == 202, reply.text
    assert remove_user(runtime, user_id) == 1
    assert_problem(client.get("/v1/documents", headers=bearer(session)), 401, "account_deleted")
    assert_problem(refresh(client, session["refresh_token"]), 401, "invalid_refresh_token")
    assert_problem(try_login(client, email, PASSWORD), 401, "invalid_credentials")
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        for table in (accounts, refresh_tokens):
            count = select(func.count()).select_from(table).where(table.c.user_id == user_id)
            assert tx.connection.scalar(count) == 0
    assert register(client, email)["user"]["id"] != user_id


def signed(secret: str = SECRET, algorithm: str = "HS256", typ: str = "at+jwt", **given: object) -> str:
    moment = int(time.time())
    claims = {
        "iss": "docatlas",
        "aud": "docatlas",
        "sub": new_id(),
        "iat": moment,
        "exp": moment + 60,
        "jti": new_id(),
        "sid": new_id(),
        **given,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, secret, algorithm=algorithm, headers={"typ": typ})


def test_a_token_of_another_node_with_the_same_secret_is_good(client: httpx.Client) -> None:
    assert client.get("/v1/documents", headers=bearer(signed())).status_code == 200


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda: signed(exp=int(time.time()) - 60), "token_expired"),
        (lambda: signed(secret="another secret that is long enough too"), "invalid_token"),
        (lambda: signed(aud="authenticated"), "invalid_token"),
        (lambda: signed(aud=["docatlas", "other"]), "invalid_token"),
        (lambda: signed(iss="somebody"), "invalid_token"),
        (lambda: signed(exp=None), "invalid_token"),
        (lambda: signed(sub=None), "invalid_token"),
        (lambda: signed(sid=None), "invalid_token"),
        (lambda: signed(typ="JWT"), "invalid_token"),
        (lambda: signed(secret=SECRET * 2, algorithm="HS512"), "invalid_token"),
        (lambda: jwt.encode({"sub": "x", "iss": "docatlas"}, "", algorithm="none"), "invalid_token"),
        (lambda: "a.b.c", "invalid_token"),
        (lambda: "x" * 9000, "invalid_token"),
    ],
)
def test_a_token_that_is_not_ours_is_refused(client: httpx.Client, token: object, code: str) -> None:
    assert callable(token)
    reply = client.get("/v1/documents", headers=bearer(token()))
    assert_problem(reply, 401, code)
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_registration_can_be_closed(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> None:
    with local_server(databases, tmp_path_factory.mktemp("closed"), registration="closed") as (_, client):
        reply = client.post("/v1/auth/register", json={"email": new_email(), "password": PASSWORD})
        assert_problem(reply, 403, "registration_closed")


def test_one_user_never_reads_what_another_one_keeps(client: httpx.Client) -> None:
    ada, bob = register(client, new_email()), register(client, new_email())
    entry = client.post(
        "/v1/documents", files=[("files", ("a.txt", b"a secret of Ada's"))], headers=bearer(ada)
    ).json()["data"][0]
    document, job = entry["document"]["id"], entry["job"]["id"]
    theirs = client.get(f"/v1/documents/{document}", headers=bearer(ada))
    assert theirs.status_code == 200
    for path in (f"/v1/documents/{document}", f"/v1/documents/{document}/file", f"/v1/jobs/{job}"):
        assert client.get(path, headers=bearer(bob)).status_code == 404, path
    assert client.delete(f"/v1/documents/{document}", headers=bearer(bob)).status_code == 404
    assert client.get("/v1/documents", headers=bearer(bob)).json()["data"] == []
    assert client.get("/v1/jobs", headers=bearer(bob)).json()["data"] == []
    same = client.post("/v1/documents", files=[("files", ("b.txt", b"a secret of Ada's"))], headers=bearer(bob))
    assert same.json()["data"][0]["outcome"] == "created"
    assert len(client.get("/v1/documents", headers=bearer(ada)).json()["data"]) == 1
