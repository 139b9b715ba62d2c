"""What is written at the first start."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from kutter.apiserver.bootstrap import _cluster_info

_URLS = st.sampled_from(["https://192.0.2.1:6443", "https://[2001:db8::1]:6443", "https://a:1"])


@given(url=_URLS, pem=st.binary(min_size=1))
def test_cluster_info_is_the_yaml_a_library_would_write(url: str, pem: bytes) -> None:
    text = _cluster_info(url, b"-----BEGIN" + pem)
    assert text == yaml.safe_dump(yaml.safe_load(text), width=1 << 20)
    (entry,) = yaml.safe_load(text)["clusters"]
    assert entry["cluster"]["server"] == url
