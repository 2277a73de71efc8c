"""What one account keeps and may keep."""

from __future__ import annotations

from dataclasses import dataclass

from database.accounts import accounts as account_rows
from database.accounts.records import StorageUse
from database.store import Store
from services.accounts.principal import Principal
from services.accounts.quotas import is_limited
from services.accounts.wiring import Accounts
from services.settings import Settings


@dataclass(frozen=True, slots=True)
class Overview:
    """An account and its quotas; None where there is no limit."""

    email: str | None
    use: StorageUse
    max_documents: int | None
    max_bytes: int | None
    requests_per_minute: int | None


def read_overview(store: Store, accounts: Accounts, settings: Settings, principal: Principal) -> Overview:
    """What the principal keeps and may keep."""
    with store.begin(principal.actor) as tx:
        use = account_rows.storage_use(tx)
    has_limits = is_limited(settings, principal.user_id)
    return Overview(
        email=accounts.login.email_of(principal),
        use=use,
        max_documents=settings.quota_documents or None if has_limits else None,
        max_bytes=settings.quota_bytes or None if has_limits else None,
        requests_per_minute=accounts.gate.requests_per_minute or None,
    )
