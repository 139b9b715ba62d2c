"""Which names, keys and values are valid, in upstream's words.

Every ``check_*`` answers the list of complaints, empty when the value is fine; the texts are the
wire behaviour, they end up in ``details.causes``. Lengths count bytes, as in Go.
Upstream: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kutter.base.rng import Rng

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY_NAME})?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_ENV = "[-._a-zA-Z][-._a-zA-Z0-9]*"

_label = re.compile(_LABEL).fullmatch
_subdomain = re.compile(_SUBDOMAIN).fullmatch
_label_1035 = re.compile(_LABEL_1035).fullmatch
_key_name = re.compile(_KEY_NAME).fullmatch
_value = re.compile(_VALUE).fullmatch
_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_config_key = re.compile(_CONFIG_KEY).fullmatch
_header = re.compile(_HEADER).fullmatch
_percent = re.compile(_PERCENT).fullmatch
_env = re.compile(_ENV).fullmatch

NameCheck = Callable[[str], list[str]]

_GENERATED_MAX = 63
_GENERATED_RANDOM = 5


def generate_name(base: str, rng: Rng) -> str:
    """``base`` cut to 58 characters and five random ones, as ``generateName`` promises."""
    return base[: _GENERATED_MAX - _GENERATED_RANDOM] + rng.suffix(_GENERATED_RANDOM)


def check_dns_label(value: str) -> list[str]:
    """RFC 1123 label: namespaces, container names, ports of network policies."""
    errors = _too_long(value, 63)
    if not _label(value):
        if _subdomain(value):
            errors.append("must not contain dots")
        else:
            errors.append(
                regex_error(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters"
                    " or '-', and must start and end with an alphanumeric character",
                    _LABEL,
                    "my-name",
                    "123-abc",
                )
            )
    return errors


def check_dns_subdomain(value: str) -> list[str]:
    """RFC 1123 subdomain: most objects' names."""
    errors = _too_long(value, 253)
    if not _subdomain(value):
        errors.append(
            regex_error(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric"
                " characters, '-' or '.', and must start and end with an alphanumeric character",
                _SUBDOMAIN,
                "example.com",
            )
        )
    return errors


def check_wildcard_subdomain(value: str) -> list[str]:
    """``*.`` and a subdomain: hosts of ingresses."""
    errors = _too_long(value, 253)
    if not (value.startswith("*.") and _subdomain(value[2:])):
        errors.append(
            regex_error(
                "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS"
                " subdomain, which must consist of lower case alphanumeric characters, '-' or '.'"
                " and end with an alphanumeric character",
                rf"\*\.{_SUBDOMAIN}",
                "*.example.com",
            )
        )
    return errors


def check_dns_label_1035(value: str) -> list[str]:
    """RFC 1035 label: names of services."""
    errors = _too_long(value, 63)
    if not _label_1035(value):
        errors.append(
            regex_error(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start"
                " with an alphabetic character, and end with an alphanumeric character",
                _LABEL_1035,
                "my-name",
                "abc-123",
            )
        )
    return errors


def check_path_segment(value: str) -> list[str]:
    """Names that only have to survive in a URL path: roles, bindings."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in value]


def check_name_prefix(value: str, check: NameCheck) -> list[str]:
    """Check a ``generateName``: a dash at its end is fine, since something follows."""
    if len(value) > 1 and value.endswith("-"):
        value = value[:-2] + "a"
    return check(value)


def check_qualified_name(value: str) -> list[str]:
    """A label key: ``[prefix/]name``."""
    errors: list[str] = []
    prefix, slash, name = value.rpartition("/")
    rules = regex_error(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
        " alphanumeric character",
        _KEY_NAME,
        "MyName",
        "my.name",
        "123-abc",
    )
    if "/" in prefix:
        more = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {rules} {more}"]
    if slash:
        if not prefix:
            errors.append("prefix part must be non-empty")
        errors += [f"prefix part {e}" for e in (check_dns_subdomain(prefix) if prefix else ())]
    if not name:
        errors.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        errors.append("name part must be no more than 63 bytes")
    if not _key_name(name):
        errors.append(f"name part {rules}")
    return errors


def check_label_value(value: str) -> list[str]:
    errors = ["must be no more than 63 bytes"] if len(value.encode()) > 63 else []
    if not _value(value):
        errors.append(
            regex_error(
                "a valid label must be an empty string or consist of alphanumeric characters, '-',"
                " '_' or '.', and must start and end with an alphanumeric character",
                _VALUE,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return errors


def check_c_identifier(value: str) -> list[str]:
    if _c_identifier(value):
        return []
    return [
        regex_error(
            "a valid C identifier must start with alphabetic character or '_', followed by a"
            " string of alphanumeric characters or '_'",
            _C_IDENTIFIER,
            "my_name",
            "MY_NAME",
            "MyName",
        )
    ]


def check_env_name(value: str) -> list[str]:
    """Names of environment variables as v1.36 takes them: printable ASCII but ``=``."""
    errors = [] if value else ["environment variable name must be non-empty"]
    if any(not " " <= c <= "~" or c == "=" for c in value):
        errors.append(
            "a valid environment variable name must consist only of printable ASCII characters"
            " other than '='"
        )
    return errors


def check_strict_env_name(value: str) -> list[str]:
    """The older, narrower rule, still in force for keys of ``envFrom``."""
    errors = []
    if not _env(value):
        errors.append(
            regex_error(
                "a valid environment variable name must consist of alphabetic characters, digits,"
                " '_', '-', or '.', and must not start with a digit",
                _ENV,
                "my.env-name",
                "MY_ENV.NAME",
                "MyEnvName1",
            )
        )
    return errors + _dot_names(value)


def check_config_key(value: str) -> list[str]:
    """Keys of config maps and secrets."""
    errors = _too_long(value, 253)
    if not _config_key(value):
        errors.append(
            regex_error(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                _CONFIG_KEY,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    return errors + _dot_names(value)


def check_port_name(value: str) -> list[str]:
    errors = _too_long(value, 15)
    if not value or any(not ("a" <= c <= "z" or "0" <= c <= "9" or c == "-") for c in value):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= c <= "z" for c in value):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def check_port_number(value: int) -> list[str]:
    return check_range(value, 1, 65535)


def check_range(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [f"must be between {low} and {high}, inclusive"]


def check_header_name(value: str) -> list[str]:
    if _header(value):
        return []
    return [
        regex_error(
            "a valid HTTP header must consist of alphanumeric characters or '-'",
            _HEADER,
            "X-Header-Name",
        )
    ]


def check_percent(value: str) -> list[str]:
    if _percent(value):
        return []
    return [
        regex_error(
            "a valid percent string must be a numeric string followed by an ending '%'",
            _PERCENT,
            "1%",
            "93%",
        )
    ]


def regex_error(message: str, pattern: str, *examples: str) -> str:
    """How upstream tells about a pattern that did not match."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {listed}regex used for validation is '{pattern}')"


def _too_long(value: str, maximum: int) -> list[str]:
    return [f"must be no more than {maximum} characters"] if len(value.encode()) > maximum else []


def _dot_names(value: str) -> list[str]:
    if value in (".", ".."):
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []
