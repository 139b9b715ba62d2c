"""The admission plugins of the API server, in the order they are called.

The order is upstream's: what refuses a request outright comes first, what fills in the pod
next, what measures the result last. ResourceQuota, PodSecurity and webhooks will be further
lines here.
"""

from __future__ import annotations

from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from kutter.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kutter.apiserver.admission.limit_ranger import LimitRanger
from kutter.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from kutter.apiserver.admission.node_restriction import NodeRestriction
from kutter.apiserver.admission.node_taints import TaintNodesByCondition
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.admission.priority import Priority
from kutter.apiserver.admission.rbac_escalation import RbacEscalation
from kutter.apiserver.admission.runtime_class import RuntimeClass
from kutter.apiserver.admission.service_account import ServiceAccount
from kutter.apiserver.admission.storage_protection import StorageObjectInUseProtection
from kutter.apiserver.authz.escalation import EscalationCheck
from kutter.base.rng import SYSTEM_RNG, Rng


def default_plugins(
    *, escalation: EscalationCheck | None = None, rng: Rng = SYSTEM_RNG
) -> list[Plugin]:
    """Every plugin that is on by default. Without ``escalation`` roles are not looked at (RBAC
    is off).
    """
    plugins: list[Plugin] = [
        NamespaceLifecycle(),
        LimitRanger(),
        ServiceAccount(rng),
        NodeRestriction(),
        TaintNodesByCondition(),
        Priority(),
        DefaultTolerationSeconds(),
        DefaultStorageClass(),
        StorageObjectInUseProtection(),
        RuntimeClass(),
        DefaultIngressClass(),
    ]
    if escalation is not None:
        plugins.append(RbacEscalation(escalation))
    return plugins


def default_chain(
    *, escalation: EscalationCheck | None = None, rng: Rng = SYSTEM_RNG
) -> AdmissionChain:
    """The chain a server starts with."""
    return AdmissionChain(default_plugins(escalation=escalation, rng=rng))
