"""The admission plugins of the API server, in the order they are called.

The order is upstream's: what refuses a request outright comes first, what fills in the pod
next, policies and webhooks see the result of those. All of them before ResourceQuota, which
reserves what nobody may refuse any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from kutter.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.claim_resize import PersistentVolumeClaimResize
from kutter.apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from kutter.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kutter.apiserver.admission.limit_ranger import LimitRanger
from kutter.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from kutter.apiserver.admission.node_restriction import NodeRestriction
from kutter.apiserver.admission.node_taints import TaintNodesByCondition
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.admission.pod_security import PodSecurity
from kutter.apiserver.admission.priority import Priority
from kutter.apiserver.admission.rbac_escalation import RbacEscalation
from kutter.apiserver.admission.resource_quota import QuotaStore, ResourceQuota
from kutter.apiserver.admission.runtime_class import RuntimeClass
from kutter.apiserver.admission.service_account import ServiceAccount
from kutter.apiserver.admission.storage_protection import StorageObjectInUseProtection
from kutter.apiserver.authz.escalation import EscalationCheck
from kutter.apiserver.ports import Authorizer
from kutter.base.rng import SYSTEM_RNG, Rng


def default_plugins(
    *,
    authorizer: Authorizer | None = None,
    escalation: EscalationCheck | None = None,
    dynamic: Sequence[Plugin] = (),
    rng: Rng = SYSTEM_RNG,
) -> list[Plugin]:
    """Every plugin that is on by default. Without ``authorizer`` and ``escalation`` nobody is
    asked who may approve certificates and grant roles (authorization is off). ``dynamic``: those
    that webhooks and policies stand behind.
    """
    plugins: list[Plugin] = [
        NamespaceLifecycle(),
        LimitRanger(),
        ServiceAccount(rng),
        NodeRestriction(),
        TaintNodesByCondition(),
        PodSecurity(),
        Priority(),
        DefaultTolerationSeconds(),
        DefaultStorageClass(),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(),
        RuntimeClass(),
    ]
    if authorizer is not None:
        plugins += [CertificateApproval(authorizer), CertificateSigning(authorizer)]
    plugins += [CertificateSubjectRestriction(), DefaultIngressClass()]
    if escalation is not None:
        plugins.append(RbacEscalation(escalation))
    plugins += dynamic
    plugins.append(ResourceQuota())
    return plugins


def attach_quota_store(chain: AdmissionChain, store: QuotaStore) -> None:
    """Let the chain reserve in ``store``; before, no quota is enforced."""
    for plugin in chain.plugins:
        if isinstance(plugin, ResourceQuota):
            plugin.store = store


def default_chain(
    *,
    authorizer: Authorizer | None = None,
    escalation: EscalationCheck | None = None,
    dynamic: Sequence[Plugin] = (),
    rng: Rng = SYSTEM_RNG,
) -> AdmissionChain:
    """The chain a server starts with."""
    return AdmissionChain(
        default_plugins(authorizer=authorizer, escalation=escalation, dynamic=dynamic, rng=rng)
    )
