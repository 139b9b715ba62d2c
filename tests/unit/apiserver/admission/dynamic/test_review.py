"""What a webhook may answer, in both versions of the review, and what its refusals become."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kutter.apiserver.admission.dynamic.review import (
    Answer,
    ReviewError,
    choose_version,
    denial,
    read_answer,
)

PATCH = base64.b64encode(b'[{"op":"remove","path":"/a"}]').decode()


def answer(version: str = "v1", **response: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "response": {"uid": "u", "allowed": True, **response},
    }


def read(found: Any, *, version: str = "v1", mutating: bool = True) -> Answer:
    return read_answer(found, version=version, uid="u", mutating=mutating)


def test_the_first_version_both_know_is_taken() -> None:
    assert choose_version(["v7", "v1beta1", "v1"]) == "v1beta1"
    with pytest.raises(ReviewError, match="does not accept known AdmissionReview versions"):
        choose_version(["v7"])


def test_a_good_answer() -> None:
    found = read(answer(patch=PATCH, patchType="JSONPatch", warnings=["w"]))
    assert found.allowed
    assert found.patch == [{"op": "remove", "path": "/a"}]
    assert found.warnings == ["w"]


def test_the_old_review_checks_neither_uid_nor_patch_type() -> None:
    found = read(answer("v1beta1", uid="other", patch=PATCH), version="v1beta1")
    assert found.patch


@pytest.mark.parametrize(
    ("found", "mutating", "said"),
    [
        (None, True, "webhook response was absent"),
        ({"response": None}, True, "webhook response was absent"),
        (answer(uid="x"), True, 'expected response.uid="u", got "x"'),
        (answer("v2"), True, "expected webhook response of admission.k8s.io/v1, Kind="),
        (answer(patch=PATCH), True, "response.patch but not response.patchType"),
        (answer(patchType="JSONPatch"), True, "response.patchType but not response.patch"),
        (answer(patchType="", patch=PATCH), True, 'invalid response.patchType of ""'),
        (answer(patchType="Merge", patch=PATCH), True, 'unsupported patch type "Merge"'),
        (answer(patchType="JSONPatch", patch="%%"), True, "undecodable patch"),
        (answer(patchType="JSONPatch", patch="e30="), True, "undecodable patch"),
        (answer(patch=PATCH), False, "validating webhook may not return response.patch"),
        (answer(patchType="JSONPatch"), False, "may not return response.patchType"),
        (answer(warnings="w"), False, "response.warnings is of the wrong type"),
    ],
)
def test_answers_that_break_the_rules(found: Any, mutating: bool, said: str) -> None:
    with pytest.raises(ReviewError) as error:
        read(found, mutating=mutating)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        (None, 400, "", 'admission webhook "w" denied the request without explanation'),
        (
            {"reason": "Because", "code": 200},
            400,
            "Because",
            'admission webhook "w" denied the request: Because',
        ),
        (
            {"message": "no", "reason": "Forbidden", "code": 403},
            403,
            "Forbidden",
            'admission webhook "w" denied the request: no',
        ),
    ],
)
def test_refusals(status: Any, code: int, reason: str, message: str) -> None:
    error = denial("w", status)
    assert (error.code, error.reason, error.message) == (code, reason, message)
