"""The default policy: roles and bindings every cluster starts with, as data.

The grants are those users of Kubernetes rely on
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings);
Kutter adds what begins with ``kutter:``: bindings for its administrator's and its API server's
certificates, what its node agent does beside a kubelet's work, and what its controllers do in
another way than upstream's (:mod:`policy_additions`).

One line is one rule: ``VERBS GROUPS RESOURCES [NAMES]``, comma-separated lists, ``core`` for the
group without a name; or ``VERBS url PATHS``. ``read``, ``write`` and ``record`` stand for the
verbs of looking, of changing, and of writing events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kutter.apiserver.authz.policy_additions import CONTROLLER_ADDITIONS
from kutter.apiserver.authz.policy_controllers import (
    CONTROLLER_ROLES,
    OPTIONAL_ROLES,
    OPTIONAL_SUBJECTS,
)

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_AGGREGATE = f"{GROUP}/aggregate-to-"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}

_VERBS = {
    "read": ("get", "list", "watch"),
    "write": ("create", "delete", "deletecollection", "patch", "update"),
    "record": ("create", "patch", "update"),
}

Tree = dict[str, Any]

EVENTS = "record core,events.k8s.io events"
_HEALTH = "/healthz,/livez,/readyz,/version,/version/"

# Beside a kubelet, Kutter's agent is the service proxy and the cluster's name server.
_NODE_AGENT = f"""
list,watch core endpoints,namespaces,services
read core nodes
{EVENTS}
list,watch discovery.k8s.io endpointslices
list,watch networking.k8s.io networkpolicies
read networking.k8s.io servicecidrs
"""

_NODE = """
create authentication.k8s.io tokenreviews
create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews
read core services
create,read core nodes
patch,update core nodes/status
patch,update core nodes
record core,events.k8s.io events
read core pods
create,delete core pods
patch,update core pods/status
create core pods/eviction
read core configmaps,secrets
get core persistentvolumeclaims,persistentvolumes
get core endpoints
create,read certificates.k8s.io certificatesigningrequests
create,delete,get,patch,update coordination.k8s.io leases
get storage.k8s.io volumeattachments
create core serviceaccounts/token
get,patch,update core persistentvolumeclaims/status
read storage.k8s.io csidrivers
create,delete,get,patch,update storage.k8s.io csinodes
read node.k8s.io runtimeclasses
get resource.k8s.io resourceclaims
deletecollection resource.k8s.io resourceslices
get core serviceaccounts
"""

_EDIT = """
read core pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
impersonate core serviceaccounts
write core pods,pods/attach,pods/exec,pods/portforward,pods/proxy
create core pods/eviction
write core configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
create core serviceaccounts/token
write core,events.k8s.io events
write apps daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
write autoscaling horizontalpodautoscalers
write batch cronjobs,jobs
write extensions daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale
write policy poddisruptionbudgets
write networking.k8s.io ingresses,networkpolicies
read,write coordination.k8s.io leases
write resource.k8s.io resourceclaims,resourceclaimtemplates
"""  # noqa: E501

_VIEW = """
read core configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status
read core bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status
read core namespaces
read core,events.k8s.io events
read discovery.k8s.io endpointslices
read apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
read autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status
read batch cronjobs,cronjobs/status,jobs,jobs/status
read extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale
read policy poddisruptionbudgets,poddisruptionbudgets/status
read networking.k8s.io ingresses,ingresses/status,networkpolicies
read resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates
"""  # noqa: E501

_CONTROLLER_MANAGER = f"""
{EVENTS}
create coordination.k8s.io leases
get,update coordination.k8s.io leases kube-controller-manager
create core secrets,serviceaccounts
delete core secrets
get core configmaps,namespaces,secrets,serviceaccounts
update core secrets,serviceaccounts
create authentication.k8s.io tokenreviews
create authorization.k8s.io subjectaccessreviews
list,watch * *
create core serviceaccounts/token
"""

_SCHEDULER = f"""
{EVENTS}
create coordination.k8s.io leases
get,list,update,watch coordination.k8s.io leases kube-scheduler
read,write coordination.k8s.io leasecandidates
read core nodes
delete,read core pods
create core bindings,pods/binding
patch,update core pods/status
read core replicationcontrollers,services
read apps,extensions replicasets
read apps statefulsets
read policy poddisruptionbudgets
read core persistentvolumeclaims,persistentvolumes
create authentication.k8s.io tokenreviews
create authorization.k8s.io subjectaccessreviews
read storage.k8s.io csinodes
read core namespaces
read storage.k8s.io csidrivers
read storage.k8s.io csistoragecapacities
read storage.k8s.io volumeattachments
read resource.k8s.io deviceclasses
patch,read,update resource.k8s.io resourceclaims
patch,read,update resource.k8s.io resourceclaims/status
update core pods/finalizers
read resource.k8s.io resourceslices
create,delete resource.k8s.io resourceclaims
patch,update resource.k8s.io resourceclaims/binding
"""

_APPROVERS = {
    "kube-apiserver-client": "kubernetes.io/kube-apiserver-client",
    "kube-apiserver-client-kubelet": "kubernetes.io/kube-apiserver-client-kubelet",
    "kubelet-serving": "kubernetes.io/kubelet-serving",
    "legacy-unknown": "kubernetes.io/legacy-unknown",
}

# name → rules as text
_CLUSTER_ROLES: dict[str, str] = {
    "cluster-admin": "* * *\n* url *",
    "system:discovery": f"get url /api,/api/*,/apis,/apis/*,/openapi,/openapi/*,{_HEALTH}",
    "system:basic-user": """
create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews
create authentication.k8s.io selfsubjectreviews
""",
    "system:public-info-viewer": f"get url {_HEALTH}",
    "system:monitoring": """
get url /flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz
get core nodes/metrics
""",
    # With a slash at the end too, for clients made from older OpenAPI documents.
    "system:service-account-issuer-discovery": (
        "get url /.well-known/openid-configuration,/.well-known/openid-configuration/,"
        "/openid/v1/jwks,/openid/v1/jwks/"
    ),
    "system:aggregate-to-admin": f"""
create authorization.k8s.io localsubjectaccessreviews
read,write {GROUP} rolebindings,roles
""",
    "system:aggregate-to-edit": _EDIT,
    "system:aggregate-to-view": _VIEW,
    "system:heapster": "read core events,namespaces,nodes,pods\nread extensions deployments",
    "system:node": _NODE,
    "kutter:node-agent": _NODE_AGENT,
    "system:node-problem-detector": f"get core nodes\npatch core nodes/status\n{EVENTS}",
    "system:node-proxier": f"""
list,watch core endpoints,services
read core nodes
{EVENTS}
list,watch discovery.k8s.io endpointslices
list,watch networking.k8s.io servicecidrs
""",
    "system:kubelet-api-admin": """
read core nodes
proxy core nodes
* core nodes/log,nodes/metrics,nodes/proxy,nodes/stats
* core nodes/configz,nodes/healthz,nodes/pods
""",
    "system:node-bootstrapper": "create,read certificates.k8s.io certificatesigningrequests",
    "system:auth-delegator": """
create authentication.k8s.io tokenreviews
create authorization.k8s.io subjectaccessreviews
""",
    "system:kube-aggregator": "read core endpoints,services",
    "system:kube-controller-manager": _CONTROLLER_MANAGER,
    "system:kube-dns": "list,watch core endpoints,services",
    "system:kube-scheduler": _SCHEDULER,
    "system:persistent-volume-provisioner": f"""
create,delete,read core persistentvolumes
read,update core persistentvolumeclaims
read storage.k8s.io storageclasses
watch core events
{EVENTS}
""",
    "system:volume-scheduler": """
patch,read,update core persistentvolumes
read storage.k8s.io storageclasses
patch,read,update core persistentvolumeclaims
""",
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        "create certificates.k8s.io certificatesigningrequests/nodeclient"
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        "create certificates.k8s.io certificatesigningrequests/selfnodeclient"
    ),
    **{
        f"system:certificates.k8s.io:{name}-approver": (
            f"approve certificates.k8s.io signers {signer}"
        )
        for name, signer in _APPROVERS.items()
    },
}

# Aggregated role → the larger one it is part of.
_AGGREGATED = {"admin": "", "edit": "admin", "view": "edit"}

# ClusterRoleBinding (named as its role unless said) → subjects "Kind:name".
_CLUSTER_BINDINGS: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("Group:system:masters",),
    "system:monitoring": ("Group:system:monitoring",),
    "system:discovery": ("Group:system:authenticated",),
    "system:basic-user": ("Group:system:authenticated",),
    "system:public-info-viewer": ("Group:system:authenticated", "Group:system:unauthenticated"),
    "system:node-proxier": ("User:system:kube-proxy",),
    "kutter:node-agent": ("Group:system:nodes",),
    "system:kube-controller-manager": ("User:system:kube-controller-manager",),
    "system:kube-dns": ("ServiceAccount:kube-system/kube-dns",),
    "system:kube-scheduler": ("User:system:kube-scheduler",),
    "system:volume-scheduler": ("User:system:kube-scheduler",),
    # Nodes are judged by the node authorizer; the binding exists, without subjects, as upstream.
    "system:node": (),
    "system:service-account-issuer-discovery": ("Group:system:serviceaccounts",),
}

_LEADER_LOCK = """
create,get,list,update,watch coordination.k8s.io leases
create,get,list,update,watch coordination.k8s.io leasecandidates
"""

# (namespace, name) → rules
_ROLES: dict[tuple[str, str], str] = {
    ("kube-public", "system:controller:bootstrap-signer"): f"""
read core configmaps
update core configmaps cluster-info
{EVENTS}
""",
    ("kube-system", "extension-apiserver-authentication-reader"): (
        "read core configmaps extension-apiserver-authentication"
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): _LEADER_LOCK,
    ("kube-system", "system::leader-locking-kube-scheduler"): _LEADER_LOCK,
    ("kube-system", "system:controller:bootstrap-signer"): "read core secrets",
    ("kube-system", "system:controller:cloud-provider"): "create,read core configmaps",
    ("kube-system", "system:controller:token-cleaner"): f"delete,read core secrets\n{EVENTS}",
}

# (namespace, name) → (role, subjects)
_BINDINGS: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("kube-public", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        ("ServiceAccount:kube-system/bootstrap-signer",),
    ),
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        ("User:system:kube-controller-manager", "User:system:kube-scheduler"),
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager",
        (
            "User:system:kube-controller-manager",
            "ServiceAccount:kube-system/kube-controller-manager",
        ),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler",
        ("User:system:kube-scheduler", "ServiceAccount:kube-system/kube-scheduler"),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        ("ServiceAccount:kube-system/bootstrap-signer",),
    ),
    ("kube-system", "system:controller:cloud-provider"): (
        "system:controller:cloud-provider",
        ("ServiceAccount:kube-system/cloud-provider",),
    ),
    ("kube-system", "system:controller:token-cleaner"): (
        "system:controller:token-cleaner",
        ("ServiceAccount:kube-system/token-cleaner",),
    ),
}


def default_objects() -> list[Tree]:
    """Every default ClusterRole, ClusterRoleBinding, Role and RoleBinding, roles first."""
    return [
        *default_cluster_roles(),
        *default_cluster_role_bindings(),
        *(
            _object("Role", name, namespace, rules=parse_rules(text))
            for (namespace, name), text in _ROLES.items()
        ),
        *(
            _object("RoleBinding", name, namespace, **_bind("Role", role, subjects))
            for (namespace, name), (role, subjects) in _BINDINGS.items()
        ),
    ]


def optional_objects(api_versions: Iterable[str]) -> list[Tree]:
    """What the policy holds beyond that where optional group-versions are served."""
    objects = []
    for name, text in (
        role for version in api_versions for role in OPTIONAL_ROLES.get(version, {}).items()
    ):
        account = f"ServiceAccount:kube-system/{name.rpartition(':')[2]}"
        bound = _bind("ClusterRole", name, (OPTIONAL_SUBJECTS.get(name, account),))
        objects.append(_object("ClusterRole", name, rules=parse_rules(text)))
        objects.append(_object("ClusterRoleBinding", name, **bound))
    return objects


def default_cluster_roles() -> list[Tree]:
    """The default ClusterRoles, aggregated ones without rules of their own."""
    roles = []
    for name, larger in _AGGREGATED.items():
        role = _object(
            "ClusterRole",
            name,
            aggregationRule={
                "clusterRoleSelectors": [{"matchLabels": {f"{_AGGREGATE}{name}": "true"}}]
            },
            rules=[],
        )
        if larger:
            role["metadata"]["labels"][f"{_AGGREGATE}{larger}"] = "true"
        roles.append(role)
    for name, text in {**_CLUSTER_ROLES, **_controller_roles()}.items():
        role = _object("ClusterRole", name, rules=parse_rules(text))
        if name.startswith("system:aggregate-to-"):
            role["metadata"]["labels"][_AGGREGATE + name.rpartition("-")[2]] = "true"
        roles.append(role)
    return roles


def default_cluster_role_bindings() -> list[Tree]:
    bindings = [
        _object("ClusterRoleBinding", name, **_bind("ClusterRole", name, subjects))
        for name, subjects in _CLUSTER_BINDINGS.items()
    ]
    bindings.append(
        _object(
            "ClusterRoleBinding",
            "kutter:cluster-admins",
            **_bind("ClusterRole", "cluster-admin", ("Group:kutter:cluster-admins",)),
        )
    )
    # The API server reaches kubelets under its client certificate's name.
    bindings.append(
        _object(
            "ClusterRoleBinding",
            "kutter:kube-apiserver-kubelet-client",
            **_bind(
                "ClusterRole",
                "system:kubelet-api-admin",
                ("User:kube-apiserver-kubelet-client",),
            ),
        )
    )
    for name in _controller_roles():
        account = name.rpartition(":")[2]
        bindings.append(
            _object(
                "ClusterRoleBinding",
                name,
                **_bind("ClusterRole", name, (f"ServiceAccount:kube-system/{account}",)),
            )
        )
    return bindings


def _controller_roles() -> dict[str, str]:
    roles = {
        f"system:controller:{name}": f"{text}\n{EVENTS}" if records_events else text
        for name, (text, records_events) in CONTROLLER_ROLES.items()
    }
    roles |= {f"kutter:controller:{name}": text for name, text in CONTROLLER_ADDITIONS.items()}
    return roles


def parse_rules(text: str) -> list[Tree]:
    """Rule trees from lines of the form described above."""
    rules: list[Tree] = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        verbs_text, groups, resources, *names = line.split()
        verbs = sorted({v for word in verbs_text.split(",") for v in _VERBS.get(word, (word,))})
        if groups == "url":
            rules.append({"verbs": verbs, "nonResourceURLs": sorted(resources.split(","))})
            continue
        rule: Tree = {
            "verbs": verbs,
            "apiGroups": ["" if g == "core" else g for g in groups.split(",")],
            "resources": resources.split(","),
        }
        if names:
            rule["resourceNames"] = names[0].split(",")
        rules.append(rule)
    return rules


def _object(kind: str, name: str, namespace: str = "", **fields: Any) -> Tree:
    metadata: Tree = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = dict(_LABELS)
    metadata["annotations"] = {AUTOUPDATE: "true"}
    return {"kind": kind, "apiVersion": f"{GROUP}/v1", "metadata": metadata, **fields}


def _bind(kind: str, role: str, subjects: tuple[str, ...]) -> Tree:
    trees: list[Tree] = []
    for subject in subjects:
        subject_kind, _, name = subject.partition(":")
        if subject_kind == "ServiceAccount":
            namespace, _, account = name.partition("/")
            trees.append({"kind": subject_kind, "name": account, "namespace": namespace})
        else:
            trees.append({"kind": subject_kind, "apiGroup": GROUP, "name": name})
    fields: Tree = {"roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}}
    if trees:
        fields["subjects"] = trees
    return fields


def node_rules() -> list[Tree]:
    """What every node may do, whatever its name; the node authorizer adds what depends on it."""
    return parse_rules(_NODE)
