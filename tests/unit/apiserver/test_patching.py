"""What a patch leaves behind is checked like a body, and refused as upstream refuses patches."""

from __future__ import annotations

import orjson
import pytest

from kutter.api.errors import ApiError
from kutter.api.schema import schema_for
from kutter.apiserver.patching import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    apply_patch,
    check_patched,
    render_go,
)

SCHEMA = schema_for("", "v1", "ConfigMap")


def patch(media: str, body: bytes, validation: str = "Strict") -> list[str]:
    assert SCHEMA is not None
    tree = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}
    change, warnings = orjson.loads(body), []
    patched = apply_patch(SCHEMA, media, tree, change)
    check_patched(
        SCHEMA, media, patched, change=change, body=body, validation=validation, warnings=warnings
    )
    return warnings


def test_a_wrong_type_is_invalid_and_shows_the_patched_object() -> None:
    with pytest.raises(ApiError) as caught:
        patch(MERGE_PATCH, b'{"data":{"a":1}}', "Ignore")
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    shown = r"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"},\"data\":{\"a\":1}}"
    assert f' "" is invalid: patch: Invalid value: "{shown}": json: ' in caught.value.message


def test_a_strategic_patch_is_shown_itself() -> None:
    with pytest.raises(ApiError) as caught:
        patch(STRATEGIC_PATCH, b'{"x":1,"data":{"b":"c"}}')
    assert caught.value.message == (
        ' "" is invalid: patch: Invalid value: "map[data:map[b:c] x:1]": '
        'strict decoding error: unknown field "x"'
    )


@pytest.mark.parametrize(
    ("media", "body", "found"),
    [
        (MERGE_PATCH, b'{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        (STRATEGIC_PATCH, b'{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        (
            JSON_PATCH,
            b'[{"op":"add","path":"/immutable","value":false,"value":true}]',
            'json patch duplicate field "[0].value"',
        ),
    ],
)
def test_fields_given_twice_are_seen(media: str, body: bytes, found: str) -> None:
    with pytest.raises(ApiError, match=r"strict decoding error: ") as caught:
        patch(media, body)
    assert found in caught.value.message
    assert patch(media, body, "Warn") == [found]
    assert patch(media, body, "Ignore") == []


def test_go_prints_maps_sorted() -> None:
    assert render_go({"b": [1, True, None], "a": {"c": "d"}}) == "map[a:map[c:d] b:[1 true <nil>]]"
