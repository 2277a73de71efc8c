"""Whose word about a client's address and scheme is believed, and what limits count by."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from api.http.client_address import Client, TrustedProxies, address_key

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("fd00::/8")])


def _client(peer: str, *forwarded: str, proto: str | None = None) -> Client:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    if proto is not None:
        headers.append((b"x-forwarded-proto", proto.encode("latin-1")))
    return PROXIES.client_of(peer, "http", headers)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", ("203.0.113.7",), "203.0.113.7"),
        ("10.9.8.7", ("203.0.113.7, 10.0.0.2",), "203.0.113.7"),
        ("::ffff:10.9.8.7", ("203.0.113.7",), "203.0.113.7"),
        ("fd12::1", ("2001:0DB8::0001",), "2001:db8::1"),
        ("127.0.0.1", ("::ffff:203.0.113.7",), "203.0.113.7"),
        ("127.0.0.1", ("203.0.113.7:5678",), "203.0.113.7"),
        ("127.0.0.1", ("[2001:db8::1]:443",), "2001:db8::1"),
        ("127.0.0.1", ("[2001:db8::1]",), "2001:db8::1"),
        ("127.0.0.1", ("fe80::1%eth0",), "fe80::1"),
        ("127.0.0.1", (), "127.0.0.1"),
    ],
)
def test_client_is_the_address_that_a_trusted_proxy_tells(peer: str, forwarded: tuple[str, ...], address: str) -> None:
    assert _client(peer, *forwarded).address == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),  # no proxy of ours
        ("127.0.0.2", ("198.51.100.1",), "127.0.0.2"),  # beside the trusted one
        ("127.0.0.1", ("198.51.100.1, 203.0.113.7",), "203.0.113.7"),  # the left one was sent by the client
        ("127.0.0.1", ("10.0.0.1, 203.0.113.7, 10.0.0.2",), "203.0.113.7"),
        ("127.0.0.1", ("198.51.100.1", "203.0.113.7"), "203.0.113.7"),  # in two headers
        ("127.0.0.1", ("198.51.100.1, unknown",), "127.0.0.1"),  # the proxy did not say
        ("127.0.0.1", ("198.51.100.1, _hidden, 10.0.0.2",), "10.0.0.2"),
        ("127.0.0.1", ("10.0.0.1, 10.0.0.2",), "10.0.0.1"),  # a proxy that asks for itself
        ("", ("198.51.100.1",), ""),
    ],
)
def test_what_a_client_writes_itself_is_not_believed(peer: str, forwarded: tuple[str, ...], address: str) -> None:
    assert _client(peer, *forwarded).address == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "proto", "scheme"),
    [
        ("127.0.0.1", ("203.0.113.7",), "https", "https"),
        ("127.0.0.1", ("203.0.113.7",), "HTTPS", "https"),
        ("127.0.0.1", (), "https", "https"),
        ("127.0.0.1", ("203.0.113.7, 10.0.0.2",), "https", "https"),  # the last proxy overwrote it
        ("127.0.0.1", ("203.0.113.7, 10.0.0.2",), "https, http", "https"),  # each proxy appended its own
        ("127.0.0.1", ("203.0.113.7",), "https, http", "http"),  # the client sent the left one
        ("127.0.0.1", ("203.0.113.7",), "gopher", "http"),
        ("127.0.0.1", ("203.0.113.7",), None, "http"),
        ("203.0.113.7", (), "https", "http"),
    ],
)
def test_scheme_is_the_one_that_a_trusted_proxy_tells(
    peer: str, forwarded: tuple[str, ...], proto: str | None, scheme: str
) -> None:
    assert _client(peer, *forwarded, proto=proto).scheme == scheme


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_limits_count_an_ipv6_network_as_one(address: str, key: str) -> None:
    assert address_key(address) == key
