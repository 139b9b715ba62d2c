"""Annotations that are older forms of a pod's fields."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.apiserver.validation.pod_annotations import (
    validate_agreement,
    validate_annotation_changes,
    validate_pod_annotations,
)

SECCOMP = "container.seccomp.security.alpha.kubernetes.io/c"
ARMOR = "container.apparmor.security.beta.kubernetes.io/c"
SPEC = {"containers": [{"name": "c"}]}


@pytest.mark.parametrize(
    ("annotations", "found"),
    [
        ({"a": "b", SECCOMP: "docker/default", ARMOR: "localhost/x"}, []),
        ({SECCOMP: "localhost//x"}, [f"a.{SECCOMP}: must be a relative path"]),
        ({SECCOMP: "x"}, [f"a.{SECCOMP}: must be a valid seccomp profile"]),
        ({ARMOR: "x"}, [f'a[{ARMOR}]: invalid AppArmor profile name: "x"']),
        ({ARMOR[:-1] + "z": ""}, [f"a[{ARMOR[:-1]}z]: container not found"]),
        ({"controller.kubernetes.io/pod-deletion-cost": "-5"}, []),
        (
            {"controller.kubernetes.io/pod-deletion-cost": "01"},
            ["a[controller.kubernetes.io/pod-deletion-cost]: must be a 32bit integer"],
        ),
        (
            {"scheduler.alpha.kubernetes.io/tolerations": "[1]"},
            ["a: json: cannot unmarshal array into Go value of type []core.Toleration"],
        ),
    ],
)
def test_what_they_may_say(annotations: dict[str, str], found: list[str]) -> None:
    errors: list[Any] = []
    validate_pod_annotations(errors, annotations, SPEC, "a")
    assert [f"{e.path}: {e.message.partition(': ')[2].partition(': ')[2]}" for e in errors] == found


@pytest.mark.parametrize(
    ("profile", "annotation", "field"),
    [
        ({"type": "Unconfined"}, "unconfined", None),
        ({"type": "RuntimeDefault"}, "docker/default", None),
        ({"type": "RuntimeDefault"}, "unconfined", "type"),
        ({"type": "Localhost", "localhostProfile": "a"}, "localhost/a", None),
        ({"type": "Localhost", "localhostProfile": "a"}, "localhost/b", "localhostProfile"),
    ],
)
def test_fields_and_annotations_agree(
    profile: dict[str, str], annotation: str, field: str | None
) -> None:
    spec = {"containers": [{"name": "c", "securityContext": {"seccompProfile": profile}}]}
    errors: list[Any] = []
    validate_agreement(errors, {SECCOMP: annotation}, spec, "spec")
    path = "spec.containers[0].securityContext.seccompProfile"
    assert [e.path for e in errors] == ([f"{path}.{field}"] if field else [])


def test_profiles_and_mirrors_stay() -> None:
    errors: list[Any] = []
    mirror = "kubernetes.io/config.mirror"
    validate_annotation_changes(errors, {mirror: "y", "x": "y"}, {ARMOR: "unconfined"}, "a")
    assert [e.message for e in errors] == [
        "Forbidden: may not remove or update AppArmor annotations",
        "Forbidden: may not add mirror pod annotation",
    ]
