"""What can go wrong with the store itself; the services translate these once."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do what was asked; the text says why and what to do."""


class StoreBusy(StoreError):
    """Another writer held the database for longer than the time-out.

    Trying again may help.
    """


class StoreUnavailable(StoreError):
    """The database cannot be reached, is shutting down, is full or takes no writes.

    It may come back.
    """


class LoginRefused(StoreUnavailable):
    """The database answers and lets this program not in.

    The operator has to change something.
    """


class RowRefused(StoreError):
    """A row would break a rule of the schema.

    What it refers to is gone, or it is there already.
    """


class MigrationError(StoreError):
    """The database's schema and this version of the program do not fit together."""


class BlobsUnavailable(StoreError):
    """The place where the files are kept cannot be reached or fails; it may come back."""


class BlobsRefused(BlobsUnavailable):
    """The place where the files are kept refuses what was asked.

    The operator has to change something.
    """


class BlobDamaged(StoreError):
    """A stored file is not what it was when it was stored."""


class UnsafeLogin(StoreError):
    """The server logs in to the database as a role that could read everybody's rows."""
