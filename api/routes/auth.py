"""Accounts: register, log in, refresh, log out, change the password, and who am I."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.http.authentication import credential_of
from api.http.client_address import client_address
from api.http.dependencies import HashersDep, PrincipalDep, RuntimeDep, SessionKeepersDep
from api.models.accounts import (
    LoginRequest,
    MeAnswer,
    PasswordChange,
    RefreshRequest,
    RegisterAnswer,
    RegisterRequest,
    SessionAnswer,
)
from services.accounts.local import Grant
from services.accounts.overview import read_overview
from services.accounts.principal import ordered
from services.runtime import Runtime

router = APIRouter(tags=["accounts"])

_NOT_KEPT = {"Cache-Control": "no-store"}
"""Source: RFC 6749, section 5.1: answers with tokens are not cached."""

T = TypeVar("T")


@router.post("/v1/auth/register", status_code=201, response_model=RegisterAnswer, summary="Make an account")
async def register(asked: RegisterRequest, request: Request, runtime: RuntimeDep, hashers: HashersDep) -> JSONResponse:
    """A new account and its first session; 403 while registration is closed."""
    grant = await to_thread.run_sync(
        lambda: runtime.accounts.login.register(
            asked.email, asked.password, display_name=asked.display_name.strip(), address=_address(request)
        ),
        limiter=hashers,
    )
    session = None if grant is None else _session(grant)
    body = {"object": "registration", "confirmation_required": grant is None, "session": session}
    return JSONResponse(body, status_code=201, headers=_NOT_KEPT)


@router.post("/v1/auth/login", response_model=SessionAnswer, summary="Log in")
async def login(asked: LoginRequest, request: Request, runtime: RuntimeDep, hashers: HashersDep) -> JSONResponse:
    """An access token, valid for minutes, and a refresh token that continues the session."""
    return await _login(asked, request, runtime, hashers)


@router.post("/auth/login", response_model=SessionAnswer, tags=["original design"], summary="Log in (original design)")
async def legacy_login(asked: LoginRequest, request: Request, runtime: RuntimeDep, hashers: HashersDep) -> JSONResponse:
    """As POST /v1/auth/login."""
    return await _login(asked, request, runtime, hashers)


async def _login(asked: LoginRequest, request: Request, runtime: Runtime, hashers: HashersDep) -> JSONResponse:
    call = _calling(runtime.accounts.login.login, asked.email, asked.password, address=_address(request))
    return _session_answer(await to_thread.run_sync(call, limiter=hashers))


@router.post("/v1/auth/refresh", response_model=SessionAnswer, summary="Continue a session")
async def refresh(
    asked: RefreshRequest, request: Request, runtime: RuntimeDep, keepers: SessionKeepersDep
) -> JSONResponse:
    """New tokens for a refresh token, which is used up. Using one twice ends the session."""
    call = _calling(runtime.accounts.login.refresh, asked.refresh_token, address=_address(request))
    return _session_answer(await to_thread.run_sync(call, limiter=keepers))


@router.post("/v1/auth/logout", status_code=204, summary="Log out")
async def logout(
    request: Request, runtime: RuntimeDep, principal: PrincipalDep, keepers: SessionKeepersDep
) -> Response:
    """Ends the session: its refresh tokens are worth nothing any more. The access token is valid until it expires."""
    call = _calling(runtime.accounts.login.logout, principal, _credential(request))
    await to_thread.run_sync(call, limiter=keepers)
    return Response(status_code=204)


@router.post("/v1/auth/change-password", response_model=SessionAnswer, summary="Change the password")
async def change_password(
    asked: PasswordChange, request: Request, runtime: RuntimeDep, principal: PrincipalDep, hashers: HashersDep
) -> JSONResponse:
    """Sets the password, ends every session of the account, and begins a new one."""
    call = _calling(
        runtime.accounts.login.change_password,
        principal,
        _credential(request),
        asked.current_password,
        asked.new_password,
        address=_address(request),
    )
    return _session_answer(await to_thread.run_sync(call, limiter=hashers))


@router.get("/v1/auth/me", response_model=MeAnswer, summary="Who am I?")
def read_me(runtime: RuntimeDep, principal: PrincipalDep) -> dict[str, Any]:
    """The account that the token or key is of, what it may do, and how much of the quotas is used."""
    found = read_overview(runtime.store, runtime.accounts, runtime.settings, principal)
    return {
        "id": principal.user_id,
        "email": found.email,
        "authenticated_by": principal.kind,
        "scopes": ordered(principal.scopes),
        "quotas": {
            "documents": {"used": found.use.documents, "limit": found.max_documents},
            "bytes": {"used": found.use.bytes, "limit": found.max_bytes},
            "requests_per_minute": {"used": None, "limit": found.requests_per_minute},
        },
    }


def _calling(function: Callable[..., T], *given: Any, **named: Any) -> Callable[[], T]:
    return lambda: function(*given, **named)


def _session(grant: Grant) -> dict[str, Any]:
    return {
        "object": "session",
        "access_token": grant.access_token,
        "token_type": "bearer",
        "expires_in": grant.expires_in_s,
        "refresh_token": grant.refresh_token,
        "user": {"id": grant.user_id, "email": grant.email},
    }


def _session_answer(grant: Grant) -> JSONResponse:
    return JSONResponse(_session(grant), headers=_NOT_KEPT)


def _address(request: Request) -> str:
    """The client's address; see `api.http.client_address` for whose word about it is believed."""
    return client_address(request.scope)


def _credential(request: Request) -> str:
    return "" if "authorization" not in request.headers else credential_of(request.headers)
