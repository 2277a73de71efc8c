"""Files inside mails and archives, written where the server picks them up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from services.content import Attachment, Issue
from services.formats.base import ExtractContext


class AttachmentWriter:
    """Writes the attachments of one document into its folder, each under a name of ours."""

    def __init__(self, context: ExtractContext) -> None:
        self._folder = context.folder
        self._written = 0

    def write(self, pieces: Iterable[bytes], filename: str, declared_type: str) -> Attachment:
        """The attachment with these bytes; where `pieces` raises, the file is gone again."""
        self._written += 1
        path = self._folder / f"attachment-{self._written}"
        digest, size = hashlib.sha256(), 0
        with ExitStack() as undo:
            undo.callback(path.unlink, missing_ok=True)
            with path.open("xb") as file:
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    file.write(piece)
            undo.pop_all()
        return Attachment(path, filename, declared_type, digest.hexdigest(), size)


def is_too_deep(context: ExtractContext) -> bool:
    """True when what lies in this file would lie in more mails and archives than is allowed."""
    return context.archive_depth >= context.limits.max_archive_depth


def too_deep(context: ExtractContext) -> Iterator[Issue]:
    """What is said of files that were not unpacked because of `is_too_deep`."""
    yield Issue(
        "archive_too_deep",
        f"It lies in {context.archive_depth} mails or archives already, so that what is inside was not unpacked; the "
        f"limit is {context.limits.max_archive_depth} levels.",
    )


def in_units(size: int) -> str:
    """A number of bytes as a file manager shows it: `12.3 kB`."""
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
