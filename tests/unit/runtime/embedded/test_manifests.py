import json

import pytest

from kutter.runtime.cri import ImagePullError
from kutter.runtime.embedded.manifests import (
    Descriptor,
    choose_platform,
    parse_config,
    parse_index,
    parse_manifest,
)

_DIGEST = "sha256:" + "0" * 64


def _entry(architecture, variant="", digest=_DIGEST, os="linux"):
    return Descriptor(digest, 1, platform=(os, architecture, variant))


def test_chooses_this_machines_plainest_image():
    entries = [
        _entry("amd64", os="windows"),
        _entry("unknown", os="unknown"),
        _entry("amd64", "v3"),
        _entry("amd64"),
        _entry("arm64", "v8"),
    ]
    assert choose_platform(entries, "x86_64") is entries[3]
    assert choose_platform(entries, "aarch64") is entries[4]
    assert choose_platform(entries, "riscv64") is None
    plain = Descriptor(_DIGEST, 1)
    assert choose_platform([plain], "riscv64") is plain


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"schemaVersion": 1, "layers": [], "config": {"digest": _DIGEST}},
        {"schemaVersion": 2, "layers": []},
        {"schemaVersion": 2, "layers": [{}], "config": {"digest": _DIGEST}},
        {
            "schemaVersion": 2,
            "layers": [{"digest": "sha256:../../x"}],
            "config": {"digest": _DIGEST},
        },
        {"schemaVersion": 2, "layers": [{"digest": _DIGEST}] * 501, "config": {"digest": _DIGEST}},
    ],
)
def test_refuses_what_is_no_manifest(value):
    with pytest.raises(ImagePullError):
        parse_manifest(json.dumps(value).encode())


def test_configs_of_scratch_images_and_nonsense():
    assert parse_config(b"{}").diff_ids == ()
    for text in (b"[]", b"nonsense", b'{"rootfs": {"diff_ids": ["x"]}}'):
        with pytest.raises(ImagePullError):
            parse_config(text)


def test_an_index_is_told_from_a_manifest():
    assert parse_index(b'{"schemaVersion": 2, "layers": []}') is None
    assert parse_index(b'{"manifests": []}') == []
