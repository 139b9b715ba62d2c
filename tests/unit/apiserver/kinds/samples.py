"""One valid object per kind with rules of its own, as a client would send it."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.certificate_kit import make_authority
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.catalog import BUILTIN, OPTIONAL
from kutter.api.resources import Resource
from kutter.apiserver.authn.identity import User
from kutter.apiserver.kinds.registry import Kinds
from kutter.apiserver.kinds.strategy import Strategy, StrategyContext

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

POD_SPEC: dict[str, Any] = {"containers": [{"name": "web", "image": "web:1"}]}
_TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD_SPEC}
_WORKLOAD = {"selector": {"matchLabels": {"app": "web"}}, "template": _TEMPLATE}
_JOB = {"template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}
_ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_CSR = base64.b64encode(
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")]))
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
).decode()
_POLICY_RULE = {
    "apiGroups": ["apps"],
    "apiVersions": ["v1"],
    "operations": ["CREATE"],
    "resources": ["deployments"],
}
_HOOK = {
    "name": "a.example.com",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "clientConfig": {"service": {"name": "hook", "namespace": "default"}},
}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
_VOLUME = {
    "accessModes": ["ReadWriteOnce"],
    "capacity": {"storage": "1Gi"},
    "hostPath": {"path": "/data"},
}

_DEVICES = {
    "devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "a.example.com"}}]}
}
BODIES: dict[str, dict[str, Any]] = {
    "pods": {"spec": POD_SPEC},
    "podtemplates": {"template": _TEMPLATE},
    "namespaces": {},
    "nodes": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "configmaps": {"data": {"a": "b"}},
    "secrets": {"stringData": {"a": "b"}},
    "serviceaccounts": {},
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}},
    "resourcequotas": {"spec": {"hard": {"pods": "10"}}},
    "services": {"spec": {"ports": [{"port": 80}], "selector": {"app": "web"}}},
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]},
    "persistentvolumes": {"spec": _VOLUME},
    "persistentvolumeclaims": {"spec": _CLAIM},
    "replicationcontrollers": {"spec": {"template": _TEMPLATE}},
    "replicasets": {"spec": _WORKLOAD},
    "deployments": {"spec": _WORKLOAD},
    "daemonsets": {"spec": _WORKLOAD},
    "statefulsets": {
        "spec": {**_WORKLOAD, "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": _CLAIM}]}
    },
    "controllerrevisions": {"data": {}, "revision": 1},
    "jobs": {"spec": _JOB},
    "cronjobs": {"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": _JOB}}},
    "endpointslices": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
    },
    "leases": {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}},
    "roles": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "clusterroles": {"rules": [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]},
    "rolebindings": {"roleRef": _ROLE_REF, "subjects": [{"kind": "User", "name": "ann"}]},
    "clusterrolebindings": {
        "roleRef": _ROLE_REF,
        "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "y"}],
    },
    "poddisruptionbudgets": {"spec": {"minAvailable": "50%"}},
    "horizontalpodautoscalers": {
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 3,
        }
    },
    "certificatesigningrequests": {
        "spec": {
            "request": _CSR,
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["server auth"],
        }
    },
    "priorityclasses": {"value": 1000},
    "runtimeclasses": {"handler": "runc"},
    "storageclasses": {"provisioner": "example.com/disk"},
    "csidrivers": {"spec": {}},
    "csistoragecapacities": {"storageClassName": "fast", "capacity": "1Gi"},
    "volumeattributesclasses": {"driverName": "a.example.com", "parameters": {"iops": "100"}},
    "csinodes": {"spec": {"drivers": [{"name": "a.example.com", "nodeID": "n"}]}},
    "volumeattachments": {
        "spec": {
            "attacher": "a.example.com",
            "nodeName": "n",
            "source": {"persistentVolumeName": "v"},
        }
    },
    "ingresses": {
        "spec": {
            "rules": [
                {
                    "host": "a.example.com",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "web", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ]
        }
    },
    "ingressclasses": {"spec": {"controller": "example.com/nginx"}},
    "networkpolicies": {
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}
    },
    "servicecidrs": {"spec": {"cidrs": ["10.43.0.0/16"]}},
    "ipaddresses": {"spec": {"parentRef": {"resource": "services", "name": "web"}}},
    "deviceclasses": {"spec": {"extendedResourceName": "a.example.com/gpu"}},
    "clustertrustbundles": {"spec": {"trustBundle": make_authority("anybody")}},
    "leasecandidates": {
        "spec": {
            "leaseName": "web",
            "binaryVersion": "1.36.0",
            "emulationVersion": "1.35.0",
            "strategy": "OldestEmulationVersion",
        }
    },
    "storageversionmigrations": {"spec": {"resource": {"resource": "secrets"}}},
    "resourceclaims": {"spec": _DEVICES},
    "resourceclaimtemplates": {"spec": {"spec": _DEVICES}},
    "resourceslices": {
        "spec": {
            "driver": "a.example.com",
            "nodeName": "n",
            "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1},
        }
    },
    "mutatingwebhookconfigurations": {"webhooks": [_HOOK]},
    "validatingwebhookconfigurations": {"webhooks": [_HOOK]},
    "validatingadmissionpolicies": {
        "spec": {
            "matchConstraints": {"resourceRules": [_POLICY_RULE]},
            "validations": [{"expression": "object.spec.replicas > 1"}],
        }
    },
    "validatingadmissionpolicybindings": {
        "spec": {"policyName": "p", "validationActions": ["Deny"]}
    },
    "mutatingadmissionpolicies": {
        "spec": {
            "matchConstraints": {"resourceRules": [_POLICY_RULE]},
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {"expression": "Object{}"},
                }
            ],
            "reinvocationPolicy": "Never",
        }
    },
    "mutatingadmissionpolicybindings": {"spec": {"policyName": "p"}},
    "customresourcedefinitions": {
        "spec": {
            "group": "a.example.com",
            "scope": "Cluster",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        }
    },
    "apiservices": {
        "spec": {
            "group": "a.example.com",
            "version": "v1",
            "groupPriorityMinimum": 2000,
            "versionPriority": 200,
        }
    },
    "flowschemas": {"spec": {"priorityLevelConfiguration": {"name": "x"}}},
    "prioritylevelconfigurations": {
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
    },
}
NAMES = {
    "apiservices": "v1.a.example.com",
    "ipaddresses": "10.43.0.7",
    "csidrivers": "a.example.com",
    "customresourcedefinitions": "widgets.a.example.com",
}


def resource(plural: str, group: str | None = None) -> Resource:
    return next(
        r
        for r in (*BUILTIN, *OPTIONAL)
        if r.plural == plural and (group is None or r.group == group)
    )


def sample(plural: str) -> dict[str, Any]:
    """A fresh valid object, with the metadata the core sets before the strategy is asked."""
    of = resource(plural)
    tree = copy.deepcopy(BODIES[plural])
    metadata = {"name": NAMES.get(plural, "web"), "uid": "11111111-2222-3333-4444-555555555555"}
    if of.namespaced:
        metadata["namespace"] = "default"
    return {"apiVersion": of.api_version, "kind": of.kind, "metadata": metadata, **tree}


def context(reader: FakeReader | None = None, *, dry_run: bool = False) -> StrategyContext:
    user = User("ann", groups=("system:authenticated",))
    return StrategyContext(user, NOW, reader or FakeReader(), dry_run)


def strategy(plural: str, kinds: Kinds | None = None) -> Strategy:
    return (kinds or Kinds()).strategy_for(resource(plural))


def stored(plural: str, tree: dict[str, Any] | None = None) -> dict[str, Any]:
    """A sample as it would lie in the store; asserts that it is valid."""
    tree = tree or sample(plural)
    kind = strategy(plural)
    kind.default(tree)
    kind.prepare_for_create(context(), tree)
    assert kind.validate_create(context(), tree) == []
    kind.canonicalize(tree)
    return tree


def errors_of(plural: str, tree: dict[str, Any]) -> list[str]:
    """What creating ``tree`` is refused with, as ``path: message``."""
    kind = strategy(plural)
    kind.default(tree)
    kind.prepare_for_create(context(), tree)
    return [str(e) for e in kind.validate_create(context(), tree)]


def change_errors(plural: str, new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """What updating ``old`` to ``new`` is refused with."""
    kind = strategy(plural)
    kind.default(new)
    kind.prepare_for_update(context(), new, old)
    return [str(e) for e in kind.validate_update(context(), new, old)]
