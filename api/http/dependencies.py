"""What routes are given: the runtime, the principal, and the paging of lists.

All are async, so that none takes a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Path, Query, Request

from api.http.addresses import Addresses, addresses_for
from database.records import Actor
from services.accounts.principal import Principal
from services.errors import Unauthenticated
from services.jobs.worker import Worker
from services.runtime import Runtime

MAX_LIMIT = 200


async def _runtime(request: Request) -> Runtime:
    found = request.app.state.runtime
    assert isinstance(found, Runtime)
    return found


async def _worker(request: Request) -> Worker | None:
    """The worker of this process, where it has one."""
    found = request.app.state.worker
    assert found is None or isinstance(found, Worker)
    return found


async def _principal(request: Request) -> Principal:
    """The principal that `api.http.authentication` found.

    A request that it did not see is refused.
    """
    found = getattr(request.state, "principal", None)
    if not isinstance(found, Principal):
        raise Unauthenticated("Log in first.")
    return found


async def _actor(principal: Annotated[Principal, Depends(_principal)]) -> Actor:
    """On whose behalf the store is asked."""
    return principal.actor


async def _addresses(
    runtime: Annotated[Runtime, Depends(_runtime)], principal: Annotated[Principal, Depends(_principal)]
) -> Addresses:
    """What makes the addresses of the answer."""
    return addresses_for(runtime.accounts.signer, principal)


async def _hashers(request: Request) -> CapacityLimiter:
    """Places for requests that hash a password.

    Each takes a core and 64 MB for a tenth of a second.
    """
    found = request.app.state.hashers
    assert isinstance(found, CapacityLimiter)
    return found


async def _session_keepers(request: Request) -> CapacityLimiter:
    """Places for requests that may wait for Supabase.

    When it hangs, these wait and no search does.
    """
    found = request.app.state.session_keepers
    assert isinstance(found, CapacityLimiter)
    return found


async def _children(request: Request) -> CapacityLimiter:
    """Places for requests that start a child process.

    A request that waits for one holds no thread of the others' pool.
    """
    found = request.app.state.children
    assert isinstance(found, CapacityLimiter)
    return found


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is wanted."""

    limit: int
    cursor: str | None


async def _paging(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items of one answer, at most", examples=[50])] = 50,
    cursor: Annotated[
        str | None,
        Query(
            max_length=1000,
            description="`next_cursor` of the answer before; leave it out for the first",
            examples=["WzEyXQ"],
        ),
    ] = None,
) -> Paging:
    return Paging(limit, cursor or None)


RuntimeDep = Annotated[Runtime, Depends(_runtime)]
WorkerDep = Annotated[Worker | None, Depends(_worker)]
PrincipalDep = Annotated[Principal, Depends(_principal)]
HashersDep = Annotated[CapacityLimiter, Depends(_hashers)]
SessionKeepersDep = Annotated[CapacityLimiter, Depends(_session_keepers)]
ActorDep = Annotated[Actor, Depends(_actor)]
ChildrenDep = Annotated[CapacityLimiter, Depends(_children)]
AddressesDep = Annotated[Addresses, Depends(_addresses)]
PagingDep = Annotated[Paging, Depends(_paging)]

DocumentId = Annotated[str, Path(description="Id of the document")]
ImageId = Annotated[str, Path(description="Id of the picture")]
JobId = Annotated[str, Path(description="Id of the job")]
KeyId = Annotated[str, Path(description="Id of the API key")]
PageNumber = Annotated[int, Path(description="Page number, from 1")]
