"""The admission plugins of the API server, in the order they are called.

The order is upstream's: what refuses a request outright comes first, what fills in the pod
next, policies and webhooks see the result of those. All of them before ResourceQuota, which
reserves what nobody may refuse any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kutter.api.catalog import Catalog
from kutter.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
)
from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.claim_resize import PersistentVolumeClaimResize
from kutter.apiserver.admission.claim_status import ClaimStatusAuthorization
from kutter.apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from kutter.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kutter.apiserver.admission.dynamic.plugins import DynamicAdmission
from kutter.apiserver.admission.event_rate_limit import EventRateLimit
from kutter.apiserver.admission.limit_ranger import LimitRanger
from kutter.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from kutter.apiserver.admission.namespace_rules import PodNodeSelector, PodTolerationRestriction
from kutter.apiserver.admission.node_restriction import NodeRestriction
from kutter.apiserver.admission.node_taints import TaintNodesByCondition
from kutter.apiserver.admission.optional import (
    AlwaysDeny,
    AlwaysPullImages,
    CreateNamespace,
    DenyServiceExternalIPs,
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
    NamespaceAutoProvision,
    NamespaceExists,
)
from kutter.apiserver.admission.options import AdmissionOptions
from kutter.apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.admission.pod_resize import PodResizeValidator
from kutter.apiserver.admission.pod_security import PodSecurity, PodSecurityMetrics
from kutter.apiserver.admission.pod_topology_labels import PodTopologyLabels
from kutter.apiserver.admission.priority import Priority
from kutter.apiserver.admission.rbac_escalation import RbacEscalation
from kutter.apiserver.admission.resource_quota import QuotaStore, ResourceQuota
from kutter.apiserver.admission.runtime_class import RuntimeClass
from kutter.apiserver.admission.service_account import ServiceAccount
from kutter.apiserver.admission.storage_protection import StorageObjectInUseProtection
from kutter.apiserver.authz.escalation import EscalationCheck
from kutter.apiserver.configuration_file import ConfigurationError
from kutter.apiserver.ports import Attributes, Authorizer, Decision
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.metrics import Registry
from kutter.base.rng import SYSTEM_RNG, Rng

# Off unless asked for; everything else is on. NodeRestriction is off upstream, where every
# installer turns it on.
DEFAULT_OFF = frozenset(
    {
        AlwaysDeny.name,
        AlwaysPullImages.name,
        DenyServiceExternalIPs.name,
        EventRateLimit.name,
        ExtendedResourceToleration.name,
        LimitPodHardAntiAffinityTopology.name,
        NamespaceAutoProvision.name,
        NamespaceExists.name,
        OwnerReferencesPermissionEnforcement.name,
        PodNodeSelector.name,
        PodTolerationRestriction.name,
    }
)
# Names that may be given and stand for nothing: AlwaysAdmit has no opinion, the others look at
# what is off by default in v1.36 (pod groups).
DORMANT = frozenset(
    {
        "AlwaysAdmit",
        "JobValidation",
        "PodGroupProtection",
        "PodGroupWorkloadExists",
    }
)


def all_plugins(
    *,
    authorizer: Authorizer | None = None,
    dynamic: Iterable[Plugin] = (),
    options: AdmissionOptions | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: Rng = SYSTEM_RNG,
) -> list[Plugin]:
    """Every plugin there is, in upstream's order. Without an ``authorizer`` nobody is asked who
    may approve certificates. ``dynamic``: those that webhooks and policies stand behind.
    """
    options = options or AdmissionOptions()
    plugins: list[Plugin] = [
        NamespaceAutoProvision(),
        NamespaceLifecycle(),
        NamespaceExists(),
        LimitPodHardAntiAffinityTopology(),
        LimitRanger(),
        ServiceAccount(rng, clock),
        NodeRestriction(),
        TaintNodesByCondition(),
        AlwaysPullImages(),
        PodSecurity(options.pod_security),
        PodNodeSelector(options.node_selectors),
        Priority(),
        DefaultTolerationSeconds(),
        PodTolerationRestriction(options.tolerations, options.allowed_tolerations),
        EventRateLimit(options.event_limits, clock),
        ExtendedResourceToleration(),
        DefaultStorageClass(),
        StorageObjectInUseProtection(),
    ]
    if authorizer is not None:
        plugins.append(OwnerReferencesPermissionEnforcement(authorizer))
    plugins += [PersistentVolumeClaimResize(), RuntimeClass()]
    if authorizer is not None:
        plugins += [
            CertificateApproval(authorizer),
            CertificateSigning(authorizer),
            ClusterTrustBundleAttest(authorizer),
        ]
    plugins += [
        CertificateSubjectRestriction(),
        DefaultIngressClass(),
        DenyServiceExternalIPs(),
        PodTopologyLabels(),
        PodResizeValidator(),
    ]
    plugins.append(AlwaysDeny())
    plugins += dynamic
    plugins.append(ResourceQuota(options.limited))
    return plugins


def default_plugins(
    *,
    authorizer: Authorizer | None = None,
    escalation: EscalationCheck | None = None,
    dynamic: Sequence[Plugin] = (),
    options: AdmissionOptions | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: Rng = SYSTEM_RNG,
) -> list[Plugin]:
    """The plugins ``options`` leave on. Raises ConfigurationError for a name that is none."""
    options = options or AdmissionOptions()
    plugins = all_plugins(
        authorizer=authorizer, dynamic=dynamic, options=options, clock=clock, rng=rng
    )
    check_names(options)
    off = (DEFAULT_OFF - options.enable) | options.disable
    chosen = [plugin for plugin in plugins if plugin.name not in off]
    if escalation is not None:
        # No plugin of upstream's, where it is part of the role kinds: it cannot be turned off.
        chosen.insert(0, RbacEscalation(escalation))
    if authorizer is not None:
        # Likewise: part of the kind upstream.
        chosen.insert(0, ClaimStatusAuthorization(authorizer))
    return chosen


class _Nobody:
    """Stands for an authorizer where only names are asked for."""

    async def authorize(self, attributes: Attributes) -> Decision:
        return Decision(allowed=False)


def check_names(options: AdmissionOptions) -> None:
    """Raises ConfigurationError for a name that is none."""
    known = {p.name for p in all_plugins(authorizer=_Nobody(), dynamic=DynamicAdmission().plugins)}
    unknown = (options.enable | options.disable) - known - DORMANT
    if unknown:
        raise ConfigurationError(f"admission plugin {', '.join(sorted(unknown))} is unknown")


def attach_quota_store(chain: AdmissionChain, store: QuotaStore) -> None:
    """Let the chain reserve in ``store``; before, no quota is enforced."""
    for plugin in chain.plugins:
        if isinstance(plugin, ResourceQuota):
            plugin.store = store


def attach_server(
    chain: AdmissionChain, catalog: Catalog, metrics: Registry, create_namespace: CreateNamespace
) -> None:
    """Let the plugins that look up kinds know what is served, and those that count, where."""
    for plugin in chain.plugins:
        if isinstance(plugin, NamespaceAutoProvision):
            plugin.create = create_namespace
        elif isinstance(plugin, OwnerReferencesPermissionEnforcement):
            plugin.catalog = catalog
        elif isinstance(plugin, PodSecurity):
            plugin.metrics = PodSecurityMetrics(metrics)


def default_chain(
    *,
    authorizer: Authorizer | None = None,
    escalation: EscalationCheck | None = None,
    dynamic: Sequence[Plugin] = (),
    options: AdmissionOptions | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: Rng = SYSTEM_RNG,
) -> AdmissionChain:
    """The chain a server starts with."""
    return AdmissionChain(
        default_plugins(
            authorizer=authorizer,
            escalation=escalation,
            dynamic=dynamic,
            options=options,
            clock=clock,
            rng=rng,
        )
    )
