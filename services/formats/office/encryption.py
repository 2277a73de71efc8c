"""Decrypts Office documents that a password protects.

An OLE file around the encrypted package, or an old binary file.
"""

from __future__ import annotations

import struct
from pathlib import Path

from services.errors import EncryptedDocument, UnreadableDocument
from services.formats.detection.signatures import OLE_MAGIC

_READ_ONLY_PASSWORD = "VelvetSweatshop"
"""Opens what Excel calls protected against changes only; Office tries it before it asks. Source: [MS-OFFCRYPTO] 2.3."""


def is_ole(path: Path) -> bool:
    """True where the file at `path` is an OLE container, as an encrypted OOXML document is."""
    with path.open("rb") as file:
        return file.read(8) == OLE_MAGIC


def decrypted(path: Path, password: str | None, folder: Path) -> Path:
    """The decrypted document, written into `folder` under a name of its own.

    The caller removes it.

    Raises:
        EncryptedDocument: `password_required`; `password_wrong` where one was given; `encryption_unsupported` where a
            certificate or rights management protects the file, or its scheme is not known.
        UnreadableDocument: `corrupt_document` where the container is damaged.
    """
    import msoffcrypto
    from msoffcrypto.exceptions import DecryptionError, FileFormatError, InvalidKeyError

    target = folder / "decrypted-document"
    try:
        with path.open("rb") as file:
            document = msoffcrypto.OfficeFile(file)
            for attempt in [word for word in (password, _READ_ONLY_PASSWORD) if word]:
                try:
                    document.load_key(password=attempt)
                    with target.open("wb") as plain:
                        document.decrypt(plain)
                except InvalidKeyError:
                    target.unlink(missing_ok=True)
                    continue
                return target
    except (DecryptionError, FileFormatError, NotImplementedError) as error:
        target.unlink(missing_ok=True)
        raise _unsupported() from error
    except (
        OSError, struct.error, ValueError, KeyError, IndexError, TypeError,
        AttributeError, SyntaxError,
    ) as error:  # fmt: skip
        target.unlink(missing_ok=True)
        raise UnreadableDocument(
            "The encrypted document is damaged or cut off. Upload it again, or save it anew where it was made.",
            code="corrupt_document",
        ) from error
    if password:
        raise EncryptedDocument(
            "The password does not open the document. Send the right one in `options.password`.", code="password_wrong"
        )
    raise EncryptedDocument(
        "The document is encrypted. Send its password in `options.password`.", code="password_required"
    )


def _unsupported() -> EncryptedDocument:
    return EncryptedDocument(
        "The document is encrypted by a scheme that cannot be opened with a password. Save it without encryption.",
        code="encryption_unsupported",
    )
