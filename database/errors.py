"""What can go wrong with the store itself; the services translate these once."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do what was asked; the text says why and what to do."""


class StoreBusy(StoreError):
    """Another writer held the database for longer than the time-out; trying again may help."""


class MigrationError(StoreError):
    """The database's schema and this version of the program do not fit together."""
