"""What an audit record keeps of annotations."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kutter.apiserver.audit.policy import METADATA, REQUEST
from kutter.apiserver.audit.record import Record
from kutter.apiserver.request_info import parse_request_info
from kutter.http.messages import Request


def record(level: int) -> Record:
    path = "/api/v1/namespaces/x/secrets"
    request = Request(method="POST", path=path)
    received = datetime(2026, 1, 1, tzinfo=UTC)
    info = parse_request_info("POST", path, {})
    return Record(request, info, None, audit_id="a", received=received, level=level)


def test_the_first_value_stays() -> None:
    made = record(METADATA)
    made.annotate("k", "first")
    made.annotate("k", "second")
    assert made.annotations == {"k": "first"}


@pytest.mark.parametrize(("level", "kept"), [(METADATA, False), (REQUEST, True)])
def test_patches_are_kept_where_objects_may_be_seen(level: int, kept: bool) -> None:
    made = record(level)
    key = "patch.webhook.admission.k8s.io/round_0_index_0"
    made.annotate(key, "the secret")
    assert (key in made.annotations) is kept
