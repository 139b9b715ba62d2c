import pytest

from kutter.api.selectors import (
    EVERYTHING,
    NOTHING,
    SelectorError,
    from_map,
    from_tree,
    from_view,
    parse_fields,
    parse_labels,
)
from kutter.api.types.meta_v1 import LabelSelector, LabelSelectorRequirement


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("!a", {"a": "x"}, False),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,y)", {}, False),
        ("a notin (x)", {}, True),
        ("a notin (x)", {"a": "x"}, False),
        ("a in ()", {"a": ""}, True),
        ("a in (,x)", {"a": ""}, True),
        ("a=", {"a": ""}, True),
        ("a=,b=c", {"a": "", "b": "c"}, True),
        ("in in (in)", {"in": "in"}, True),
        ("a>5", {"a": "6"}, True),
        ("a<5", {"a": "6"}, False),
        ("a>5", {"a": "many"}, False),
        ("example.com/a=b,c!=d", {"example.com/a": "b"}, True),
        (" a = b , c ", {"a": "b", "c": "1"}, True),
    ],
)
def test_matches(text, labels, expected):
    assert parse_labels(text).matches(labels) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "a=-b",
            "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (
            "a/b/c=d",
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        ),
    ],
)
def test_rejects(text, message):
    with pytest.raises(SelectorError) as caught:
        parse_labels(text)
    assert str(caught.value) == message


def test_renders_sorted_and_parses_its_own_text():
    selector = parse_labels("b notin (y,x),a,!c,d==e,n>3")
    assert str(selector) == "a,b notin (x,y),!c,d==e,n>3"
    assert parse_labels(str(selector)) == selector


def test_exact_value_for_index_look_ups():
    selector = parse_labels("a=b,c in (d),e in (f,g)")
    assert selector.exact("a") == "b"
    assert selector.exact("c") == "d"
    assert selector.exact("e") is None
    assert selector.exact("x") is None


def test_views_and_trees_select_alike():
    view = LabelSelector(
        match_labels={"a": "b"},
        match_expressions=(LabelSelectorRequirement(key="c", operator="NotIn", values=("d",)),),
    )
    selector = from_view(view)
    assert selector == from_tree(view.tree())
    assert selector.matches({"a": "b"})
    assert not selector.matches({"a": "b", "c": "d"})


def test_absent_selects_nothing_and_empty_everything():
    assert from_view(None) is NOTHING
    assert from_tree(None) is NOTHING
    assert not NOTHING.matches({})
    assert not NOTHING.empty
    assert from_view(LabelSelector()) == EVERYTHING
    assert from_tree({"matchLabels": None, "matchExpressions": None}).matches({"x": "y"})
    assert from_map({"a": "b"}).matches({"a": "b", "c": "d"})


def test_unknown_view_operator():
    with pytest.raises(SelectorError, match='"Like" is not a valid label selector operator'):
        from_tree({"matchExpressions": [{"key": "a", "operator": "Like"}]})


def test_field_selector_matches_and_knows_its_exact_values():
    selector = parse_fields("spec.nodeName=n1,status.phase!=Running")
    fields = {"spec.nodeName": "n1"}
    assert selector.matches(lambda f: fields.get(f, ""))
    fields["status.phase"] = "Running"
    assert not selector.matches(lambda f: fields.get(f, ""))
    assert selector.exact("spec.nodeName") == "n1"
    assert selector.exact("status.phase") is None
    assert parse_fields("").empty


def test_field_selector_escapes():
    selector = parse_fields(r"a=x\,y\=z\\")
    assert selector.terms[0].value == "x,y=z\\"
    assert parse_fields(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_field_selector_rejects(text, message):
    with pytest.raises(SelectorError) as caught:
        parse_fields(text)
    assert str(caught.value) == message
