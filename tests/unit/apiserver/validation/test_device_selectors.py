"""Selectors of devices: what an attribute's value may cost, and whose answer may be anything."""

from __future__ import annotations

from kutter.api.errors import FieldError
from kutter.apiserver.validation.device_selectors import check_selectors


def found(*expressions: str) -> list[FieldError]:
    errors: list[FieldError] = []
    check_selectors(errors, [{"cel": {"expression": text}} for text in expressions], "s")
    return errors


def test_an_attribute_may_be_the_answer_and_a_conversion_may_not() -> None:
    assert not found('device.attributes["d.example.com"].fast')
    (error,) = found("dyn(true)")
    assert error.message.endswith("must evaluate to bool or the unknown type, not dyn")


def test_names_select_values_of_known_size() -> None:
    assert not found('device.attributes["d.example.com"].x.matches("^a.*b$")')
    (error,) = found("".join(("device.attributes.exists(k, ",) * 5) + "true" + ")" * 5)
    assert (error.reason, error.path) == ("FieldValueForbidden", "s[0].cel.expression")


def test_the_same_text_is_judged_the_same_each_time() -> None:
    assert [e.message for e in found("1", "1")] == [
        'Invalid value: "1": must evaluate to bool or the unknown type, not int'
    ] * 2
