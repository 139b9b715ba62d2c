"""``--runtime-config``: what it turns on, and what it refuses."""

from __future__ import annotations

import pytest

from kutter.api.catalog import BUILTIN, OPTIONAL, Catalog
from kutter.api.runtime_config import served_resources

SVM = "storagemigration.k8s.io/v1beta1"


def beyond(text: str) -> set[str]:
    return {r.api_version for r in served_resources(text)[len(BUILTIN) :]}


def test_nothing_is_on_by_default() -> None:
    assert served_resources("") == BUILTIN
    assert not {r.api_version for r in BUILTIN} & {r.api_version for r in OPTIONAL}


@pytest.mark.parametrize(
    ("text", "on"),
    [
        (f"{SVM}=true", True),
        (SVM, True),
        (f" {SVM}=true , apps/v1=true,", True),
        ("api/beta=true", True),
        ("api/all=true", True),
        (f"api/beta=true,{SVM}=false", False),
        (f"{SVM}=false,api/beta=true", False),
        (f"api/beta=false,{SVM}=true", True),
        ("api/ga=true,api/alpha=true", False),
    ],
)
def test_what_is_asked_for_is_served(text: str, on: bool) -> None:
    assert (SVM in beyond(text)) is on
    assert Catalog(served_resources(text)).is_own_group("storagemigration.k8s.io") is on


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("storagemigration.k8s.io/v1alpha1=true", "unknown 'storagemigration.k8s.io/v1alpha1'"),
        ("nothing", "unknown 'nothing'"),
        (f"{SVM}=yes", f"{SVM} is 'yes', expected true or false"),
        ("apps/v1=false", "apps/v1 is always served"),
        ("v1=false", "v1 is always served"),
        ("api/all=false", "api/all cannot be turned off"),
    ],
)
def test_what_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^--runtime-config: ") as caught:
        served_resources(text)
    assert why in str(caught.value)
