from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.errors import ApiError
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.escalation import EscalationCheck
from kutter.apiserver.authz.policy import default_objects, parse_rules
from kutter.apiserver.authz.rbac import RbacAuthorizer, RbacIndex
from kutter.apiserver.authz.union import UnionAuthorizer

G = "rbac.authorization.k8s.io"
ANN = User("ann", groups=("devs",))
ROOT = User("root", groups=("system:masters",))


def bind(name: str, role: str, user: str, namespace: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": G},
        "subjects": [{"kind": "User", "name": user, "apiGroup": G}],
    }


def role(name: str, text: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "rules": parse_rules(text), **more}


@pytest.fixture
def check() -> EscalationCheck:
    index = RbacIndex()
    for tree in default_objects():
        (index.set_binding if "roleRef" in tree else index.set_role)(tree)
    index.set_role(role("hand-out", f"bind {G} clusterroles view\nescalate {G} roles special"))
    index.set_role(role("read-pods", "read core pods"))
    index.set_role(role("web", "get url /metrics,/debug/*"))
    index.set_binding(bind("a", "read-pods", "ann"))
    index.set_binding(bind("b", "hand-out", "ann"))
    index.set_binding(bind("c", "web", "ann"))
    index.set_binding(bind("d", "cluster-admin", "boss"))
    index.set_binding(bind("e", "admin", "ann", "own"))
    return EscalationCheck(index, UnionAuthorizer([RbacAuthorizer(index)]))


async def write(
    check: EscalationCheck,
    tree: dict[str, Any],
    *,
    user: User = ANN,
    old: dict[str, Any] | None = None,
) -> None:
    namespace = tree["metadata"].get("namespace", "")
    kind = "bindings" if "roleRef" in tree else "s"
    prefix = "role" if namespace else "clusterrole"
    asked = request(
        f"{prefix}{kind}.{G}", tree, FakeReader(), user=user, namespace=namespace, old=old
    )
    await (check.check_binding if "roleRef" in tree else check.check_role)(asked)


async def refused(check: EscalationCheck, tree: dict[str, Any], **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await write(check, tree, **more)
    return caught.value


async def test_what_one_has_one_may_give(check: EscalationCheck) -> None:
    await write(check, role("r", "get core pods", "blue"))
    await write(check, role("r", "read core pods\nget url /metrics,/debug/pprof"))
    await write(check, role("r", "get core pods p1", "blue"))


async def test_more_is_refused_with_what_is_missing(check: EscalationCheck) -> None:
    error = await refused(check, role("r", "get,delete core pods\nget,list apps deployments"))
    assert error.code == 403
    assert error.message == (
        'clusterroles.rbac.authorization.k8s.io "r" is forbidden: user "ann" (groups=["devs"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
        '{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}'
    )
    error = await refused(check, role("r", "get url /logs\nget core secrets s"))
    assert '{NonResourceURLs:["/logs"], Verbs:["get"]}' in error.message
    assert (
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["s"], Verbs:["get"]}'
        in error.message
    )
    await refused(check, role("r", "* * *"))
    await refused(check, role("r", "get * pods"))


async def test_rights_in_one_namespace_count_there(check: EscalationCheck) -> None:
    await write(check, role("r", "write core secrets", "own"))
    await refused(check, role("r", "write core secrets", "blue"))
    await refused(check, role("r", "write core secrets"))


async def test_masters_admins_and_those_who_may_escalate(check: EscalationCheck) -> None:
    everything = role("r", "* * *\n* url *")
    await write(check, everything, user=ROOT)
    await write(check, everything, user=User("boss"))
    await write(check, role("special", "* * *", "blue"))
    await refused(check, role("other", "* * *", "blue"))


async def test_garbage_collection_needs_no_rights_of_the_role(check: EscalationCheck) -> None:
    old = role("r", "* * *")
    collected = {"name": "r", "finalizers": ["a/b"], "ownerReferences": [{"name": "x"}]}
    await write(check, {**old, "metadata": collected}, old=old)
    await refused(check, role("r", "* * *\nget url /x"), old=old)


async def test_a_label_may_not_smuggle_a_role_into_an_aggregate(check: EscalationCheck) -> None:
    old = role("r", "* * *")
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    await refused(check, {**old, "metadata": {"name": "r", "labels": labels}}, old=old)
    held = role("r", "get core pods")
    await write(check, {**held, "metadata": {"name": "r", "labels": labels}}, old=held)


async def test_aggregation_needs_everything(check: EscalationCheck) -> None:
    rule = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    error = await refused(check, role("r", "", aggregationRule=rule))
    assert error.message.endswith("must have cluster-admin privileges to use the aggregationRule")
    await write(check, role("r", "", aggregationRule=rule), user=User("boss"))


async def test_bindings(check: EscalationCheck) -> None:
    await write(check, bind("x", "read-pods", "bob", "blue"))
    await write(check, bind("x", "view", "bob", "blue"))  # may bind it
    error = await refused(check, bind("x", "edit", "bob", "blue"))
    assert "is attempting to grant RBAC permissions not currently held" in error.message
    await write(check, bind("x", "edit", "bob", "own"))
    await refused(check, bind("x", "cluster-admin", "ann"))
    error = await refused(check, bind("x", "none", "bob"))
    assert (error.code, error.message) == (
        404,
        'clusterrole.rbac.authorization.k8s.io "none" not found',
    )
    old = bind("x", "cluster-admin", "ann")
    await write(check, {**old, "metadata": {"name": "x", "finalizers": ["a/b"]}}, old=old)
