"""The forms validation asks for beside those of :mod:`kutter.api.names`."""

from __future__ import annotations

import pytest

from kutter.apiserver.validation import text


@pytest.mark.parametrize("value", ["10.0.0.1", "::1", "fe80::1", "FE80:0:0::1"])
def test_addresses(value: str) -> None:
    assert text.ip(value) == ()


@pytest.mark.parametrize("value", ["", "10.0.0", "10.0.0.256", "a", "10.0.0.1/8", "1.2.3.4.5"])
def test_no_addresses(value: str) -> None:
    assert text.ip(value) == (text.IP_TEXT,)


@pytest.mark.parametrize(
    ("check", "value", "problem"),
    [
        (text.ip, "010.000.000.001", "must not have leading 0s"),
        (text.ip, "::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
        (text.cidr, "010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
        (text.cidr, "10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        (text.cidr, "::ffff:1.2.3.0/120", "must not have an IPv4-mapped IPv6 address"),
        (text.cidr, "10.0.0.1/8", "must not have bits set beyond the prefix length"),
        (text.cidr, "fd00::1/64", "must not have bits set beyond the prefix length"),
    ],
)
def test_forms_that_can_be_read_in_two_ways(check: text.Check, value: str, problem: str) -> None:
    assert check(value) == (problem,)


def test_other_forms_than_the_usual_are_told() -> None:
    assert text.ip_warnings("fe80::1", "a") == text.ip_warnings("1.2.3.4", "a") == []
    assert text.ip_warnings("FE80::1", "a") == [
        'a: IPv6 address "FE80::1" should be in RFC 5952 canonical format ("fe80::1")'
    ]
    assert text.cidr_warnings("FD00::/64", "a") == [
        'a: IPv6 CIDR value "FD00::/64" should be in RFC 5952 canonical format ("fd00::/64")'
    ]


@pytest.mark.parametrize("value", ["10.0.0.0/8", "10.0.0.1/32", "::/0", "fd00::/108"])
def test_ranges(value: str) -> None:
    assert text.cidr(value) == ()


@pytest.mark.parametrize("value", ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "/8", "a/8"])
def test_no_ranges(value: str) -> None:
    assert text.cidr(value) == (text.CIDR_TEXT,)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("10.0.0.1", ""),
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("127.1.2.3", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("169.254.1.1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("224.0.0.9", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ("224.0.1.9", ""),
        ("ff02::1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ],
)
def test_special_addresses(value: str, problem: str) -> None:
    assert text.non_special_ip(value) == ((problem,) if problem else ())


def test_search_domains_may_have_underscores() -> None:
    assert text.dns_subdomain_underscore("_tcp.example.com") == ()
    assert text.dns_subdomain_underscore("a..b") != ()


def test_answers_are_shared() -> None:
    assert text.dns_label("web") is text.dns_label("web")
    assert text.dns_label("a.b") == ("must not contain dots",)
