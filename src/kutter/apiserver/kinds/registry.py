"""Which strategy serves which resource: every kind's entry, in one table.

Resources without an entry are plain: metadata rules, the schema's required fields (checked by
the schema tables before), specification apart from status.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kutter.api.resources import Resource
from kutter.apiserver.custom.definition_kind import CustomResourceDefinitionKind
from kutter.apiserver.kinds import admission_policies as policies
from kutter.apiserver.kinds import (
    apiregistration,
    autoscaling,
    batch,
    certificates,
    classes,
    coordination,
    core,
    csi,
    daemon_sets,
    data,
    deployments,
    device_class,
    discovery,
    events,
    flowcontrol,
    limits,
    networking,
    nodes,
    pod,
    policy,
    rbac,
    resource_claim,
    resource_slice,
    stateful_sets,
    storage,
    storage_migration,
    trust_bundles,
    webhooks,
    workloads,
)
from kutter.apiserver.kinds.service import ServiceKind
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
    event_ttl_s: float = events.EVENT_TTL_S
    coordinated_leases: bool = False


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"

_KINDS: dict[tuple[str, str], Callable[[Resource], Strategy]] = {
    ("", "pods"): pod.PodKind,
    ("", "podtemplates"): pod.PodTemplateKind,
    ("", "namespaces"): core.NamespaceKind,
    ("", "nodes"): nodes.NodeKind,
    ("", "configmaps"): data.ConfigMapKind,
    ("", "secrets"): data.SecretKind,
    ("", "serviceaccounts"): core.ServiceAccountKind,
    ("", "limitranges"): limits.LimitRangeKind,
    ("", "resourcequotas"): limits.ResourceQuotaKind,
    ("", "endpoints"): discovery.EndpointsKind,
    ("", "persistentvolumes"): storage.PersistentVolumeKind,
    ("", "persistentvolumeclaims"): storage.PersistentVolumeClaimKind,
    ("", "replicationcontrollers"): workloads.ReplicationControllerKind,
    ("apps", "replicasets"): workloads.ReplicaSetKind,
    ("apps", "deployments"): deployments.DeploymentKind,
    ("apps", "daemonsets"): daemon_sets.DaemonSetKind,
    ("apps", "statefulsets"): stateful_sets.StatefulSetKind,
    ("apps", "controllerrevisions"): workloads.ControllerRevisionKind,
    ("batch", "jobs"): batch.JobKind,
    ("batch", "cronjobs"): batch.CronJobKind,
    ("discovery.k8s.io", "endpointslices"): discovery.EndpointSliceKind,
    ("coordination.k8s.io", "leases"): coordination.LeaseKind,
    ("coordination.k8s.io", "leasecandidates"): coordination.LeaseCandidateKind,
    (_RBAC, "roles"): rbac.RoleKind,
    (_RBAC, "clusterroles"): rbac.RoleKind,
    (_RBAC, "rolebindings"): rbac.BindingKind,
    (_RBAC, "clusterrolebindings"): rbac.BindingKind,
    ("policy", "poddisruptionbudgets"): policy.PodDisruptionBudgetKind,
    ("autoscaling", "horizontalpodautoscalers"): autoscaling.HorizontalPodAutoscalerKind,
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
    ): certificates.CertificateSigningRequestKind,
    ("certificates.k8s.io", "clustertrustbundles"): trust_bundles.ClusterTrustBundleKind,
    ("scheduling.k8s.io", "priorityclasses"): classes.PriorityClassKind,
    ("node.k8s.io", "runtimeclasses"): classes.RuntimeClassKind,
    ("storage.k8s.io", "storageclasses"): storage.StorageClassKind,
    ("storage.k8s.io", "csidrivers"): csi.CSIDriverKind,
    ("storage.k8s.io", "csinodes"): csi.CSINodeKind,
    ("storage.k8s.io", "volumeattachments"): csi.VolumeAttachmentKind,
    ("storage.k8s.io", "csistoragecapacities"): csi.CSIStorageCapacityKind,
    ("storage.k8s.io", "volumeattributesclasses"): storage.VolumeAttributesClassKind,
    ("networking.k8s.io", "ingresses"): networking.IngressKind,
    ("networking.k8s.io", "ingressclasses"): networking.IngressClassKind,
    ("networking.k8s.io", "networkpolicies"): networking.NetworkPolicyKind,
    ("networking.k8s.io", "servicecidrs"): networking.ServiceCIDRKind,
    ("networking.k8s.io", "ipaddresses"): networking.IPAddressKind,
    ("resource.k8s.io", "deviceclasses"): device_class.DeviceClassKind,
    ("resource.k8s.io", "resourceclaims"): resource_claim.ResourceClaimKind,
    ("resource.k8s.io", "resourceclaimtemplates"): resource_claim.ResourceClaimTemplateKind,
    ("resource.k8s.io", "resourceslices"): resource_slice.ResourceSliceKind,
    (_ADMISSION, "mutatingwebhookconfigurations"): webhooks.WebhookConfigurationKind,
    (_ADMISSION, "validatingwebhookconfigurations"): webhooks.WebhookConfigurationKind,
    (_ADMISSION, "validatingadmissionpolicies"): policies.ValidatingAdmissionPolicyKind,
    (_ADMISSION, "validatingadmissionpolicybindings"): (
        policies.ValidatingAdmissionPolicyBindingKind
    ),
    (_ADMISSION, "mutatingadmissionpolicies"): policies.MutatingAdmissionPolicyKind,
    (_ADMISSION, "mutatingadmissionpolicybindings"): policies.MutatingAdmissionPolicyBindingKind,
    ("apiextensions.k8s.io", "customresourcedefinitions"): CustomResourceDefinitionKind,
    ("apiregistration.k8s.io", "apiservices"): apiregistration.APIServiceKind,
    (
        "storagemigration.k8s.io",
        "storageversionmigrations",
    ): storage_migration.StorageVersionMigrationKind,
    (_FLOW, "flowschemas"): flowcontrol.FlowSchemaKind,
    (_FLOW, "prioritylevelconfigurations"): flowcontrol.PriorityLevelKind,
}


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
            return events.EventKind(resource, self.options.event_ttl_s)
        if (resource.group, resource.plural) == ("", "services"):
            return ServiceKind(resource, self.service_ranges)
        if resource.kind == "Lease" and self.options.coordinated_leases:
            return coordination.CoordinatedLeaseKind(resource)
        make = _KINDS.get((resource.group, resource.plural))
        if make is not None:
            return make(resource)
        return PlainKind(resource)


_default: Kinds | None = None


def strategy_for(resource: Resource) -> Strategy:
    """The strategy with default options; servers with their own make a :class:`Kinds`."""
    global _default  # noqa: PLW0603  (one per process, made at first use)
    if _default is None:
        _default = Kinds()
    return _default.strategy_for(resource)
