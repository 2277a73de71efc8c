"""Limits how often a password may be tried, for one account and from one address."""

from __future__ import annotations

from services.accounts.buckets import Allowance, Buckets
from services.errors import RateLimited, Retry

WINDOW_S = 15 * 60.0
PER_ACCOUNT = 10
"""Wrong passwords for one account in a window. Source: NIST SP 800-63B-4, section 3.2.2, allows at most 100 in a row;
OWASP Authentication Cheat Sheet, "Account Lockout": a threshold with a window that passes by itself."""
PER_ADDRESS = 100
"""From one address, whatever the account: an office or a reverse proxy is one address."""


class LoginAttempts:
    """Counts wrong passwords; right ones are not counted. Thread-safe."""

    def __init__(self) -> None:
        self._accounts = Buckets(PER_ACCOUNT, WINDOW_S)
        self._addresses = Buckets(PER_ADDRESS, WINDOW_S)

    def begin(self, email: str, address: str) -> None:
        """Counts an attempt before it is made, so that many at the same instant do not slip through.

        Whether there is such an account makes no difference. Raises RateLimited (`too_many_attempts`).
        """
        by_address = self._addresses.take(address)
        if not by_address.is_granted:
            raise _refusal(by_address)
        by_account = self._accounts.take(email)
        if not by_account.is_granted:
            raise _refusal(by_account)

    def succeeded(self, email: str, address: str) -> None:
        """Takes the attempt back."""
        self._accounts.give_back(email)
        self._addresses.give_back(address)


def _refusal(allowance: Allowance) -> RateLimited:
    return RateLimited(
        f"Too many attempts to log in. Try again in {allowance.retry_after_s} seconds.",
        code="too_many_attempts",
        retry=Retry(float(allowance.retry_after_s)),
    )
