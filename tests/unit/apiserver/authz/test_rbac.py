from __future__ import annotations

import time
from typing import Any

import pytest

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.messages import describe_refusal, refusal
from kutter.apiserver.authz.policy import default_objects, parse_rules
from kutter.apiserver.authz.rbac import RbacAuthorizer, RbacIndex
from kutter.apiserver.authz.union import UnionAuthorizer
from kutter.apiserver.ports import Attributes

G = "rbac.authorization.k8s.io"


def index_of(objects: list[dict[str, Any]]) -> RbacIndex:
    index = RbacIndex()
    for tree in objects:
        if tree["kind"].endswith("Binding"):
            index.set_binding(tree)
        else:
            index.set_role(tree)
    return index


def role(name: str, text: str, namespace: str = "", **metadata: Any) -> dict[str, Any]:
    meta = {"name": name, **({"namespace": namespace} if namespace else {}), **metadata}
    return {
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": meta,
        "rules": parse_rules(text),
    }


def binding(name: str, ref: str, *subjects: dict[str, str], namespace: str = "") -> dict[str, Any]:
    kind, _, ref_name = ref.partition(":")
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": G, "kind": kind, "name": ref_name},
        "subjects": list(subjects),
    }


def user(name: str) -> dict[str, str]:
    return {"kind": "User", "name": name, "apiGroup": G}


def group(name: str) -> dict[str, str]:
    return {"kind": "Group", "name": name, "apiGroup": G}


ANN = User("ann", groups=("devs", "system:authenticated"))
BOT = User("system:serviceaccount:ci:bot", groups=("system:serviceaccounts",))


def ask(who: User, verb: str, resource: str = "", **more: Any) -> Attributes:
    if resource.startswith("/"):
        return Attributes(who, verb, path=resource)
    plural, _, sub = resource.partition("/")
    return Attributes(who, verb, resource=plural, subresource=sub, is_resource=True, **more)


POLICY = [
    role("reader", "read core pods,pods/log"),
    role("scaler", "get,update * */scale\npatch apps deployments web"),
    role("metrics", "get url /metrics,/debug/*"),
    role("local", "* core secrets", namespace="blue"),
    binding("devs-read", "ClusterRole:reader", group("devs"), namespace="green"),
    binding("ann-scale", "ClusterRole:scaler", user("ann")),
    binding("ann-metrics", "ClusterRole:metrics", user("ann")),
    binding(
        "bot", "Role:local", {"kind": "ServiceAccount", "name": "bot", "namespace": "ci"},
        namespace="blue",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        (ask(ANN, "list", "pods", namespace="green"), True),
        (ask(ANN, "get", "pods/log", namespace="green", name="x"), True),
        (ask(ANN, "get", "pods/exec", namespace="green", name="x"), False),
        (ask(ANN, "list", "pods", namespace="blue"), False),
        (ask(ANN, "list", "pods"), False),
        (ask(ANN, "list", "pods", group="apps", namespace="green"), False),
        (ask(ANN, "delete", "pods", namespace="green"), False),
        (ask(ANN, "get", "deployments/scale", group="apps", namespace="any"), True),
        (ask(ANN, "get", "deployments/status", group="apps", namespace="any"), False),
        (ask(ANN, "get", "scale", group="apps", namespace="any"), False),
        (ask(ANN, "patch", "deployments", group="apps", namespace="x", name="web"), True),
        (ask(ANN, "patch", "deployments", group="apps", namespace="x", name="db"), False),
        (ask(ANN, "patch", "deployments", group="apps", namespace="x"), False),
        (ask(ANN, "get", "/metrics"), True),
        (ask(ANN, "get", "/metrics/slis"), False),
        (ask(ANN, "get", "/debug/pprof"), True),
        (ask(ANN, "post", "/metrics"), False),
        (ask(BOT, "delete", "secrets", namespace="blue", name="s"), True),
        (ask(BOT, "delete", "secrets", namespace="green", name="s"), False),
        (ask(User("bot"), "delete", "secrets", namespace="blue"), False),
    ],
)
def test_decisions(attributes: Attributes, allowed: bool) -> None:
    authorizer = RbacAuthorizer(index_of(POLICY))
    for _ in range(2):  # the second answer comes from the cache
        assert authorizer.decide(attributes).allowed is allowed


def test_a_change_counts_at_once() -> None:
    index = index_of(POLICY)
    authorizer = RbacAuthorizer(index)
    wanted = ask(ANN, "list", "pods", namespace="green")
    assert authorizer.decide(wanted).allowed
    index.remove_binding("green", "devs-read")
    assert not authorizer.decide(wanted).allowed
    index.set_binding(binding("devs-read", "ClusterRole:reader", user("ann"), namespace="green"))
    assert authorizer.decide(wanted).allowed
    index.set_role(role("reader", "read core services"))
    assert not authorizer.decide(wanted).allowed
    index.remove_role("", "reader")
    decision = authorizer.decide(wanted)
    assert decision.reason == ('RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found')


def test_aggregation_is_resolved_through_levels_and_cycles() -> None:
    def aggregated(name: str, label: str, **labels: str) -> dict[str, Any]:
        tree = role(name, "", labels=labels)
        tree["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {label: "1"}}]}
        return tree

    index = index_of(
        [
            aggregated("big", "to-big", **{"to-small": "1"}),
            aggregated("small", "to-small", **{"to-big": "1"}),
            role("grain", "get core pods", labels={"to-small": "1"}),
            binding("b", "ClusterRole:big", user("ann")),
        ]
    )
    assert RbacAuthorizer(index).decide(ask(ANN, "get", "pods", namespace="x")).allowed
    index.remove_role("", "grain")
    assert not RbacAuthorizer(index).decide(ask(ANN, "get", "pods", namespace="x")).allowed


DEFAULTS = default_objects()
SCHEDULER = User("system:kube-scheduler")
ADMIN = User("kubernetes-admin", groups=("kutter:cluster-admins", "system:authenticated"))
GC = User("system:serviceaccount:kube-system:generic-garbage-collector")
ANYBODY = User("x", groups=("system:authenticated",))
NOBODY = User("system:anonymous", groups=("system:unauthenticated",))


@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        (ask(ADMIN, "delete", "nodes", name="n"), True),
        (ask(ADMIN, "get", "/metrics"), True),
        (ask(SCHEDULER, "create", "pods/binding", namespace="x", name="p"), True),
        (ask(SCHEDULER, "create", "pods", namespace="x"), False),
        (ask(GC, "delete", "widgets", group="example.com", namespace="x", name="p"), True),
        (ask(ANYBODY, "create", "selfsubjectaccessreviews", group="authorization.k8s.io"), True),
        (ask(ANYBODY, "get", "/apis/apps/v1"), True),
        (ask(ANYBODY, "get", "/metrics"), False),
        (ask(NOBODY, "get", "/healthz"), True),
        (ask(NOBODY, "get", "/readyz"), True),
        (ask(NOBODY, "get", "/apis"), False),
    ],
)
async def test_default_policy(attributes: Attributes, allowed: bool) -> None:
    union = UnionAuthorizer([RbacAuthorizer(index_of(DEFAULTS))])
    assert (await union.authorize(attributes)).allowed is allowed


async def test_edit_cannot_touch_roles_and_admin_can() -> None:
    index = index_of(
        [
            *DEFAULTS,
            binding("e", "ClusterRole:edit", user("ed"), namespace="x"),
            binding("a", "ClusterRole:admin", user("al"), namespace="x"),
            binding("v", "ClusterRole:view", user("vi"), namespace="x"),
        ]
    )
    rbac = RbacAuthorizer(index)
    ed, al, vi = User("ed"), User("al"), User("vi")
    assert rbac.decide(ask(ed, "create", "deployments", group="apps", namespace="x")).allowed
    assert rbac.decide(ask(ed, "get", "secrets", namespace="x", name="s")).allowed
    assert not rbac.decide(ask(ed, "create", "roles", group=G, namespace="x")).allowed
    assert rbac.decide(ask(al, "create", "roles", group=G, namespace="x")).allowed
    assert rbac.decide(ask(al, "get", "pods/log", namespace="x", name="p")).allowed
    assert rbac.decide(ask(vi, "get", "pods/log", namespace="x", name="p")).allowed
    assert not rbac.decide(ask(vi, "get", "secrets", namespace="x", name="s")).allowed
    assert not rbac.decide(ask(al, "get", "pods", namespace="y", name="p")).allowed


async def test_masters_need_no_policy() -> None:
    root = User("root", groups=("system:masters",))
    assert (await UnionAuthorizer([]).authorize(ask(root, "delete", "nodes", name="n"))).allowed
    assert not (await UnionAuthorizer([]).authorize(ask(ANN, "get", "nodes", name="n"))).allowed


def test_messages() -> None:
    assert describe_refusal(ask(User("x"), "list", "pods", namespace="y")) == (
        'User "x" cannot list resource "pods" in API group "" in the namespace "y"'
    )
    assert describe_refusal(ask(User("x"), "get", "nodes/proxy", name="n")) == (
        'User "x" cannot get resource "nodes/proxy" in API group "" at the cluster scope'
    )
    error = refusal(ask(User("x"), "get", "/metrics"))
    assert (error.code, error.message) == (403, 'forbidden: User "x" cannot get path "/metrics"')
    error = refusal(
        ask(User("x"), "get", "deployments", group="apps", namespace="y", name="web"), "because"
    )
    assert error.message == (
        'deployments.apps "web" is forbidden: User "x" cannot get resource "deployments" '
        'in API group "apps" in the namespace "y": because'
    )
    assert error.details == {"name": "web", "group": "apps", "kind": "deployments"}


def test_a_decision_is_cheap() -> None:
    """Aim: below 20 µs each. The bound leaves room for a busy machine."""
    rbac = RbacAuthorizer(index_of(DEFAULTS))
    asked = [ask(ADMIN, "get", "pods", namespace=f"ns{n % 50}", name=f"p{n}") for n in range(2000)]
    for attributes in asked[:50]:
        rbac.decide(attributes)
    start = time.perf_counter()
    for attributes in asked:
        rbac.decide(attributes)
    assert (time.perf_counter() - start) / len(asked) < 200e-6


def test_names_no_rule_has_share_a_decision() -> None:
    """A scheduler may update its own lease by name, and binds pods of a thousand names."""
    lease = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    rules = [
        {**lease, "resourceNames": ["mine", "other"]},
        {"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": [""]},
    ]
    own = {"kind": "ClusterRole", "metadata": {"name": "own"}, "rules": rules}
    index = index_of([own, binding("own", "ClusterRole:own", user("ann"))])
    rbac = RbacAuthorizer(index)

    def allowed(resource: str, name: str, verb: str = "get") -> bool:
        return rbac.decide(ask(ANN, verb, resource, namespace="x", name=name)).allowed

    assert all(allowed("pods/binding", f"p{number}", "create") for number in range(50))
    assert not any(allowed("configmaps", f"p{number}") for number in range(50))
    assert allowed("configmaps", "mine")
    assert allowed("configmaps", "other")
    assert allowed("secrets", "")
    assert not allowed("secrets", "mine")
    (found,) = [r for key, r in index._rule_sets.items() if key[0] == "ann" and r._decisions]
    assert len(found._decisions) == 6
