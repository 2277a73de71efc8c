"""TLS to Postgres by setting: a certificate is checked, and a wrong one refused with words that help."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from database.errors import StoreUnavailable
from database.postgres import migrations
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import SERVICE_ACTOR
from services.admin.schema import open_schema
from services.settings import Settings
from tests.support.pgbouncer import pooler
from tests.support.postgres_server import DatabaseUrls, PostgresServer


def issue(
    name: str, authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None, host: str = "127.0.0.1"
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for the host, signed by the authority, or an authority's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (subject, key) if authority is None else (authority[0].subject, authority[1])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if authority is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256()), key


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """PEM files of the authority that signed the server's certificate, and of another one."""
    return tmp_path_factory.mktemp("authorities") / "right.pem", tmp_path_factory.mktemp("authorities") / "wrong.pem"


@pytest.fixture(scope="module")
def urls(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory, authorities: tuple[Path, Path]
) -> Iterator[DatabaseUrls]:
    """A migrated database behind a pooler that accepts TLS only: the wheel's Postgres is built without it."""
    right, wrong = authorities
    authority = issue("right")
    right.write_bytes(pem(authority[0]))
    wrong.write_bytes(pem(issue("wrong")[0]))
    certificate, key = issue("server", authority)
    made = postgres_server.new_database()
    with pooler(
        made.server_url,
        made.admin_url,
        folder=tmp_path_factory.mktemp("pooler"),
        tls=(pem(certificate), key_pem(key)),
    ) as turned:
        yield DatabaseUrls(turned(made.admin_url), turned(made.server_url), made.name)
    postgres_server.drop(made)


def is_encrypted(url: str, *, sslmode: str, sslrootcert: Path | None = None) -> bool:
    """True where the store's connection is encrypted. Raises what the store raises."""
    store = PostgresStore(PostgresOptions(url, sslmode=sslmode, sslrootcert=sslrootcert))
    try:
        with store.begin(SERVICE_ACTOR) as tx:
            driver: Any = tx.connection.connection.driver_connection
            return bool(driver.pgconn.ssl_in_use)
    finally:
        store.close()


def test_the_right_authority_is_accepted(urls: DatabaseUrls, authorities: tuple[Path, Path]) -> None:
    assert is_encrypted(urls.server_url, sslmode="verify-full", sslrootcert=authorities[0])
    assert is_encrypted(urls.server_url, sslmode="require")


def test_another_authority_is_refused(urls: DatabaseUrls, authorities: tuple[Path, Path]) -> None:
    with pytest.raises(StoreUnavailable, match=r"certificate is not accepted.*DOCATLAS_DATABASE_SSLROOTCERT"):
        is_encrypted(urls.server_url, sslmode="verify-full", sslrootcert=authorities[1])


def test_a_certificate_of_another_host_is_refused(urls: DatabaseUrls, authorities: tuple[Path, Path]) -> None:
    elsewhere = urls.server_url.replace("127.0.0.1", "localhost")
    assert is_encrypted(elsewhere, sslmode="verify-ca", sslrootcert=authorities[0])
    with pytest.raises(StoreUnavailable, match="certificate is not accepted"):
        is_encrypted(elsewhere, sslmode="verify-full", sslrootcert=authorities[0])


def test_a_connection_without_tls_is_refused_where_the_server_wants_it(urls: DatabaseUrls) -> None:
    with pytest.raises(StoreUnavailable):
        is_encrypted(urls.server_url, sslmode="disable")


def test_a_server_without_tls_is_refused_where_the_setting_wants_it(postgres: DatabaseUrls) -> None:
    assert not is_encrypted(postgres.server_url, sslmode="prefer")
    with pytest.raises(StoreUnavailable, match="offers no TLS"):
        is_encrypted(postgres.server_url, sslmode="require")


def test_what_the_url_says_goes_before_the_setting(urls: DatabaseUrls, authorities: tuple[Path, Path]) -> None:
    strict = f"{urls.server_url}?sslmode=verify-full&sslrootcert={authorities[1]}"
    with pytest.raises(StoreUnavailable, match="certificate"):
        is_encrypted(strict, sslmode="prefer")
    with pytest.raises(StoreUnavailable, match="certificate"):
        migrations.status(strict, connecting=migrations.Connecting(sslmode="prefer"))


def test_migrations_check_the_certificate_by_the_same_settings(
    urls: DatabaseUrls, authorities: tuple[Path, Path], tmp_path: Path
) -> None:
    right, wrong = (
        Settings(
            data_dir=tmp_path,
            database_url=SecretStr(urls.server_url),
            database_admin_url=SecretStr(urls.admin_url),
            database_sslmode="verify-full",
            database_sslrootcert=authority,
        )
        for authority in authorities
    )
    with open_schema(right) as schema:
        assert schema.upgrade() == []
        assert urls.admin_url.split(":")[2].split("@")[0] not in schema.place
    with open_schema(wrong) as schema, pytest.raises(StoreUnavailable, match="certificate"):
        schema.upgrade()


def test_a_wrong_password_is_told_apart_from_a_database_that_is_away(postgres: DatabaseUrls) -> None:
    password = postgres.server_url.split(":")[2].split("@")[0]
    with pytest.raises(StoreUnavailable, match="refuses the login") as caught:
        is_encrypted(postgres.server_url.replace(password, "wrong"), sslmode="prefer")
    assert "wrong" not in str(caught.value)
