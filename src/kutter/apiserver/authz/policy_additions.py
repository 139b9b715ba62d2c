"""What Kutter's own controllers do beyond upstream's roles for them.

Data for :mod:`kutter.apiserver.authz.policy`, in its line format, keyed by the service account.
Upstream's controllers write statuses whole (``update``), ours write what differs (``patch``): the
same right to the same resource under another verb. Kept apart, as ``kutter:controller:NAME``, so
that upstream's roles stay upstream's, rule by rule.
"""

from __future__ import annotations

CONTROLLER_ADDITIONS: dict[str, str] = {
    "deployment-controller": "patch apps deployments,deployments/status",
    "disruption-controller": "patch policy poddisruptionbudgets/status",
    "namespace-controller": "patch core namespaces/status",
    "persistent-volume-binder": (
        "patch core persistentvolumeclaims,persistentvolumeclaims/status,persistentvolumes,"
        "persistentvolumes/status"
    ),
    "pv-protection-controller": "patch core persistentvolumes",
    "pvc-protection-controller": "patch core persistentvolumeclaims",
    "replicaset-controller": "patch apps replicasets/status",
    "replication-controller": "patch core replicationcontrollers/status",
    "root-ca-cert-publisher": "patch core configmaps",
    "volumeattributesclass-protection-controller": "patch storage.k8s.io volumeattributesclasses",
}
