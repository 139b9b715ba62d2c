"""Named formats: ``format.dns1123Label().validate('x')`` answers with what is wrong, if anything.

Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-format-library
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.estimates import CallEstimate, Range, Sized
from kutter.api.cel.library.costs import PATTERN, TEXT, actual_size
from kutter.api.cel.library.urls import is_url_problem
from kutter.api.cel.types import STRING, list_of, opaque, optional_of
from kutter.api.cel.values import NONE, Opaque, OptionalValue
from kutter.api.custom.formats import FORMATS
from kutter.api.names import (
    check_dns_label,
    check_dns_label_1035,
    check_dns_subdomain,
    check_label_value,
    check_name_prefix,
    check_qualified_name,
)

FORMAT = opaque("kubernetes.NamedFormat")
_PATTERN_LIMIT = 128
Check = Callable[[str], list[str]]


class NamedFormat(Opaque):
    """A format; ``pattern_size`` is what matching it is charged by."""

    __slots__ = ("check", "name", "pattern_size")
    cel_type = FORMAT

    def __init__(self, name: str, check: Check, pattern_size: int) -> None:
        self.name = name
        self.check = check
        self.pattern_size = pattern_size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedFormat) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def _prefix(check: Check) -> Check:
    return lambda text: check_name_prefix(text, check)


def _plain(format: str, problem: str) -> Check:
    accepts = FORMATS[format]
    return lambda text: [] if accepts(text) else [problem]


# The pattern of date-time upstream measures by, and those of uuid, URLs and base64.
_NAMED: dict[str, tuple[Check, int]] = {
    "dns1123Label": (check_dns_label, 30),
    "dns1123Subdomain": (check_dns_subdomain, 60),
    "dns1035Label": (check_dns_label_1035, 30),
    "qualifiedName": (check_qualified_name, 60),
    "dns1123LabelPrefix": (_prefix(check_dns_label), 30),
    "dns1123SubdomainPrefix": (_prefix(check_dns_subdomain), 60),
    "dns1035LabelPrefix": (_prefix(check_dns_label_1035), 30),
    "labelValue": (check_label_value, 40),
    "uri": (is_url_problem, 30),
    "uuid": (_plain("uuid", "does not match the UUID format"), 69),
    "byte": (_plain("byte", "invalid base64"), 50),
    "date": (_plain("date", "invalid date"), 84),
    "datetime": (_plain("datetime", "invalid datetime"), 84),
}
_FORMATS = {name: NamedFormat(name, check, size) for name, (check, size) in _NAMED.items()}


def _validate(format: NamedFormat, text: str) -> OptionalValue:
    problems = format.check(text)
    return OptionalValue(problems) if problems else NONE


def _named(name: str) -> OptionalValue:
    found = _FORMATS.get(name)
    return OptionalValue(found) if found is not None else NONE


def _cost(result: object, format: NamedFormat, text: str) -> int:
    size = -(-actual_size(text) // 10)
    return -(-size * format.pattern_size // 4)


def _estimate(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    return CallEstimate(arguments[0].size().times(TEXT).times(_PATTERN_LIMIT * PATTERN))


_ONE = CallEstimate(Range(1, 1))


def _constant(name: str) -> tuple[Overload, ...]:
    value = _FORMATS[name]
    return (Overload(f"format.{name}", (), FORMAT, lambda: value),)


NAMED_FORMATS = Library(
    "kubernetes.format",
    functions={f"format.{name}": _constant(name) for name in _NAMED}
    | {
        "format.named": (
            Overload(
                "format-named",
                (STRING,),
                optional_of(FORMAT),
                _named,
                estimate=lambda *_: _ONE,
            ),
        ),
        "validate": (
            Overload(
                "format-validate",
                (FORMAT, STRING),
                optional_of(list_of(STRING)),
                _validate,
                member=True,
                cost=_cost,
                estimate=_estimate,
            ),
        ),
    },
    types={"kubernetes.NamedFormat": FORMAT},
)
