import pytest

from kutter.api.quantity import (
    QuantityError,
    canonical_text,
    is_quantity,
    milli,
    parse,
    whole,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0n", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("100", "100"),
        ("1000", "1k"),
        ("12000", "12k"),
        ("1500k", "1500k"),
        ("1024Mi", "1Gi"),
        ("1Ki", "1Ki"),
        ("1023Ki", "1023Ki"),
        ("0.5Gi", "512Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Mi", "512Ki"),
        ("0.5Ki", "512"),
        ("1.1Ki", "1126400m"),
        ("100Ei", "9223372036854775807"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("1e2", "100"),
        ("1E3", "1e3"),
        ("1E", "1E"),
        ("5e-3", "5e-3"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("-1.5Gi", "-1536Mi"),
        ("+5", "5"),
        ("1000000000", "1G"),
        ("0001", "1"),
        (" 5 ", "5"),
    ],
)
def test_canonical_form(text, canonical):
    assert canonical_text(text) == canonical
    assert canonical_text(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "quantities must match the regular expression"),
        ("1.1.M", "quantities must match the regular expression"),
        ("1 Gi", "quantities must match the regular expression"),
        ("one", "quantities must match the regular expression"),
        ("0.1mi", "unable to parse quantity's suffix"),
        ("1i", "unable to parse quantity's suffix"),
        ("1KiB", "quantities must match the regular expression"),
        ("-3.01e-", "unable to parse quantity's suffix"),
        ("1e999999999", "unable to parse quantity's suffix"),
        ("+", "unable to parse numeric part of quantity"),
    ],
)
def test_rejects(text, message):
    with pytest.raises(QuantityError, match=message):
        parse(text)


def test_scaled_values_round_away_from_zero():
    assert milli("1") == 1000
    assert milli("1n") == 1
    assert milli(0.25) == 250
    assert milli("-1500u") == -2
    assert whole("1.5Gi") == 1610612736
    assert whole("1m") == 1
    assert whole(2) == 2


def test_orders_and_computes_by_value_and_keeps_the_left_format():
    assert parse("1Gi") == parse("1024Mi")
    assert parse("1Gi") > parse("1G")
    assert hash(parse("1Gi")) == hash(parse("1024Mi"))
    assert str(parse("1Gi") + parse("1Gi")) == "2Gi"
    assert str(parse("1Gi") - parse("512Mi")) == "512Mi"
    assert str(parse("0") + parse("1Gi")) == "1Gi"
    assert str(-parse("100m")) == "-100m"
    assert not parse("0")


def test_is_quantity_takes_json_values():
    assert is_quantity("1Gi")
    assert is_quantity(1)
    assert not is_quantity(True)
    assert not is_quantity(None)
    assert not is_quantity("many")
