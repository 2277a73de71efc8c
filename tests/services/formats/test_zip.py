"""ZIP: what its extractor yields."""

from __future__ import annotations

import random
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from services.content import Attachment, Limits
from services.errors import EncryptedDocument, TooLarge
from services.filenames import member_name
from services.formats.registry import Format
from tests.data.build_mail import zip_of
from tests.data.build_zipcrypto import encrypted_zip
from tests.support.format_cases import DATA, attachments, codes, extract, issues, read, text_of


def test_what_file_managers_leave_behind_is_counted_and_left_out(tmp_path: Path) -> None:
    parts = read(DATA / "batch.zip", tmp_path)
    assert set(attachments(parts)) == {"reports/minutes.txt", "reports/ports.csv", "mail/crane.eml"}
    assert codes(parts) == ["members_left_out"]
    assert "1 (empty), 2 (what a file manager left behind)" in issues(parts)[0].message


def test_paths_of_an_archive_never_leave_the_folder(tmp_path: Path) -> None:
    names = {"../../up.txt": b"1", "/abs.txt": b"2", "C:\\win\\x.txt": b"3", "..\\..\\back.txt": b"4"}
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    target = BytesIO(zip_of(names))
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    before = set(tmp_path.parent.rglob("*.txt"))
    parts = extract(Format.ZIP, target.getvalue(), tmp_path)
    assert set(attachments(parts)) == {"up.txt", "abs.txt", "C:/win/x.txt", "back.txt"}
    assert all(part.path.parent.parent == tmp_path for part in parts if isinstance(part, Attachment))
    assert set(tmp_path.parent.rglob("*.txt")) == before
    assert "1 (links)" in issues(parts)[0].message


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a/b.txt", "a/b.txt"),
        ("../..", "unnamed"),
        ("x/./y//z.pdf", "x/y/z.pdf"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("/".join(["folder"] * 60 + ["a.pdf"]), "/".join(["folder"] * 35 + ["a.pdf"])),
    ],
)
def test_names_of_members_are_cleaned(raw: str, shown: str) -> None:
    assert member_name(raw) == shown


def test_names_in_the_encodings_of_old_packers_are_read(tmp_path: Path) -> None:
    names = ["Отчёт за первый квартал.txt", "Протокол собрания.txt", "Список участников.txt"]
    packed = zip_of({f"{n}" + "x" * len(name.encode("cp866")): b"words" for n, name in enumerate(names)})
    for n, name in enumerate(names):
        raw = name.encode("cp866")
        packed = packed.replace(str(n).encode() + b"x" * len(raw), raw[:1] + raw)
    found = set(attachments(extract(Format.ZIP, packed, tmp_path)))
    assert found == {name[0] + name for name in names}


def test_encrypted_members_need_the_right_password(tmp_path: Path) -> None:
    packed = encrypted_zip({"a.txt": b"secret words"}, b"right")
    for password, code in ((None, "password_required"), ("wrong", "password_wrong")):
        with pytest.raises(EncryptedDocument) as caught:
            extract(Format.ZIP, packed, tmp_path, password=password)
        assert caught.value.code == code
    assert attachments(extract(Format.ZIP, packed, tmp_path, password="right")) == {"a.txt": b"secret words"}


@pytest.mark.parametrize("password", [None, "open sesame"])
def test_members_encrypted_with_aes_are_refused_with_the_way_out(tmp_path: Path, password: str | None) -> None:
    with pytest.raises(EncryptedDocument) as caught:
        extract(Format.ZIP, sealed_zip({"a.txt": b"secret words"}), tmp_path, password=password)
    assert caught.value.code == "encryption_unsupported"
    assert "Unpack it and upload the files" in caught.value.detail
    parts = extract(Format.ZIP, sealed_zip({"a.txt": b"secret", "b.txt": b"open"}), tmp_path, password=password)
    assert attachments(parts) == {"b.txt": b"open"}
    assert codes(parts) == ["encryption_unsupported"]


def sealed_zip(files: dict[str, bytes]) -> bytes:
    """A zip file whose first member says of itself that AES encrypts it, as WinZip and 7-Zip write it."""
    packed = bytearray(zip_of(files))
    for signature, flags_at, method_at in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        at = packed.find(signature)
        packed[at + flags_at] |= 1
        packed[at + method_at] = 99
    return bytes(packed)


def test_damaged_members_cost_no_other(tmp_path: Path) -> None:
    packed = bytearray(zip_of({"a.txt": b"first words " * 20, "b.txt": bytes(range(256)) * 9}))
    at = packed.find(b"b.txt") + 20
    packed[at : at + 30] = b"\xff" * 30
    parts = extract(Format.ZIP, bytes(packed), tmp_path)
    assert set(attachments(parts)) == {"a.txt"}
    assert codes(parts) == ["member_unreadable"]
    assert [path.name for path in tmp_path.glob("out-*/*")] == ["attachment-1"]


def test_limits_of_archives_hold_while_inflating(tmp_path: Path) -> None:
    packed = zip_of({"a.txt": random.Random(1).randbytes(60_000), "b.txt": random.Random(2).randbytes(60_000)})
    with pytest.raises(TooLarge) as caught:
        extract(Format.ZIP, packed, tmp_path, limits=Limits(max_unpacked_bytes=100_000))
    assert caught.value.code == "archive_too_large"


def test_what_lies_too_deep_is_listed_and_not_unpacked(tmp_path: Path) -> None:
    for format, name in ((Format.ZIP, "batch.zip"), (Format.EML, "message.eml")):
        parts = extract(format, (DATA / name).read_bytes(), tmp_path, archive_depth=10)
        assert attachments(parts) == {}
        assert "archive_too_deep" in codes(parts)
        assert "minutes.txt" in text_of(parts)
