"""The flow schemas and priority levels every cluster has.

Mandatory ones are always as written here; suggested ones are until somebody says otherwise
(annotation ``apf.kubernetes.io/autoupdate-spec``).
Upstream: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#defaults
"""

from __future__ import annotations

from kutter.apiserver.ports import Tree

GROUP = "flowcontrol.apiserver.k8s.io"
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"
EXEMPT, CATCH_ALL = "exempt", "catch-all"

_EVERYTHING: Tree = {
    "resourceRules": [
        {
            "verbs": ["*"],
            "apiGroups": ["*"],
            "resources": ["*"],
            "clusterScope": True,
            "namespaces": ["*"],
        }
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
_LEASES: Tree = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "namespaces": ["*"],
}


def _level(name: str, shares: int, lendable: int, queues: int, hand: int) -> Tree:
    response: Tree = {"type": "Reject"}
    if queues:
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": 50}
        response = {"type": "Queue", "queuing": queuing}
    limited = {
        "nominalConcurrencyShares": shares,
        "limitResponse": response,
        "lendablePercent": lendable,
    }
    return _object("PriorityLevelConfiguration", name, {"type": "Limited", "limited": limited})


def _schema(
    name: str, level: str, precedence: int, distinguish: str, who: tuple[list[Tree], Tree]
) -> Tree:
    subjects, rules = who
    spec: Tree = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": subjects, **rules}],
    }
    if distinguish:
        spec["distinguisherMethod"] = {"type": distinguish}
    return _object("FlowSchema", name, spec)


def _object(kind: str, name: str, spec: Tree) -> Tree:
    return {
        "kind": kind,
        "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}},
        "spec": spec,
    }


def _groups(*names: str) -> list[Tree]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _users(*names: str) -> list[Tree]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


_ALL = _groups("system:unauthenticated", "system:authenticated")
_NODES = _groups("system:nodes")
_KUBE_SYSTEM: list[Tree] = [
    {"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}}
]
_MANAGER, _SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
_USER, _NAMESPACE = "ByUser", "ByNamespace"
_PROBES: Tree = {
    "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]
}
_ELECTION: Tree = {"resourceRules": [{"verbs": ["get", "create", "update"], **_LEASES}]}
_NODE_HEALTH: Tree = {
    "resourceRules": [
        {
            "verbs": ["*"],
            "apiGroups": [""],
            "resources": ["nodes", "nodes/status"],
            "clusterScope": True,
            "namespaces": ["*"],
        },
        {"verbs": ["*"], **_LEASES},
    ]
}

MANDATORY_LEVELS: tuple[Tree, ...] = (
    _level(CATCH_ALL, 5, 0, 0, 0),
    _object(
        "PriorityLevelConfiguration",
        EXEMPT,
        {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    ),
)
SUGGESTED_LEVELS: tuple[Tree, ...] = (
    _level("system", 30, 33, 64, 6),
    _level("node-high", 40, 25, 64, 6),
    _level("leader-election", 10, 0, 16, 4),
    _level("workload-high", 40, 50, 128, 6),
    _level("workload-low", 100, 90, 128, 6),
    _level("global-default", 20, 50, 128, 6),
)
MANDATORY_SCHEMAS: tuple[Tree, ...] = (
    _schema(EXEMPT, EXEMPT, 1, "", (_groups("system:masters"), _EVERYTHING)),
    _schema(CATCH_ALL, CATCH_ALL, 10000, _USER, (_ALL, _EVERYTHING)),
)
SUGGESTED_SCHEMAS: tuple[Tree, ...] = (
    _schema("system-nodes", "system", 500, _USER, (_NODES, _EVERYTHING)),
    _schema("system-node-high", "node-high", 400, _USER, (_NODES, _NODE_HEALTH)),
    _schema("probes", EXEMPT, 2, "", (_ALL, _PROBES)),
    _schema(
        "system-leader-election",
        "leader-election",
        100,
        _USER,
        (_users(_MANAGER, _SCHEDULER) + _KUBE_SYSTEM, _ELECTION),
    ),
    _schema(
        "kube-controller-manager",
        "workload-high",
        800,
        _NAMESPACE,
        (_users(_MANAGER), _EVERYTHING),
    ),
    _schema("kube-scheduler", "workload-high", 800, _NAMESPACE, (_users(_SCHEDULER), _EVERYTHING)),
    _schema(
        "kube-system-service-accounts",
        "workload-high",
        900,
        _NAMESPACE,
        (_KUBE_SYSTEM, _EVERYTHING),
    ),
    _schema(
        "service-accounts",
        "workload-low",
        9000,
        _USER,
        (_groups("system:serviceaccounts"), _EVERYTHING),
    ),
    _schema("global-default", "global-default", 9900, _USER, (_ALL, _EVERYTHING)),
)
