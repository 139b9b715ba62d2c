import pytest

from kutter.runtime.embedded.registry_auth import parse_challenge


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://a.test/t?x=1",service="s, t",scope="repository:a:pull,push"',
            (
                "bearer",
                {
                    "realm": "https://a.test/t?x=1",
                    "service": "s, t",
                    "scope": "repository:a:pull,push",
                },
            ),
        ),
        ('Basic realm="x"', ("basic", {"realm": "x"})),
        ('basic realm=x, bearer realm="y"', ("bearer", {"realm": "y"})),
        ("Digest realm=x", ("", {})),
        ("", ("", {})),
    ],
)
def test_reads_challenges(header, expected):
    assert parse_challenge(header) == expected
