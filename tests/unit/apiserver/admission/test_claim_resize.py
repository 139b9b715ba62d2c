from __future__ import annotations

from typing import Any

from tests.unit.apiserver.admission.admission_kit import admit, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.claim_resize import PersistentVolumeClaimResize
from kutter.apiserver.ports import AdmissionRequest


def claim(size: str, phase: str = "Bound", storage_class: str = "grows") -> dict[str, Any]:
    return {
        "metadata": {"name": "c"},
        "spec": {
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
        },
        "status": {"phase": phase},
    }


def change(new: dict[str, Any], old: dict[str, Any]) -> AdmissionRequest:
    reader = FakeReader()
    for name, grows in (("grows", True), ("fixed", False)):
        tree = {"metadata": {"name": name}, "allowVolumeExpansion": grows}
        reader.put("storageclasses.storage.k8s.io", tree)
    return request("persistentvolumeclaims", new, reader, operation="UPDATE", old=old)


async def test_only_bound_claims_of_classes_that_can_grow_do() -> None:
    plugin = PersistentVolumeClaimResize()
    await admit(plugin, change(claim("2Gi"), claim("1Gi")))
    await admit(plugin, change(claim("1Gi", "Pending", "fixed"), claim("1Gi", "Pending", "fixed")))
    error = await refused(plugin, change(claim("2Gi"), claim("1Gi", "Pending")))
    assert "Only bound persistent volume claims can be expanded" in error.message
    for name in ("fixed", "unknown"):
        asked = change(claim("2Gi", storage_class=name), claim("1Gi", storage_class=name))
        assert "must support resize" in (await refused(plugin, asked)).message
