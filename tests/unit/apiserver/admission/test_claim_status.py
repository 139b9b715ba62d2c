"""Who may write a claim's status; texts and rights recorded from an upstream v1.36.2 server."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import ANN, admit, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.errors import ApiError
from kutter.apiserver.admission.claim_status import ClaimStatusAuthorization
from kutter.apiserver.authn.identity import User
from kutter.apiserver.ports import Attributes, Decision

Tree = dict[str, Any]

DEVICE = {"driver": "d.example.com", "pool": "p", "device": "d0"}
ON_NODE = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
ALLOCATION = {
    "devices": {"results": [{"request": "r", **DEVICE}]},
    "nodeSelector": {"nodeSelectorTerms": [ON_NODE]},
}
_NODE = {"authentication.kubernetes.io/node-name": ("n1",)}
DRIVER = User("system:serviceaccount:blue:driver", extra=_NODE)

Right = tuple[str, str, str, str]
BIND: Right = ("update", "binding", "", "")
ANYWHERE: Right = ("arbitrary-node:update", "driver", "blue", "d.example.com")
SAME_NODE: Right = ("associated-node:update", "driver", "blue", "d.example.com")


class May:
    """Rights to parts of claims: (verb, part, namespace, name)."""

    def __init__(self, *rights: Right) -> None:
        self._rights = rights

    async def authorize(self, a: Attributes) -> Decision:
        assert (a.group, a.resource, a.is_resource) == ("resource.k8s.io", "resourceclaims", True)
        return Decision((a.verb, a.subresource, a.namespace, a.name) in self._rights)


def change(new: Tree, old: Tree, user: User = ANN, verb: str = "Update") -> Any:
    what, old = "resourceclaims.resource.k8s.io/status", {"metadata": {"name": "c"}, "status": old}
    new = {"metadata": {"name": "c"}, "status": copy.deepcopy(new)}
    asked = request(what, new, FakeReader(), operation="UPDATE", old=old, user=user)
    asked.options["kind"] = f"{verb}Options"
    return asked


def causes(error: ApiError) -> list[tuple[str, str]]:
    assert (error.code, error.reason) == (422, "Invalid")
    return [(c["field"], c["message"]) for c in (error.details or {})["causes"]]


@pytest.mark.parametrize("changed", [{"allocation": ALLOCATION}, {"reservedFor": [{"uid": "1"}]}])
async def test_who_allocates_needs_the_right_to_bind(changed: Tree) -> None:
    await admit(ClaimStatusAuthorization(May(BIND)), change(changed, {}))
    error = await refused(ClaimStatusAuthorization(May()), change(changed, {}))
    inner = (
        'resourceclaims.resource.k8s.io is forbidden: User "ann" cannot update resource '
        '"resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope'
    )
    assert causes(error) == [
        (
            "status.allocation",
            (
                "Forbidden: changing status.allocation or status.reservedFor requires "
                f'resource="resourceclaims/binding", verb="update" permission: {inner}'
            ),
        )
    ]


async def test_a_patch_is_another_right() -> None:
    asked = change({"allocation": ALLOCATION}, {}, verb="Patch")
    await admit(ClaimStatusAuthorization(May(("patch", "binding", "", ""))), asked)
    await refused(ClaimStatusAuthorization(May(BIND)), asked)


async def test_what_stays_as_it_is_needs_no_right() -> None:
    status = {"allocation": ALLOCATION, "devices": [DEVICE]}
    await admit(ClaimStatusAuthorization(May()), change(status, status))


@pytest.mark.parametrize("before", [[], [DEVICE | {"data": {}}]])
async def test_who_speaks_of_devices_needs_the_right_for_their_driver(before: list[Tree]) -> None:
    new = {"allocation": ALLOCATION, "devices": [DEVICE]}
    old = {"allocation": ALLOCATION, "devices": before}
    await admit(ClaimStatusAuthorization(May(ANYWHERE)), change(new, old))
    error = await refused(ClaimStatusAuthorization(May(SAME_NODE, BIND)), change(new, old))
    inner = (
        'resourceclaims.resource.k8s.io "d.example.com" is forbidden: User "ann" cannot '
        'arbitrary-node:update resource "resourceclaims/driver" in API group "resource.k8s.io" in '
        'the namespace "blue"'
    )
    assert causes(error) == [
        (
            "status.devices",
            (
                'Forbidden: changing status.devices requires resource="resourceclaims/driver", '
                f'verb="[arbitrary-node:update]" permission: {inner}'
            ),
        )
    ]


async def test_taking_back_what_was_said_is_speaking_of_it() -> None:
    new, old = {"allocation": ALLOCATION}, {"allocation": ALLOCATION, "devices": [DEVICE]}
    await refused(ClaimStatusAuthorization(May(BIND)), change(new, old))
    # Who takes the devices away may do so whatever was said of them.
    await admit(ClaimStatusAuthorization(May(BIND)), change({}, old))


async def test_a_driver_on_the_node_may_speak_of_the_devices_there() -> None:
    new, old = {"allocation": ALLOCATION, "devices": [DEVICE]}, {"allocation": ALLOCATION}
    plugin = ClaimStatusAuthorization(May(SAME_NODE))
    await admit(plugin, change(new, old, DRIVER))
    elsewhere = User(DRIVER.name, extra=dict.fromkeys(_NODE, ("n2",)))
    for user in (elsewhere, User("ann", extra=_NODE), User(DRIVER.name)):
        await refused(plugin, change(new, old, user))
    error = await refused(ClaimStatusAuthorization(May()), change(new, old, DRIVER))
    assert 'verb="[associated-node:update arbitrary-node:update]"' in error.message


@pytest.mark.parametrize(
    "terms",
    [
        [],
        [ON_NODE, ON_NODE],
        [ON_NODE | {"matchExpressions": [{"key": "k", "operator": "Exists"}]}],
        [{"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}]}],
        [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1", "n2"]}]}],
    ],
)
async def test_devices_of_other_nodes_are_not_those_of_the_drivers_own(terms: list[Tree]) -> None:
    allocation = ALLOCATION | {"nodeSelector": {"nodeSelectorTerms": terms}}
    new, old = {"allocation": allocation, "devices": [DEVICE]}, {"allocation": allocation}
    await refused(ClaimStatusAuthorization(May(SAME_NODE)), change(new, old, DRIVER))
