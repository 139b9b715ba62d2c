"""Which strategy serves which resource: every kind's entry, in one table.

Resources without an entry are plain: metadata rules, the schema's required fields (checked by
the schema tables before), specification apart from status.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

import msgspec

from kutter.api.resources import Resource
from kutter.apiserver.kinds.service_ranges import ServiceRanges
from kutter.apiserver.kinds.standard import PlainKind
from kutter.apiserver.kinds.strategy import Strategy


class KindOptions(msgspec.Struct, frozen=True):
    """What of a cluster the kinds depend on.

    ``service_cidrs``: one range, or one per family. ``event_ttl_s``: how long events are kept.
    ``coordinated_leases``: candidates are served, so leases have what concerns their election.
    """

    service_cidrs: tuple[str, ...] = ("10.43.0.0/16",)
    node_ports: str = "30000-32767"
    event_ttl_s: float = 3600.0
    coordinated_leases: bool = False


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"

# Module below kutter.apiserver, and class: read in when something of its kind is first asked for.
# So a start reads in the few kinds it writes, and the server the others once it answers.
_KINDS: dict[tuple[str, str], str] = {
    ("", "pods"): "kinds.pod:PodKind",
    ("", "podtemplates"): "kinds.pod:PodTemplateKind",
    ("", "namespaces"): "kinds.core:NamespaceKind",
    ("", "nodes"): "kinds.nodes:NodeKind",
    ("", "configmaps"): "kinds.data:ConfigMapKind",
    ("", "secrets"): "kinds.data:SecretKind",
    ("", "serviceaccounts"): "kinds.core:ServiceAccountKind",
    ("", "limitranges"): "kinds.limits:LimitRangeKind",
    ("", "resourcequotas"): "kinds.limits:ResourceQuotaKind",
    ("", "endpoints"): "kinds.discovery:EndpointsKind",
    ("", "persistentvolumes"): "kinds.storage:PersistentVolumeKind",
    ("", "persistentvolumeclaims"): "kinds.storage:PersistentVolumeClaimKind",
    ("", "replicationcontrollers"): "kinds.workloads:ReplicationControllerKind",
    ("apps", "replicasets"): "kinds.workloads:ReplicaSetKind",
    ("apps", "deployments"): "kinds.deployments:DeploymentKind",
    ("apps", "daemonsets"): "kinds.daemon_sets:DaemonSetKind",
    ("apps", "statefulsets"): "kinds.stateful_sets:StatefulSetKind",
    ("apps", "controllerrevisions"): "kinds.workloads:ControllerRevisionKind",
    ("batch", "jobs"): "kinds.batch:JobKind",
    ("batch", "cronjobs"): "kinds.batch:CronJobKind",
    ("discovery.k8s.io", "endpointslices"): "kinds.discovery:EndpointSliceKind",
    ("coordination.k8s.io", "leases"): "kinds.coordination:LeaseKind",
    ("coordination.k8s.io", "leasecandidates"): "kinds.coordination:LeaseCandidateKind",
    (_RBAC, "roles"): "kinds.rbac:RoleKind",
    (_RBAC, "clusterroles"): "kinds.rbac:RoleKind",
    (_RBAC, "rolebindings"): "kinds.rbac:BindingKind",
    (_RBAC, "clusterrolebindings"): "kinds.rbac:BindingKind",
    ("policy", "poddisruptionbudgets"): "kinds.policy:PodDisruptionBudgetKind",
    ("autoscaling", "horizontalpodautoscalers"): "kinds.autoscaling:HorizontalPodAutoscalerKind",
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
    ): "kinds.certificates:CertificateSigningRequestKind",
    ("certificates.k8s.io", "clustertrustbundles"): "kinds.trust_bundles:ClusterTrustBundleKind",
    ("scheduling.k8s.io", "priorityclasses"): "kinds.classes:PriorityClassKind",
    ("node.k8s.io", "runtimeclasses"): "kinds.classes:RuntimeClassKind",
    ("storage.k8s.io", "storageclasses"): "kinds.storage:StorageClassKind",
    ("storage.k8s.io", "csidrivers"): "kinds.csi:CSIDriverKind",
    ("storage.k8s.io", "csinodes"): "kinds.csi:CSINodeKind",
    ("storage.k8s.io", "volumeattachments"): "kinds.csi:VolumeAttachmentKind",
    ("storage.k8s.io", "csistoragecapacities"): "kinds.csi:CSIStorageCapacityKind",
    ("storage.k8s.io", "volumeattributesclasses"): "kinds.storage:VolumeAttributesClassKind",
    ("networking.k8s.io", "ingresses"): "kinds.networking:IngressKind",
    ("networking.k8s.io", "ingressclasses"): "kinds.networking:IngressClassKind",
    ("networking.k8s.io", "networkpolicies"): "kinds.networking:NetworkPolicyKind",
    ("networking.k8s.io", "servicecidrs"): "kinds.networking:ServiceCIDRKind",
    ("networking.k8s.io", "ipaddresses"): "kinds.networking:IPAddressKind",
    ("resource.k8s.io", "deviceclasses"): "kinds.device_class:DeviceClassKind",
    ("resource.k8s.io", "resourceclaims"): "kinds.resource_claim:ResourceClaimKind",
    ("resource.k8s.io", "resourceclaimtemplates"): "kinds.resource_claim:ResourceClaimTemplateKind",
    ("resource.k8s.io", "resourceslices"): "kinds.resource_slice:ResourceSliceKind",
    (_ADMISSION, "mutatingwebhookconfigurations"): "kinds.webhooks:WebhookConfigurationKind",
    (_ADMISSION, "validatingwebhookconfigurations"): "kinds.webhooks:WebhookConfigurationKind",
    (
        _ADMISSION,
        "validatingadmissionpolicies",
    ): "kinds.admission_policies:ValidatingAdmissionPolicyKind",
    (_ADMISSION, "validatingadmissionpolicybindings"): (
        "kinds.admission_policies:ValidatingAdmissionPolicyBindingKind"
    ),
    (
        _ADMISSION,
        "mutatingadmissionpolicies",
    ): "kinds.admission_policies:MutatingAdmissionPolicyKind",
    (
        _ADMISSION,
        "mutatingadmissionpolicybindings",
    ): "kinds.admission_policies:MutatingAdmissionPolicyBindingKind",
    (
        "apiextensions.k8s.io",
        "customresourcedefinitions",
    ): "custom.definition_kind:CustomResourceDefinitionKind",
    ("apiregistration.k8s.io", "apiservices"): "kinds.apiregistration:APIServiceKind",
    (
        "storagemigration.k8s.io",
        "storageversionmigrations",
    ): "kinds.storage_migration:StorageVersionMigrationKind",
    (_FLOW, "flowschemas"): "kinds.flowcontrol:FlowSchemaKind",
    (_FLOW, "prioritylevelconfigurations"): "kinds.flowcontrol:PriorityLevelKind",
}


def _class(place: str) -> Callable[..., Strategy]:
    module, _, name = place.partition(":")
    return cast(
        "Callable[..., Strategy]", getattr(import_module(f"kutter.apiserver.{module}"), name)
    )


def kind_modules() -> list[str]:
    """Every module a kind is in."""
    places = {*_KINDS.values(), "kinds.events:", "kinds.service:", "kinds.coordination:"}
    return sorted({f"kutter.apiserver.{place.partition(':')[0]}" for place in places})


class Kinds:
    """The strategies of one server; each resource's is made once."""

    def __init__(self, options: KindOptions | None = None) -> None:
        self.options = options or KindOptions()
        self.service_ranges = ServiceRanges(self.options.service_cidrs, self.options.node_ports)
        self._made: dict[tuple[str, str, str], Strategy] = {}

    def strategy_for(self, resource: Resource) -> Strategy:
        """The strategy of a resource; a plain one for kinds nothing particular is known of."""
        key = (resource.group, resource.version, resource.plural)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(resource)
        return made

    def _make(self, resource: Resource) -> Strategy:
        if resource.plural == "events" and resource.group in ("", "events.k8s.io"):
            return _class("kinds.events:EventKind")(resource, self.options.event_ttl_s)
        if (resource.group, resource.plural) == ("", "services"):
            return _class("kinds.service:ServiceKind")(resource, self.service_ranges)
        if resource.kind == "Lease" and self.options.coordinated_leases:
            return _class("kinds.coordination:CoordinatedLeaseKind")(resource)
        make = _KINDS.get((resource.group, resource.plural))
        if make is not None:
            return _class(make)(resource)
        return PlainKind(resource)


_default: Kinds | None = None


def strategy_for(resource: Resource) -> Strategy:
    """The strategy with default options; servers with their own make a :class:`Kinds`."""
    global _default  # noqa: PLW0603  (one per process, made at first use)
    if _default is None:
        _default = Kinds()
    return _default.strategy_for(resource)
