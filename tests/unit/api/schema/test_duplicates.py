import json

import pytest

from kutter.api.schema.duplicates import count_keys, find_duplicates


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"{}", []),
        (b'{"a":1,"b":{"a":2}}', []),
        (b'{"a":1,"a":2}', ["a"]),
        (b'{"a" : 1, "a" : 2}', ["a"]),
        (b'{"a":{"b":1,"b":2,"b":3},"c":[{"d":1,"d":2}]}', ["a.b", "c[0].d"]),
        (b'{"a":"text \\":1","b":2}', []),
        (b'{"a"\n:1,"a"\n:2}', ["a"]),
        (b'{"a"\t:1,"a":2,"b":"\\":"}', ["a"]),
    ],
)
def test_find_duplicates(text, found):
    assert find_duplicates(text, count_keys(json.loads(text))) == found
