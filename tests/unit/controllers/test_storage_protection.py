"""Who counts as a user of a claim or an attributes class."""

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import PersistentVolumeClaim, Pod
from kutter.controllers.storage_protection import claims_of, classes_of_claim


def pod(node="n"):
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "shared"}},
        {"name": "b", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        {"name": "c", "emptyDir": {}},
    ]
    return convert(Pod, {"metadata": {"name": "p"}, "spec": {"nodeName": node, "volumes": volumes}})


def test_a_scheduled_pod_uses_named_claims_and_those_made_for_it():
    assert claims_of(pod()) == ["shared", "p-b"]


def test_a_pod_without_a_node_holds_nothing():
    assert claims_of(pod(node="")) == []


def test_a_claim_names_the_class_it_wants_has_and_is_on_the_way_to():
    claim = convert(
        PersistentVolumeClaim,
        {
            "metadata": {"name": "c"},
            "spec": {"volumeAttributesClassName": "gold"},
            "status": {
                "currentVolumeAttributesClassName": "silver",
                "modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold"},
            },
        },
    )
    assert classes_of_claim(claim) == ["gold", "silver"]
