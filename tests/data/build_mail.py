"""Builds the samples of EML, MSG and ZIP beside this file: `python -m tests.data.build_mail`.

All their words are the project's own.
"""

from __future__ import annotations

import struct
import zipfile
from email.message import EmailMessage, Message
from email.policy import SMTP
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.data.build_samples import picture_bytes
from tests.data.compound_file import Tree, compound_file

HERE = Path(__file__).resolve().parent
_FIXED_DATE = (2026, 1, 1, 0, 0, 0)

HTML_BODY = """<html><body><p>Dear Mr. Côté,</p>
<p>the <b>dredging</b> of the east basin begins on <a href="https://example.org/works">Monday</a>.</p>
<ul><li>Boats move to the west basin.</li><li>The slipway stays open.</li></ul>
<p><img src="cid:plan@harbour" alt="Plan of the basins"></p>
<table><tr><th>Berth</th><th>New berth</th></tr><tr><td>E4</td><td>W11</td></tr></table></body></html>
"""
TEXT_BODY = """Dear Mr. Côté,

the dredging of the east basin begins on Monday.

* Boats move to the west basin.
* The slipway stays open.

Berth New berth
E4 W11
"""
NOTES = "Minutes of the berth holders\n\nThe fuel pump will be repaired before Easter.\n"
REPLY = "> Does the crane work in winter?\n\nYes, until the first ice.\n"


def _set_boundaries(message: Message[Any, Any]) -> None:
    """Fixed boundaries instead of random ones."""
    for number, part in enumerate(message.walk()):
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            part.set_boundary(f"=={number}==")


def forwarded_mail() -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = "Crane"
    mail["From"] = "Ida Holm <ida@example.org>"
    mail["To"] = "Petra Lind <petra@example.org>"
    mail["Date"] = "Mon, 05 Jan 2026 08:00:00 +0100"
    mail.set_content(REPLY)
    return mail


def sample_eml() -> bytes:
    """A mail with two versions of its text, a picture in one, two attachments and a mail inside."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = "Dredging of the east basin – your berth"
    mail["From"] = "Petra Lind <petra@example.org>"
    mail["To"] = "Jean Côté <jean@example.org>, office@example.org"
    mail["Cc"] = "Ida Holm <ida@example.org>"
    mail["Date"] = "Tue, 06 Jan 2026 09:30:00 +0100"
    mail.set_content(TEXT_BODY)
    mail.add_alternative(HTML_BODY, subtype="html")
    related: Any = mail.get_payload(1)
    related.add_related(picture_bytes(), "image", "png", cid="<plan@harbour>")
    mail.add_attachment(NOTES.encode(), "text", "plain", filename="minutes.txt")
    mail.add_attachment((HERE / "ports.csv").read_bytes(), "text", "csv", filename="Häfen.csv")
    mail.add_attachment(forwarded_mail())
    _set_boundaries(mail)
    return mail.as_bytes()


def sample_msg() -> bytes:
    """The same kind of mail from Outlook, with a mail inside."""
    inner = _message("Crane", "Ida Holm", "ida@example.org", [("Petra Lind", "petra@example.org", 1)], header=24)
    inner["__substg1.0_1000001F"] = REPLY.encode("utf-16-le")
    tree = _message(
        "Dredging of the east basin – your berth",
        "Petra Lind",
        "petra@example.org",
        [("Jean Côté", "jean@example.org", 1), ("Ida Holm", "ida@example.org", 2)],
        header=32,
    )
    tree["__substg1.0_1000001F"] = TEXT_BODY.encode("utf-16-le")
    tree["__substg1.0_10130102"] = HTML_BODY.encode("utf-8")
    tree["__attach_version1.0_#00000000"] = _attachment("minutes.txt", "text/plain", NOTES.encode())
    picture = _attachment("plan.png", "image/png", picture_bytes())
    picture["__substg1.0_3712001F"] = "plan@harbour".encode("utf-16-le")
    tree["__attach_version1.0_#00000001"] = picture
    tree["__attach_version1.0_#00000002"] = {
        "__properties_version1.0": _properties(8, {0x37050003: 5}),
        "__substg1.0_3001001F": "Crane".encode("utf-16-le"),
        "__substg1.0_3701000D": inner,
    }
    return compound_file(tree)


def _message(
    subject: str, sender: str, address: str, recipients: list[tuple[str, str, int]], *, header: int
) -> dict[str, bytes | Tree]:
    tree: dict[str, bytes | Tree] = {
        # 2026-01-06 08:30 UTC in hundreds of nanoseconds since 1601
        "__properties_version1.0": _properties(header, {0x00390040: 134_121_618_000_000_000, 0x3FDE0003: 65001}),
        "__substg1.0_001A001F": "IPM.Note".encode("utf-16-le"),
        "__substg1.0_0037001F": subject.encode("utf-16-le"),
        "__substg1.0_0C1A001F": sender.encode("utf-16-le"),
        "__substg1.0_5D01001F": address.encode("utf-16-le"),
    }
    for number, (name, mail, kind) in enumerate(recipients):
        tree[f"__recip_version1.0_#{number:08X}"] = {
            "__properties_version1.0": _properties(8, {0x0C150003: kind}),
            "__substg1.0_3001001F": name.encode("utf-16-le"),
            "__substg1.0_39FE001F": mail.encode("utf-16-le"),
        }
    return tree


def _attachment(name: str, media_type: str, data: bytes) -> dict[str, bytes | Tree]:
    return {
        "__properties_version1.0": _properties(8, {0x37050003: 1}),
        "__substg1.0_3707001F": name.encode("utf-16-le"),
        "__substg1.0_370E001F": media_type.encode("utf-16-le"),
        "__substg1.0_37010102": data,
    }


def _properties(header: int, values: dict[int, int]) -> bytes:
    """A property stream: tags of id and type, each with flags and eight bytes."""
    rows = [struct.pack("<IIQ", tag, 6, value) for tag, value in values.items()]
    return bytes(header) + b"".join(rows)


def zip_of(members: dict[str, bytes]) -> bytes:
    """An archive of these members, the same bytes each time."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def zip_twice(name: str, data: bytes) -> bytes:
    """An archive that lists a file twice under one name and once under another."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for listed in (name, name, f"copy/{name}"):
            archive.writestr(listed, data)
    return target.getvalue()


def lying_zip(members: dict[str, bytes]) -> bytes:
    """An archive whose largest member says of itself that it holds a quarter of what it does."""
    largest = max(map(len, members.values()))
    return zip_of(members).replace(struct.pack("<I", largest), struct.pack("<I", largest // 4))


def sample_zip() -> bytes:
    """Files in folders, with what file managers leave behind."""
    return zip_of(
        {
            "reports/": b"",
            "reports/minutes.txt": NOTES.encode(),
            "reports/ports.csv": (HERE / "ports.csv").read_bytes(),
            "mail/crane.eml": forwarded_mail().as_bytes(),
            "empty.txt": b"",
            "__MACOSX/reports/._minutes.txt": b"\0\5\26\7",
            "reports/Thumbs.db": b"\xd0\xcf\x11\xe0",
        }
    )


SAMPLES = {"message.eml": sample_eml, "message.msg": sample_msg, "batch.zip": sample_zip}

if __name__ == "__main__":
    for name, build in SAMPLES.items():
        (HERE / name).write_bytes(build())
