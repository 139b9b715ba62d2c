import pytest

from kutter.api import names
from kutter.base.rng import Rng


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (names.check_dns_label, "a"),
        (names.check_dns_label, "a" * 63),
        (names.check_dns_label, "0-9"),
        (names.check_dns_subdomain, "a.b-c.d"),
        (names.check_dns_label_1035, "abc-1"),
        (names.check_qualified_name, "app"),
        (names.check_qualified_name, "example.com/App_1.x"),
        (names.check_label_value, ""),
        (names.check_label_value, "A_b.c"),
        (names.check_path_segment, "system:node"),
        (names.check_c_identifier, "_a1"),
        (names.check_env_name, "a b"),
        (names.check_strict_env_name, "A.b-c"),
        (names.check_config_key, ".hidden"),
        (names.check_port_name, "http-2"),
        (names.check_port_number, 65535),
        (names.check_header_name, "X-Y"),
        (names.check_percent, "25%"),
        (names.check_wildcard_subdomain, "*.a.b"),
    ],
)
def test_valid(check, value):
    assert check(value) == []


@pytest.mark.parametrize(
    ("check", "value", "complaints"),
    [
        (names.check_dns_label, "a.b", ["must not contain dots"]),
        (names.check_dns_label, "a" * 64, ["must be no more than 63 characters"]),
        (
            names.check_dns_label,
            "Bad",
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ],
        ),
        (
            names.check_dns_subdomain,
            "a\n",
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ],
        ),
        (
            names.check_dns_label_1035,
            "1a",
            [
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            ],
        ),
        (names.check_path_segment, "..", ["may not be '..'"]),
        (names.check_path_segment, "a/b%", ["may not contain '/'", "may not contain '%'"]),
        (names.check_config_key, "..a", ["must not start with '..'"]),
        (names.check_port_name, "1", ["must contain at least one letter (a-z)"]),
        (names.check_port_number, 0, ["must be between 1 and 65535, inclusive"]),
    ],
)
def test_complaints(check, value, complaints):
    assert check(value) == complaints


def test_qualified_name_complains_about_each_part():
    empty = names.check_qualified_name("/")
    assert empty[0] == "prefix part must be non-empty"
    assert empty[1] == "name part must be non-empty"
    assert empty[2].startswith("name part must consist of alphanumeric characters")
    assert names.check_qualified_name("a/b/c")[0].startswith("a valid label key must consist of")
    assert names.check_qualified_name("a" * 64) == ["name part must be no more than 63 bytes"]
    assert names.check_qualified_name("UP/x")[0].startswith("prefix part a lowercase RFC 1123")


def test_generated_name_is_cut_so_that_it_fits_a_label():
    rng = Rng(1)
    assert len(names.generate_name("a" * 80, rng)) == 63
    name = names.generate_name("web-", rng)
    assert name.startswith("web-")
    assert len(name) == 9


def test_name_prefix_may_end_in_a_dash():
    assert names.check_name_prefix("web-", names.check_dns_label) == []
    assert names.check_name_prefix("-", names.check_dns_label) != []
