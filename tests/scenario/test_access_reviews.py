"""Questions about rights and identity as kubectl and others ask them, and what nobody can grant."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.conformance_kit import Rest

from kutter.testing.cluster import LocalCluster

RIGHTS = "/apis/authorization.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(controllers=False, scheduler=False) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    made = Rest(cluster.kubernetes_client())
    made.post("/api/v1/namespaces", {"metadata": {"name": "blue"}})
    made.post(
        f"{RBAC}/namespaces/blue/roles",
        {
            "metadata": {"name": "reader"},
            "rules": [
                {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
                {
                    "apiGroups": [""],
                    "resources": ["configmaps"],
                    "resourceNames": ["one"],
                    "verbs": ["update"],
                },
            ],
        },
    )
    bind(made, "readers", "Role", "reader", "User", "jane", namespace="blue")
    return made


def bind(rest, name, kind, role, subject, subject_name, *, namespace=""):
    tree = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
        "subjects": [{"kind": subject, "name": subject_name, "apiGroup": GROUP}],
    }
    plural = f"namespaces/{namespace}/rolebindings" if namespace else "clusterrolebindings"
    return rest.post(f"{RBAC}/{plural}", tree)


def kubectl(cluster, *words):
    assert shutil.which("kubectl"), "kubectl is part of the test environment"
    return subprocess.run(
        ["kubectl", f"--kubeconfig={cluster.kubeconfig_path}", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def access(rest, user, groups=(), **asked):
    review = {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"user": user, "groups": list(groups), **asked},
    }
    return rest.post(f"{RIGHTS}/subjectaccessreviews", review)["status"]


def asks(verb, resource, **more):
    return {"resourceAttributes": {"verb": verb, "resource": resource, **more}}


# -- why -----------------------------------------------------------------------------------


def test_the_reason_names_the_binding(rest):
    bind(rest, "viewers", "ClusterRole", "view", "Group", "watchers")
    bind(rest, "editors", "ClusterRole", "edit", "User", "ed", namespace="blue")
    assert access(rest, "jane", **asks("list", "pods", namespace="blue")) == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "readers/blue" of Role "reader" to User "jane"',
    }
    assert access(rest, "x", ["watchers"], **asks("list", "pods"))["reason"] == (
        'RBAC: allowed by ClusterRoleBinding "viewers" of ClusterRole "view" to Group "watchers"'
    )
    assert access(rest, "ed", **asks("create", "pods", namespace="blue"))["reason"] == (
        'RBAC: allowed by RoleBinding "editors/blue" of ClusterRole "edit" to User "ed"'
    )
    assert access(rest, "root", ["system:masters"], **asks("*", "*")) == {"allowed": True}
    assert access(rest, "jane", **asks("list", "secrets", namespace="blue")) == {"allowed": False}


def test_a_role_that_is_missing_is_told(rest):
    bind(rest, "dangling", "ClusterRole", "no-such-role", "User", "dan")
    assert access(rest, "dan", **asks("list", "pods")) == {
        "allowed": False,
        "reason": 'RBAC: clusterrole.rbac.authorization.k8s.io "no-such-role" not found',
    }


def test_paths_and_names(rest):
    path = {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
    assert not access(rest, "jane", **path)["allowed"]
    bind(rest, "monitors", "ClusterRole", "system:monitoring", "User", "mona")
    assert access(rest, "mona", **path)["allowed"]
    one = asks("update", "configmaps", namespace="blue", name="one")
    other = asks("update", "configmaps", namespace="blue", name="two")
    assert access(rest, "jane", **one)["allowed"]
    assert not access(rest, "jane", **other)["allowed"]
    assert access(rest, "jane", **asks("get", "pods", subresource="log", namespace="blue"))[
        "allowed"
    ]


# -- selectors -----------------------------------------------------------------------------


def test_questions_may_carry_selectors(rest):
    for selector in (
        {"rawSelector": "spec.nodeName=n1"},
        {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]},
    ):
        node = {"groups": ["system:nodes"], **asks("list", "pods", fieldSelector=selector)}
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {"user": "system:node:n1", **node},
        }
        assert rest.post(f"{RIGHTS}/subjectaccessreviews", review)["status"]["allowed"]
        review["spec"]["user"] = "system:node:n2"
        assert not rest.post(f"{RIGHTS}/subjectaccessreviews", review)["status"]["allowed"]


@pytest.mark.parametrize(
    ("field", "selector", "said"),
    [
        ("fieldSelector", {}, "requirements or rawSelector is required"),
        (
            "labelSelector",
            {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]},
            "may not specified at the same time as requirements",
        ),
        ("labelSelector", {"requirements": [{"operator": "Exists"}]}, "key: Invalid value"),
        (
            "labelSelector",
            {"requirements": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            "may not be specified when `operator` is 'Exists'",
        ),
        (
            "fieldSelector",
            {"requirements": [{"key": "a", "operator": "In"}]},
            "must be specified when `operator` is 'In'",
        ),
        ("fieldSelector", {"requirements": [{"operator": "Exists"}]}, "key: Required value"),
    ],
)
def test_selectors_that_are_none_are_refused(rest, field, selector, said):
    review = {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"user": "x", **asks("list", "pods", **{field: selector})},
    }
    status = rest.fails(422, "Invalid", "POST", f"{RIGHTS}/subjectaccessreviews", review)
    assert said in status["message"]


# -- kubectl -------------------------------------------------------------------------------


def test_kubectl_auth_can_i(cluster, rest):
    yes = kubectl(cluster, "auth", "can-i", "list", "pods", "-n", "blue", "--as=jane")
    assert (yes.returncode, yes.stdout.strip()) == (0, "yes")
    no = kubectl(cluster, "auth", "can-i", "list", "secrets", "-n", "blue", "--as=jane")
    assert (no.returncode, no.stdout.split()[0]) == (1, "no")
    logs = kubectl(
        cluster, "auth", "can-i", "get", "pods", "--subresource=log", "-n=blue", "--as=jane"
    )
    assert logs.stdout.strip() == "yes"
    path = kubectl(cluster, "auth", "can-i", "get", "/livez", "--as=jane")
    assert path.stdout.strip() == "yes"


def test_kubectl_lists_what_one_may(cluster, rest):
    listed = kubectl(cluster, "auth", "can-i", "--list", "-n", "blue", "--as=jane")
    assert listed.returncode == 0, listed.stderr
    lines = [line.split() for line in listed.stdout.splitlines()]
    rules = listed.stdout.splitlines()
    assert ["Resources", "Non-Resource", "URLs", "Resource", "Names", "Verbs"] in lines
    assert any(r.startswith("pods/log ") and r.endswith("[get list]") for r in rules)
    assert any(
        r.startswith("configmaps ") and "[one]" in r and r.endswith("[update]") for r in rules
    )
    assert any("selfsubjectreviews.authentication.k8s.io" in r for r in rules)
    assert any("[/livez]" in r and r.endswith("[get]") for r in rules)
    masters = kubectl(cluster, "auth", "can-i", "--list", "--as=root", "--as-group=system:masters")
    everything = [r for r in masters.stdout.splitlines() if r.startswith("*.*")]
    assert len(everything) == 1, masters.stdout


def test_kubectl_acts_as_others(cluster):
    words = ["--as=jane", "--as-group=dev", "--as-uid=7", "--as-user-extra=scopes=view"]
    found = kubectl(cluster, "auth", "whoami", *words)
    assert found.returncode == 0, found.stderr
    for text in ("jane", "7", "[dev system:authenticated]", "scopes", "[view]"):
        assert text in found.stdout


def test_impersonation_takes_the_right_to_each_part(rest):
    rest.post(
        f"{RBAC}/clusterroles",
        {
            "metadata": {"name": "limited-impersonator"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["users"],
                    "resourceNames": ["jane"],
                    "verbs": ["impersonate"],
                },
                {
                    "apiGroups": ["authentication.k8s.io"],
                    "resources": ["userextras/scopes"],
                    "resourceNames": ["view"],
                    "verbs": ["impersonate"],
                },
            ],
        },
    )
    bind(rest, "impersonators", "ClusterRole", "limited-impersonator", "User", "deputy")
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

    def act(status, **headers):
        sent = {"impersonate-user": "deputy"}
        found = rest.answer("POST", who, {}, headers=sent)
        assert found.status == 201
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {"user": "deputy", "resourceAttributes": headers},
        }
        found = rest.post(f"{RIGHTS}/subjectaccessreviews", review)["status"]
        assert found["allowed"] is status, headers

    act(True, verb="impersonate", resource="users", name="jane")
    act(False, verb="impersonate", resource="users", name="root")
    act(False, verb="impersonate", resource="groups", name="dev")
    extra = {"group": "authentication.k8s.io", "resource": "userextras", "subresource": "scopes"}
    act(True, verb="impersonate", name="view", **extra)
    act(False, verb="impersonate", name="all", **extra)
    act(False, verb="impersonate", group="authentication.k8s.io", resource="uids", name="7")


# -- what nobody can grant -----------------------------------------------------------------


def as_user(name):
    return {"impersonate-user": name}


@pytest.fixture(scope="module")
def granter(rest):
    """May write roles and bindings, and read pods, in blue; nothing else."""
    rest.post(
        f"{RBAC}/namespaces/blue/roles",
        {
            "metadata": {"name": "granter"},
            "rules": [
                {
                    "apiGroups": [GROUP],
                    "resources": ["roles", "rolebindings"],
                    "verbs": ["create", "update", "patch", "get"],
                },
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            ],
        },
    )
    bind(rest, "granters", "Role", "granter", "User", "grant", namespace="blue")
    return "grant"


def role(name, *verbs, resource="pods"):
    return {
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}],
    }


def test_nobody_grants_more_than_they_have(rest, granter):
    roles = f"{RBAC}/namespaces/blue/roles"
    rest.ok("POST", roles, role("mine", "get"), headers=as_user(granter))
    status = rest.fails(
        403, "Forbidden", "POST", roles, role("more", "get", "delete"), headers=as_user(granter)
    )
    assert status["message"] == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "grant"'
        ' (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently'
        ' held:\n{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'
    )
    tree = rest.get(f"{roles}/mine")
    tree["rules"][0]["verbs"].append("watch")
    rest.fails(403, "Forbidden", "PUT", f"{roles}/mine", tree, headers=as_user(granter))


def test_escalate_and_bind_are_rights_of_their_own(rest, granter):
    bindings = f"{RBAC}/namespaces/blue/rolebindings"

    def binding(name, kind, role_name):
        return {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role_name},
            "subjects": [{"kind": "User", "name": "friend", "apiGroup": GROUP}],
        }

    admin = binding("friend-admin", "ClusterRole", "admin")
    rest.fails(403, "Forbidden", "POST", bindings, admin, headers=as_user(granter))
    missing = binding("friend-x", "ClusterRole", "missing")
    rest.fails(404, "NotFound", "POST", bindings, missing, headers=as_user(granter))
    rest.post(
        f"{RBAC}/namespaces/blue/roles",
        {
            "metadata": {"name": "binder"},
            "rules": [
                {
                    "apiGroups": [GROUP],
                    "resources": ["clusterroles"],
                    "resourceNames": ["admin"],
                    "verbs": ["bind"],
                },
                {
                    "apiGroups": [GROUP],
                    "resources": ["roles"],
                    "resourceNames": ["more"],
                    "verbs": ["escalate"],
                },
            ],
        },
    )
    bind(rest, "binders", "Role", "binder", "User", granter, namespace="blue")
    rest.ok("POST", bindings, admin, headers=as_user(granter))
    edit = binding("friend-edit", "ClusterRole", "cluster-admin")
    rest.fails(403, "Forbidden", "POST", bindings, edit, headers=as_user(granter))
    roles = f"{RBAC}/namespaces/blue/roles"
    rest.ok("POST", roles, role("more", "delete"), headers=as_user(granter))
    rest.fails(403, "Forbidden", "POST", roles, role("other", "delete"), headers=as_user(granter))


# -- aggregation ---------------------------------------------------------------------------


def test_aggregated_roles_follow_their_parts(rest):
    rest.post(
        f"{RBAC}/clusterroles",
        {
            "metadata": {"name": "whole"},
            "aggregationRule": {
                "clusterRoleSelectors": [{"matchLabels": {"example.com/part": "true"}}]
            },
            "rules": [],
        },
    )
    bind(rest, "wholes", "ClusterRole", "whole", "User", "agnes")
    question = asks("list", "widgets", group="example.com")
    assert not access(rest, "agnes", **question)["allowed"]
    part = {
        "metadata": {"name": "part", "labels": {"example.com/part": "true"}},
        "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["list"]}],
    }
    rest.post(f"{RBAC}/clusterroles", part)
    assert access(rest, "agnes", **question)["allowed"]
    rest.patch(f"{RBAC}/clusterroles/part", {"metadata": {"labels": {"example.com/part": None}}})
    assert not access(rest, "agnes", **question)["allowed"]
    # A role of one's own reaches everybody who may view.
    view = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    rest.post(f"{RBAC}/clusterroles", {**part, "metadata": {"name": "widgets", "labels": view}})
    bind(rest, "viewing", "ClusterRole", "view", "User", "vera")
    assert access(rest, "vera", **question)["allowed"]
