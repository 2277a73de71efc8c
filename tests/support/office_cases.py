"""Office files as their programs encrypt them."""

from __future__ import annotations

import random
import zipfile
from io import BytesIO


def encrypted(data: bytes, password: str) -> bytes:
    from msoffcrypto.format.ooxml import OOXMLFile

    target = BytesIO()
    with zipfile.ZipFile(filled := BytesIO(data), "a") as archive:
        archive.writestr("filler.bin", random.Random(1).randbytes(20_000))  # the tool errs on packages below 4 KB
    OOXMLFile(filled).encrypt(password, target)
    return target.getvalue()
