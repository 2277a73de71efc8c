"""API keys: make, list, read, revoke."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from api.http.dependencies import KeyId, PagingDep, PrincipalDep, RuntimeDep
from api.models.accounts import ApiKeyModel, ApiKeyRequest, NewApiKeyAnswer, api_key_members
from api.models.base import ListModel, page_of
from services.accounts import api_keys
from services.accounts.login import require_accounts

router = APIRouter(prefix="/v1/api-keys", tags=["accounts"])


@router.post("", status_code=201, response_model=NewApiKeyAnswer, summary="Make an API key")
def create_api_key(asked: ApiKeyRequest, runtime: RuntimeDep, principal: PrincipalDep) -> JSONResponse:
    """The answer holds the secret, this once. A key cannot give scopes that it does not have."""
    require_accounts(principal)
    made = api_keys.create_key(
        runtime.main_store, principal, name=asked.name, scopes=asked.scopes, expires_at=asked.expires_at
    )
    body = {**api_key_members(made.record), "object": "api_key", "secret": made.secret}
    headers = {"Cache-Control": "no-store", "Location": f"/v1/api-keys/{made.record.key_id}"}
    return JSONResponse(body, status_code=201, headers=headers)


@router.get("", response_model=ListModel[ApiKeyModel], summary="List API keys")
def list_api_keys(runtime: RuntimeDep, principal: PrincipalDep, paging: PagingDep) -> dict[str, Any]:
    """Newest first, without their secrets. Expired ones are listed until they are revoked."""
    found = api_keys.list_keys(runtime.main_store, principal.actor, limit=paging.limit, cursor=paging.cursor)
    return page_of([api_key_members(record) for record in found.data], found.next_cursor)


@router.get("/{key_id}", response_model=ApiKeyModel, summary="Read an API key")
def get_api_key(key_id: KeyId, runtime: RuntimeDep, principal: PrincipalDep) -> dict[str, Any]:
    """What is known of the key, without its secret."""
    return api_key_members(api_keys.get_key(runtime.main_store, principal.actor, key_id))


@router.delete("/{key_id}", status_code=204, summary="Revoke an API key")
def revoke_api_key(key_id: KeyId, runtime: RuntimeDep, principal: PrincipalDep) -> Response:
    """From now on the key is refused; other nodes notice within seconds."""
    require_accounts(principal)
    api_keys.revoke_key(runtime.main_store, principal.actor, key_id)
    runtime.accounts.gate.forget(principal.user_id)
    return Response(status_code=204)
