"""What is wrong with a client configuration, in upstream's words."""

from __future__ import annotations

import base64

import pytest

from kutter.apiserver.webhooks.client_config import validate_client_config

SERVICE = {"namespace": "a", "name": "b", "port": 443}


def errors(tree: dict) -> list[str]:
    return [str(error) for error in validate_client_config(tree, "c")]


@pytest.mark.parametrize(
    "tree",
    [
        {"url": "https://example.com/x/y"},
        {"service": SERVICE},
        {"service": {**SERVICE, "path": "/"}},
        {"service": {**SERVICE, "path": "/a/b-c/"}},
    ],
)
def test_good_ones(tree: dict) -> None:
    assert errors(tree) == []


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "c: Required value: exactly one of url or service is required"),
        (
            {"url": "https://x", "service": SERVICE},
            "c: Required value: exactly one of url or service is required",
        ),
        ({"url": "http://x"}, "c.url: Invalid value: \"http\": 'https' is the only allowed URL"),
        ({"url": "https:///x"}, 'c.url: Invalid value: "": host must be specified'),
        ({"url": "https://u:p@x"}, 'c.url: Invalid value: "u:p": user information is not'),
        ({"url": "https://x#f"}, 'c.url: Invalid value: "f": fragments are not permitted'),
        ({"url": "https://x?q=1"}, 'c.url: Invalid value: "q=1": query parameters are not'),
        ({"url": "https://x:99999"}, "c.url: Required value: url must be a valid URL"),
        # Told crosswise, as upstream does.
        ({"service": {**SERVICE, "name": ""}}, "c.service.namespace: Required value"),
        ({"service": {**SERVICE, "namespace": ""}}, "c.service.name: Required value"),
        (
            {"service": {**SERVICE, "port": 0}},
            "c.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535",
        ),
        (
            {"service": {**SERVICE, "path": "a"}},
            "c.service.path: Invalid value: \"a\": must start with a '/'",
        ),
        ({"service": {**SERVICE, "path": "//"}}, "segment[0] may not be empty"),
        ({"service": {**SERVICE, "path": "/a//b"}}, "segment[1] may not be empty"),
        ({"service": {**SERVICE, "path": "/a/B"}}, "segment[1]: a lowercase RFC 1123 subdomain"),
        (
            {"url": "https://x", "caBundle": base64.b64encode(b"x").decode()},
            "c.caBundle: Invalid value",
        ),
    ],
)
def test_bad_ones(tree: dict, said: str) -> None:
    found = errors(tree)
    assert any(said in text for text in found), found
