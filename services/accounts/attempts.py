"""Limits wrong passwords and refresh tokens, for each account and each address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from database.errors import StoreError
from services.accounts.buckets import Allowance, Buckets
from services.errors import RateLimited, Retry, TransientError

WINDOW_S = 15 * 60.0
PER_ACCOUNT = 10
"""Wrong passwords for one account from one address in a window. Source: OWASP Authentication Cheat Sheet, "Account
Lockout": a threshold with a window that passes by itself. Counted for each address, so that somebody who only guesses
does not lock the owner out elsewhere."""
PER_ACCOUNT_ANYWHERE = 100
"""For one account from all addresses together. Source: NIST SP 800-63B-4, section 3.2.2: at most 100 in a row."""
PER_ADDRESS = 100
"""From one address, whatever the account: an office or a reverse proxy is one address."""
_IPV6_NETWORK_BITS = 64
"""Source: RFC 4291, section 2.5.4, and RFC 6177: one subscriber has 2**64 addresses at least, all in such a network."""


class LoginAttempts:
    """Counts failed logins, for each account and each address. Thread-safe.

    An attempt that could not be judged, because the database or Supabase did not answer, is not counted.
    """

    def __init__(self) -> None:
        self._pairs = Buckets(PER_ACCOUNT, WINDOW_S)
        self._accounts = Buckets(PER_ACCOUNT_ANYWHERE, WINDOW_S)
        self._addresses = Buckets(PER_ADDRESS, WINDOW_S)

    def begin(self, email: str, address: str) -> None:
        """Counts an attempt before it is made.

        So many attempts at the same instant do not slip through. Whether there is such an account makes no difference.
        Raises RateLimited (`too_many_attempts`).
        """
        network = network_of(address)
        # In this order: who has used up what an address or a pair may, takes nothing from the account any more.
        _take(self._addresses, network)
        _take(self._pairs, f"{network} {email}")
        _take(self._accounts, email)

    @contextmanager
    def trying(self, email: str, address: str) -> Iterator[None]:
        """Counts an attempt around a block that raises where the password is wrong.

        The attempt is taken back where the block does not raise, and where the database or Supabase does not answer:
        else who tries meanwhile is locked out afterwards.
        """
        self.begin(email, address)
        try:
            yield
        except (StoreError, TransientError):
            self._take_back(email, address)
            raise
        self._take_back(email, address)

    @contextmanager
    def refreshing(self, address: str) -> Iterator[None]:
        """As `trying`, for a refresh token: it is counted for the address alone."""
        network = network_of(address)
        _take(self._addresses, network)
        try:
            yield
        except (StoreError, TransientError):
            self._addresses.give_back(network)
            raise
        self._addresses.give_back(network)

    def _take_back(self, email: str, address: str) -> None:
        network = network_of(address)
        self._addresses.give_back(network)
        self._pairs.give_back(f"{network} {email}")
        self._accounts.give_back(email)


def network_of(address: str) -> str:
    """The IPv4 address, or the network of 2**64 around the IPv6 address, to count by."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, _IPV6_NETWORK_BITS), strict=False))


def _take(buckets: Buckets, key: str) -> None:
    allowance = buckets.take(key)
    if not allowance.is_granted:
        raise _refusal(allowance)


def _refusal(allowance: Allowance) -> RateLimited:
    return RateLimited(
        f"Too many attempts to log in. Try again in {allowance.retry_after_s} seconds.",
        code="too_many_attempts",
        retry=Retry(float(allowance.retry_after_s)),
    )
