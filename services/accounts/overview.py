"""What one account keeps and may keep."""

from __future__ import annotations

from dataclasses import dataclass

from database.accounts import accounts
from database.accounts.records import StorageUse
from services.accounts.principal import Principal
from services.accounts.quotas import is_limited
from services.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Overview:
    """An account and its quotas; None where there is no limit."""

    email: str | None
    use: StorageUse
    max_documents: int | None
    max_bytes: int | None
    requests_per_minute: int | None


def overview(runtime: Runtime, principal: Principal) -> Overview:
    """What the principal keeps and may keep."""
    settings = runtime.settings
    with runtime.store.begin(principal.actor) as tx:
        use = accounts.storage_use(tx)
    has_limits = is_limited(settings, principal.user_id)
    return Overview(
        email=runtime.accounts.entrance.email_of(principal),
        use=use,
        max_documents=settings.quota_documents or None if has_limits else None,
        max_bytes=settings.quota_bytes or None if has_limits else None,
        requests_per_minute=runtime.accounts.gate.requests_per_minute or None,
    )
