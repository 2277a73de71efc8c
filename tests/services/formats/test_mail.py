"""EML and MSG: what their extractors yield."""

from __future__ import annotations

import base64
import dataclasses
import random
import tempfile
import zipfile
from contextlib import suppress
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import pytest

from services.content import Attachment, BlockKind, DocumentInfo, Limits, Part
from services.errors import DocatlasError, EncryptedDocument, TooLarge, UnreadableDocument
from services.formats.detection.detect import detect_format
from services.formats.mail.msg_rtf import decompress_rtf, text_of_rtf
from services.formats.registry import Format
from services.options import Options
from tests.data.build_mail import SAMPLES
from tests.data.build_samples import picture_bytes
from tests.data.compound_file import compound_file
from tests.support.format_cases import (
    DATA,
    attachments,
    check_offsets,
    codes,
    compare_with_golden,
    extract,
    outline,
    pages,
    pictures,
    read,
    text_of,
)

HEAD = b"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: Plan\r\nMIME-Version: 1.0\r\n"


def eml(data: bytes, folder: Path) -> list[Part]:
    return extract(Format.EML, data, folder)


def multipart(kind: str, *parts: bytes) -> bytes:
    inside = b"".join(b"--B\r\n" + part + b"\r\n" for part in parts)
    return HEAD + b"Content-Type: multipart/" + kind.encode() + b'; boundary="B"\r\n\r\n' + inside + b"--B--\r\n"


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_sample_reads_as_its_golden_text(tmp_path: Path, name: str) -> None:
    parts = read(DATA / name, tmp_path)
    for page in pages(parts):
        check_offsets(page)
    shown = [dataclasses.replace(p, path=Path(p.path.name)) if isinstance(p, Attachment) else p for p in parts]
    compare_with_golden(name, outline(shown))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_samples_are_those_that_the_script_builds(name: str) -> None:
    built, stored = SAMPLES[name](), (DATA / name).read_bytes()
    if name.endswith(".zip"):  # compressed bytes may differ between releases of zlib
        assert zipfile.ZipFile(BytesIO(built)).namelist() == zipfile.ZipFile(BytesIO(stored)).namelist()
    else:
        assert len(built) == pytest.approx(len(stored), abs=200)


def test_what_is_attached_is_known_again_by_its_content(tmp_path: Path) -> None:
    for name in SAMPLES:
        for found, data in attachments(read(DATA / name, Path(tempfile.mkdtemp(dir=tmp_path)))).items():
            path = tmp_path / "attached"
            path.write_bytes(data)
            kinds = {"txt": Format.TEXT, "csv": Format.CSV, "eml": Format.EML}
            assert detect_format(path, found, Limits()).format is kinds[found.rpartition(".")[2]]


def test_encoded_words_and_raw_bytes_in_headers_are_read(tmp_path: Path) -> None:
    mail = (
        b"From: =?iso-8859-1?Q?J=FCrgen_M=FCller?= <j@example.org>\r\nTo: Ren\xe9e <r@example.org>\r\n"
        b"Subject: =?utf-8?B?"
        + base64.b64encode("Plan für".encode())
        + b"?=\r\n =?utf-8?Q?_die_Br=C3=BCcke?=\r\n\r\nHi\r\n"
    )
    parts = eml(mail, tmp_path)
    assert parts[0] == DocumentInfo(title="Plan für die Brücke", author="Jürgen Müller")
    assert "Renée" in text_of(parts)


@pytest.mark.parametrize(
    ("charset", "encoding", "text"),
    [
        ("windows-1251", "cp1251", "Договор аренды лодочного сарая, плата вносится ежемесячно."),
        ("iso-2022-jp", "iso-2022-jp", "賃料は毎月末日までに支払う"),
        ("no-such-charset", "utf-8", "Zürich und Genève"),
        ("us-ascii", "utf-8", "naïve café"),
    ],
)
def test_text_is_decoded_whatever_its_label_says(tmp_path: Path, charset: str, encoding: str, text: str) -> None:
    head = HEAD + f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode()
    assert text in text_of(eml(head + text.encode(encoding), tmp_path))


def test_the_version_that_loses_nothing_is_read(tmp_path: Path) -> None:
    html = b"Content-Type: text/html\r\n\r\n<h2>Plan</h2><p>The east basin closes on Monday for two weeks.</p>"
    same = b"Content-Type: text/plain\r\n\r\nPlan\r\n\r\nThe east basin closes on Monday for two weeks."
    blocks = pages(eml(multipart("alternative", same, html), tmp_path))[0].blocks
    assert [block.kind for block in blocks][2:] == [BlockKind.HEADING, BlockKind.PARAGRAPH]
    teaser = b"Content-Type: text/html\r\n\r\n<p>The east basin</p>"
    assert "two weeks" in text_of(eml(multipart("alternative", same, teaser), tmp_path))
    other = (
        b"Content-Type: text/html\r\n\r\n<p>Quite different words stand here about lighthouses and their keepers</p>"
    )
    both = text_of(eml(multipart("alternative", same, other), tmp_path))
    assert "two weeks" in both
    assert "lighthouses" in both


def test_flowed_lines_are_joined_and_quotes_are_marked(tmp_path: Path) -> None:
    text = b"The east \r\nbasin \r\ncloses.\r\n\r\n> Is it so?\r\n> Really?\r\n"
    page = pages(eml(HEAD + b"Content-Type: text/plain; format=flowed\r\n\r\n" + text, tmp_path))[0]
    found = [(block.kind, page.text[block.char_start : block.char_end]) for block in page.blocks[2:]]
    assert found == [(BlockKind.PARAGRAPH, "The east basin closes."), (BlockKind.QUOTE, "Is it so?\nReally?")]


def test_a_picture_in_the_text_belongs_to_the_page_and_another_is_attached(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"] = "Pictures"
    mail.set_content('<p>Look: <img src="cid:one@x" alt="The crane"></p>', subtype="html")
    mail.add_related(picture_bytes(), "image", "png", cid="<one@x>")
    mail.add_attachment(picture_bytes(60, 60), "image", "png", filename="photo.png")
    parts = eml(mail.as_bytes(), tmp_path)
    assert [picture.alt for picture in pictures(parts)] == ["The crane"]
    assert set(attachments(parts)) == {"photo.png"}
    assert pictures(extract(Format.EML, mail.as_bytes(), tmp_path, options=Options(extract_images=False))) == []


def test_names_of_attachments_are_for_display_only(tmp_path: Path) -> None:
    named = b"attachment; filename*=utf-8''..%2F..%2Fetc%2Fpass%C3%A4.pdf"
    part = b"Content-Type: application/pdf\r\nContent-Disposition: " + named + b"\r\n\r\nx"
    other = (
        b'Content-Type: application/pdf; name="=?utf-8?B?' + base64.b64encode("Häfen.pdf".encode()) + b'?="\r\n\r\ny'
    )
    unnamed = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\neg=="
    assert attachments(eml(multipart("mixed", part, other, unnamed), tmp_path)) == {
        "passä.pdf": b"x",
        "Häfen.pdf": b"y",
        "attachment-1.pdf": b"z",
    }


def test_a_mail_inside_is_a_file_of_its_own_whatever_its_coding(tmp_path: Path) -> None:
    inner = b"Subject: Inner words\r\nFrom: c@example.org\r\n\r\nDeep\r\n"
    plain = b"Content-Type: message/rfc822\r\n\r\n" + inner
    coded = (
        b"Content-Type: message/rfc822; name=coded.eml\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(inner)
    )
    found = attachments(eml(multipart("mixed", plain, coded), tmp_path))
    assert set(found) == {"Inner words.eml", "coded.eml"}
    for data in found.values():
        assert "Deep" in text_of(eml(data, tmp_path))


def test_signatures_are_left_out_and_odd_containers_kept(tmp_path: Path) -> None:
    text = b"Content-Type: text/plain\r\n\r\nSigned words"
    signature = b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n-----BEGIN PGP SIGNATURE-----"
    tnef = b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\nxyz"
    parts = eml(multipart("mixed", text, signature, tnef), tmp_path)
    assert set(attachments(parts)) == {"winmail.dat"}
    assert codes(parts) == []


@pytest.mark.parametrize(
    "kind",
    [
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\r\nxx",
        b"Content-Type: multipart/encrypted; boundary=B\r\n\r\n--B\r\n\r\nx\r\n--B--",
    ],
)
def test_an_encrypted_mail_is_refused_with_the_way_out(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(EncryptedDocument) as caught:
        eml(HEAD + kind, tmp_path)
    assert caught.value.code == "encryption_unsupported"


def test_a_pgp_block_in_the_text_is_said_and_left_out(tmp_path: Path) -> None:
    parts = eml(
        HEAD + b"\r\nBefore\r\n-----BEGIN PGP MESSAGE-----\r\nabc\r\n-----END PGP MESSAGE-----\r\nAfter", tmp_path
    )
    assert codes(parts) == ["mail_encrypted"]
    assert "Before" in text_of(parts)
    assert "abc" not in text_of(parts)


def test_limits_of_mails_have_codes_of_their_own(tmp_path: Path) -> None:
    deep = HEAD + b"".join(
        b"Content-Type: multipart/mixed; boundary=B%d\r\n\r\n--B%d\r\n" % (n, n) for n in range(3000)
    )
    with pytest.raises(UnreadableDocument) as nested:
        eml(deep, tmp_path)
    assert nested.value.code == "nested_too_deep"
    many = HEAD + b"Content-Type: multipart/mixed; boundary=B\r\n\r\n" + b"--B\r\n\r\nx\r\n" * 200
    with pytest.raises(TooLarge) as parts:
        extract(Format.EML, many, tmp_path, limits=Limits(max_archive_entries=100))
    assert parts.value.code == "too_many_entries"
    with pytest.raises(UnreadableDocument) as none:
        eml(b"\r\n\r\njust text", tmp_path)
    assert none.value.code == "not_a_mail"


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: " + b"=?utf-8?Q?a?= " * 50_000,
        b"To: " + b"(" * 200_000,
        b'Content-Type: multipart/mixed; boundary="' + b"x" * 200_000,
        b"Content-Type: text/plain;" + b" a*0*=b;" * 50_000,
        b"Content-Disposition: attachment; filename*=no-such'x'%ff%fe",
        b"Content-Type: text/plain; charset=\xff\xfe",
        b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset*0*=x'y",
    ],
)
def test_hostile_headers_cost_neither_time_nor_the_text(tmp_path: Path, header: bytes) -> None:
    parts = eml(b"From: a@example.org\r\n" + header + b"\r\n\r\nwords\r\n", tmp_path)
    assert len(pages(parts)) == 1


def test_mangled_mails_end_in_parts_or_in_an_error_of_ours(tmp_path: Path) -> None:
    source, dice = (DATA / "message.eml").read_bytes(), random.Random(20261121)
    for _ in range(300):
        data = bytearray(source)
        for _ in range(dice.randrange(1, 20)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        with suppress(DocatlasError):
            eml(bytes(data), tmp_path)


def test_mangled_outlook_mails_end_in_parts_or_in_an_error_of_ours(tmp_path: Path) -> None:
    source, dice = (DATA / "message.msg").read_bytes(), random.Random(20261121)
    for number in range(300):
        data = bytearray(source)
        for _ in range(dice.randrange(1, 20)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if number % 3 == 0:
            del data[dice.randrange(len(data)) :]
        with suppress(DocatlasError):
            extract(Format.MSG, bytes(data), tmp_path)


def test_an_outlook_mail_with_a_broken_property_is_read(tmp_path: Path) -> None:
    message = compound_file(
        {
            "__properties_version1.0": bytes(32) + b"\x03\x00\xde\x3f\x06\x00\x00\x00" + b"\xff" * 8 + b"short",
            "__substg1.0_0037001E": "Füße".encode("cp1252"),
            "__substg1.0_1000001F": "Zürich".encode("utf-16-le") + b"\x00",
            "__attach_version1.0_#00000000": {"__substg1.0_37010102": b"x"},
        }
    )
    parts = extract(Format.MSG, message, tmp_path)
    assert isinstance(parts[0], DocumentInfo)
    assert parts[0].title == "Füße"
    assert "Zürich" in text_of(parts)
    assert attachments(parts) == {"attachment-1": b"x"}


def test_an_encrypted_outlook_mail_is_refused(tmp_path: Path) -> None:
    message = compound_file(
        {"__properties_version1.0": bytes(32), "__substg1.0_001A001F": "IPM.Note.SMIME".encode("utf-16-le")}
    )
    with pytest.raises(EncryptedDocument):
        extract(Format.MSG, message, tmp_path)


def test_streams_that_overlap_do_not_multiply_in_memory(tmp_path: Path) -> None:
    with pytest.raises(TooLarge) as caught:
        extract(Format.MSG, (DATA / "message.msg").read_bytes(), tmp_path, limits=Limits(max_unpacked_bytes=1000))
    assert caught.value.code == "archive_too_large"


def test_a_body_in_compressed_rtf_is_read() -> None:
    # Source: MS-OXRTFCP, section 3.1: the two examples of compressed RTF.
    simple = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a00726370673132354232 0af32068656c090020627705b06c647d0a800fa0".replace(
            " ", ""
        )
    )
    assert text_of_rtf(decompress_rtf(simple), Limits()).strip() == "hello world"
    crossing = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
    assert decompress_rtf(crossing) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"
    assert decompress_rtf(b"nonsense") == b""
