"""The addresses that answers hold: plain without accounts, signed and short-lived with them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from database.records import DocumentRecord
from services.accounts.principal import Principal
from services.accounts.signed_urls import UrlSigner
from services.formats.registry import RENDERED_FORMATS

_SHOWN = re.compile(r"/v1/(?:documents/[^/]+/(?:file|pages/[^/]+/image)|images/[^/]+/(?:content|thumbnail))")
_SIGNED = re.compile(rf"{_SHOWN.pattern}|/v1/documents/[^/]+/pages/[^/]+")


def is_shown(path: str) -> bool:
    """True for what a page puts into an `<img>` or a viewer: files, pictures, thumbnails, page pictures."""
    return _SHOWN.fullmatch(path) is not None


def is_signed(path: str) -> bool:
    """True for what a signature can open: what is shown, and a page's text, to which a citation may point."""
    return _SIGNED.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Makes the addresses of one answer, for the user who asked."""

    signer: UrlSigner | None = None
    user_id: str = ""

    def file(self, document_id: str) -> str:
        """Of the original."""
        return self._signed(f"/v1/documents/{document_id}/file")

    def page(self, document_id: str, page: int) -> str:
        """Of the page's text."""
        return self._signed(f"/v1/documents/{document_id}/pages/{page}")

    def page_image(self, document: DocumentRecord, page: int) -> str | None:
        """Of the page as a picture; None where the format has no layout."""
        if document.file_type not in RENDERED_FORMATS:
            return None
        return self._signed(f"/v1/documents/{document.document_id}/pages/{page}/image")

    def picture(self, image_id: str) -> str:
        """Of a picture's bytes."""
        return self._signed(f"/v1/images/{image_id}/content")

    def thumbnail(self, image_id: str) -> str:
        """Of a small copy of a picture."""
        return self._signed(f"/v1/images/{image_id}/thumbnail")

    def _signed(self, path: str) -> str:
        return path if self.signer is None else self.signer.sign(path, self.user_id)


PLAIN = Addresses()
"""Without signatures: for the command line, and for servers without accounts."""


def addresses_for(signer: UrlSigner | None, principal: Principal) -> Addresses:
    """The addresses for answers to `principal`.

    A key that may not read gets plain ones: else its uploads would give it what its scopes do not.
    """
    return PLAIN if signer is None or "read" not in principal.scopes else Addresses(signer, principal.user_id)
