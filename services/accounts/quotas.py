"""How much one user may keep."""

from __future__ import annotations

from database.accounts import accounts
from database.accounts.records import StorageUse
from database.records import LOCAL_USER_ID
from database.store import Transaction
from services.errors import QuotaExceeded
from services.settings import Settings


def is_limited(settings: Settings, user_id: str) -> bool:
    """True where quotas apply to what the user keeps.

    What the local user keeps is the operator's own.
    """
    return settings.accounts != "none" and user_id != LOCAL_USER_ID


class StorageQuota:
    """What the actor of a transaction may still upload; valid within that transaction.

    In the transaction that writes the documents, which no other writer of the same owner passes, so two uploads at once
    cannot both take the last place. Children are not counted: their bytes are those of the mail or archive around them.
    """

    def __init__(self, settings: Settings, tx: Transaction) -> None:
        applies = is_limited(settings, tx.actor.user_id)
        self._max_documents = settings.quota_documents if applies else 0
        self._max_bytes = settings.quota_bytes if applies else 0
        self._tx = tx
        counts = bool(self._max_documents or self._max_bytes)
        self._use = accounts.storage_use(tx) if counts else StorageUse(0, 0)
        self._new: set[str] = set()

    def admit(self, sha256: str, size_bytes: int) -> QuotaExceeded | None:
        """Counts the file in where its content is new to the owner.

        Returns the error, and counts nothing, where it does not fit.
        """
        if not (self._max_documents or self._max_bytes):
            return None
        if sha256 in self._new or accounts.holds_content(self._tx, sha256):
            return None
        if self._max_documents and self._use.documents >= self._max_documents:
            return QuotaExceeded(
                f"You keep {self._use.documents:,} documents, and may keep {self._max_documents:,}. Delete some first.",
                code="quota_documents",
                facts={"limit": self._max_documents, "used": self._use.documents},
            )
        if self._max_bytes and self._use.bytes + size_bytes > self._max_bytes:
            return QuotaExceeded(
                f"You keep {self._use.bytes:,} bytes, the file has {size_bytes:,}, and you may keep "
                f"{self._max_bytes:,}. Delete something first.",
                code="quota_bytes",
                facts={"limit": self._max_bytes, "used": self._use.bytes},
            )
        self._use = StorageUse(self._use.documents + 1, self._use.bytes + size_bytes)
        self._new.add(sha256)
        return None
