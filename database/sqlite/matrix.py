"""Vectors in one block of memory, and the exact search over them.

Knows nothing of databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from database.columns import VECTOR_WIDTH
from database.records import Vector

Rows = NDArray[np.intp]
"""Positions in a matrix, ascending."""

GATHER_SHARE = 0.15
"""Up to this share of the rows, the wanted ones are copied together and multiplied; beyond it, all are multiplied.

Source: measured at 100,000 rows on two cores, scattered documents of 20 rows: copying and multiplying 10 % takes 6 ms,
20 % 12 ms, 30 % 14 ms, all rows 36 ms in one product. A product over all rows gains from every further core, copying
does not, hence less than the half at which the two meet there.
"""
_GATHER_BLOCK = 256
"""Rows copied at a time.

Source: the same measurement: 128 and 512 rows (0.4 and 1.5 MiB, which stay in a core's cache between copy and product)
are alike; at 2048 rows the BLAS starts threads for each block, and 10 % takes 60 ms.
"""
_SCORE_DIGITS = 7
"""Two scores that agree to so many digits are equal: float32 has no more, and the product's order of summation, which
depends on a row's place, shows behind them."""
_MARGIN = 1e-5
"""How far a float32 product of two unit vectors of 768 may be from the exact one, with room to spare.

Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 3.1: in blocked summation the error stays below
about sqrt(768) * 2**-24 = 1.7e-6.
"""
_FIRST_CAPACITY = 1024
_COMPACT_SHARE = 0.25
"""Dead rows beyond this share are worth one copy of the rest."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """One state of an index, never changed once it is made.

    A later state may share its memory behind `size`.
    """

    vectors: NDArray[np.float32]
    """float32[capacity, 768]; the first `size` rows are this state's."""
    row_ids: NDArray[np.int64]
    """Of each row, the database's; they grow in the order of insertion."""
    documents: NDArray[np.int32]
    """Of each row, its document's number in `numbers`."""
    numbers: dict[str, int]
    """A number for each document; shared with later states, which only add to it."""
    size: int
    live: Rows | None
    """The rows that count; None when all do."""
    change: int
    """The counter value at which this is what was visible."""

    @classmethod
    def empty(cls, capacity: int = 0) -> Matrix:
        """A matrix without rows, with room for `capacity`."""
        capacity = max(capacity, _FIRST_CAPACITY)
        return cls(
            vectors=np.empty((capacity, VECTOR_WIDTH), np.float32),
            row_ids=np.empty(capacity, np.int64),
            documents=np.empty(capacity, np.int32),
            numbers={},
            size=0,
            live=None,
            change=0,
        )

    def rows_of(self, documents: Sequence[str]) -> Rows:
        """The live rows of these documents."""
        wanted = np.zeros(len(self.numbers) + 1, np.bool_)
        known = [number for number in map(self.numbers.get, documents) if number is not None and number < len(wanted)]
        wanted[known] = True
        mask = wanted[np.minimum(self.documents[: self.size], len(wanted) - 1)]
        if self.live is None:
            return np.flatnonzero(mask)
        return self.live[mask[self.live]]

    def best(self, query: Vector, k: int, among: Rows | None) -> tuple[Rows, NDArray[np.float64]]:
        """The `k` live rows nearest to `query` (unit length) and their cosines.

        Best first, equal ones by row id. `among`: only these rows, which are live; None for all.
        """
        rows = self.live if among is None else among
        count = self.size if rows is None else len(rows)
        if count == 0 or k < 1:
            return np.empty(0, np.intp), np.empty(0, np.float64)
        rough = self._products(query, rows)
        if count > k:
            at_least = np.partition(rough, count - k)[count - k] - _MARGIN
            chosen = np.flatnonzero(rough >= at_least)
        else:
            chosen = np.arange(count)
        candidates = chosen if rows is None else rows[chosen]
        exact = self._exact(query, candidates)
        order = np.lexsort((self.row_ids[candidates], -np.round(exact, _SCORE_DIGITS)))[:k]
        return candidates[order], exact[order]

    def _products(self, query: Vector, rows: Rows | None) -> NDArray[np.float32]:
        if rows is None:
            return self.vectors[: self.size] @ query
        if len(rows) > GATHER_SHARE * self.size:
            products: NDArray[np.float32] = (self.vectors[: self.size] @ query)[rows]
            return products
        found = np.empty(len(rows), np.float32)
        block = np.empty((min(_GATHER_BLOCK, len(rows)), VECTOR_WIDTH), np.float32)
        for start in range(0, len(rows), _GATHER_BLOCK):
            part = rows[start : start + _GATHER_BLOCK]
            # mode="clip" writes straight into `out`; the default copies twice (numpy.take, "Notes on out").
            taken = np.take(self.vectors, part, axis=0, out=block[: len(part)], mode="clip")
            np.dot(taken, query, out=found[start : start + len(part)])
        return found

    def _exact(self, query: Vector, rows: Rows) -> NDArray[np.float64]:
        wide = query.astype(np.float64)
        found = np.empty(len(rows), np.float64)
        for start in range(0, len(rows), _GATHER_BLOCK):
            part = self.vectors[rows[start : start + _GATHER_BLOCK]].astype(np.float64)
            found[start : start + len(part)] = part @ wide
        return found


class MatrixChange:
    """The next state of a matrix in the making.

    Rows go out and come in, `finish` gives the state. States that are in use stay as they are. One change of a matrix
    at a time, and always of its newest state.
    """

    def __init__(self, base: Matrix) -> None:
        self._vectors, self._row_ids, self._documents = base.vectors, base.row_ids, base.documents
        self._numbers = base.numbers
        self._size = base.size
        self._alive = np.zeros(base.size, np.bool_) if base.live is not None else np.ones(base.size, np.bool_)
        if base.live is not None:
            self._alive[base.live] = True
        self._base = base

    def remove(self, documents: Sequence[str]) -> None:
        """Takes out every row of these documents."""
        self._alive[self._base.rows_of(documents)] = False

    def append(self, row_ids: Sequence[int], documents: Sequence[str], blobs: Sequence[bytes]) -> None:
        """Adds rows; each blob is 768 little-endian float32."""
        end = self._size + len(row_ids)
        if end > len(self._vectors):
            self._grow(end)
        numbers = self._numbers
        self._vectors[self._size : end] = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, VECTOR_WIDTH)
        self._row_ids[self._size : end] = row_ids
        self._documents[self._size : end] = [numbers.setdefault(name, len(numbers)) for name in documents]
        self._size = end

    def finish(self, change: int) -> Matrix:
        """The state that is current at the counter value `change`.

        Compact when many rows are dead.
        """
        alive = np.ones(self._size, np.bool_)
        alive[: len(self._alive)] = self._alive
        live = np.flatnonzero(alive)
        dead = self._size - len(live)
        if dead > max(_FIRST_CAPACITY, _COMPACT_SHARE * self._size):
            return self._compacted(live, change)
        return Matrix(
            vectors=self._vectors,
            row_ids=self._row_ids,
            documents=self._documents,
            numbers=self._numbers,
            size=self._size,
            live=live if dead else None,
            change=change,
        )

    def _grow(self, needed: int) -> None:
        # Memory that is never touched is never taken from the system, so room to spare costs nothing.
        room = Matrix.empty(max(needed, 2 * len(self._vectors)))
        for old, new in (
            (self._vectors, room.vectors),
            (self._row_ids, room.row_ids),
            (self._documents, room.documents),
        ):
            new[: self._size] = old[: self._size]
        self._vectors, self._row_ids, self._documents = room.vectors, room.row_ids, room.documents

    def _compacted(self, live: Rows, change: int) -> Matrix:
        kept, documents = np.unique(self._documents[live], return_inverse=True)
        names = {number: name for name, number in self._numbers.items()}
        room = Matrix.empty(len(live) + len(live) // 4)
        np.take(self._vectors, live, axis=0, out=room.vectors[: len(live)], mode="clip")
        room.row_ids[: len(live)] = self._row_ids[live]
        room.documents[: len(live)] = documents
        return Matrix(
            vectors=room.vectors,
            row_ids=room.row_ids,
            documents=room.documents,
            numbers={names[int(number)]: place for place, number in enumerate(kept)},
            size=len(live),
            live=None,
            change=change,
        )
