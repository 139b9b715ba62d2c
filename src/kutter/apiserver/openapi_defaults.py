"""The defaults that upstream's OpenAPI v3 gives fields: what an absent one decodes to.

Between the schema tables and OpenAPI v3 (version 2 has none). Most follow from a field's form, a
required value that cannot be absent being its type's zero; the others are facts of v1.36, because
what decides is how the field is declared there. Clients fill in forms by them.
"""

from __future__ import annotations

from typing import Any, Final

from kutter.api.schema import Node

_API = "io.k8s.api."
_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_ZERO: dict[str, Any] = {"string": "", "int32": 0, "int64": 0, "double": 0, "boolean": False}
_PARTS = frozenset({"metadata", "spec", "status"})
NONE: Final = object()
# Fields without one, though their form says otherwise.
_WITHOUT = frozenset(
    {
        "admissionregistration.v1.MutatingWebhook.sideEffects",
        "admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec.policyName",
        "admissionregistration.v1.ValidatingWebhook.sideEffects",
        "apps.v1.DaemonSetSpec.selector",
        "apps.v1.DeploymentSpec.selector",
        "apps.v1.ReplicaSetSpec.selector",
        "apps.v1.StatefulSetSpec.selector",
        "authentication.v1.TokenReviewSpec.token",
        "core.v1.ContainerRestartRule.action",
        "core.v1.ContainerRestartRuleOnExitCodes.operator",
        "core.v1.ImageVolumeStatus.imageRef",
        "core.v1.PodCertificateProjection.keyType",
        "core.v1.PodCertificateProjection.signerName",
        "core.v1.ScaleIOPersistentVolumeSource.secretRef",
        "core.v1.ScaleIOVolumeSource.secretRef",
        "networking.v1.HTTPIngressPath.pathType",
        "networking.v1.IPAddressSpec.parentRef",
        "networking.v1.ParentReference.name",
        "networking.v1.ParentReference.resource",
    }
)
# Fields that are not required and have their type's zero all the same.
_ZEROS = frozenset(
    {
        "apps.v1.DaemonSetSpec.updateStrategy",
        "apps.v1.DeploymentSpec.strategy",
        "apps.v1.ReplicaSetSpec.template",
        "apps.v1.StatefulSetOrdinals.start",
        "apps.v1.StatefulSetSpec.serviceName",
        "apps.v1.StatefulSetSpec.updateStrategy",
        "apps.v1.StatefulSetStatus.availableReplicas",
        "authentication.v1.SelfSubjectReviewStatus.userInfo",
        "authentication.v1.TokenRequestStatus.token",
        "authentication.v1.TokenReviewStatus.user",
        "autoscaling.v1.ScaleSpec.replicas",
        "batch.v1.PodFailurePolicyOnPodConditionsPattern.status",
        "core.v1.AzureDiskVolumeSource.readOnly",
        "core.v1.ConfigMapEnvSource.name",
        "core.v1.ConfigMapKeySelector.name",
        "core.v1.ConfigMapProjection.name",
        "core.v1.ConfigMapVolumeSource.name",
        "core.v1.Container.resources",
        "core.v1.ContainerStatus.lastState",
        "core.v1.ContainerStatus.state",
        "core.v1.EphemeralContainer.resources",
        "core.v1.Event.reportingComponent",
        "core.v1.Event.reportingInstance",
        "core.v1.Event.source",
        "core.v1.FileKeySelector.optional",
        "core.v1.GRPCAction.service",
        "core.v1.LocalObjectReference.name",
        "core.v1.NodeDaemonEndpoints.kubeletEndpoint",
        "core.v1.NodeRuntimeHandler.name",
        "core.v1.NodeStatus.daemonEndpoints",
        "core.v1.NodeStatus.nodeInfo",
        "core.v1.PersistentVolumeClaimSpec.resources",
        "core.v1.PodTemplate.template",
        "core.v1.ReplicationControllerSpec.minReadySeconds",
        "core.v1.SecretEnvSource.name",
        "core.v1.SecretKeySelector.name",
        "core.v1.SecretProjection.name",
        "core.v1.ServiceStatus.loadBalancer",
        "discovery.v1.Endpoint.conditions",
        "events.v1.Event.deprecatedSource",
        "events.v1.Event.regarding",
        "flowcontrol.v1.FlowSchemaSpec.matchingPrecedence",
        "flowcontrol.v1.LimitedPriorityLevelConfiguration.limitResponse",
        "flowcontrol.v1.QueuingConfiguration.handSize",
        "flowcontrol.v1.QueuingConfiguration.queueLengthLimit",
        "flowcontrol.v1.QueuingConfiguration.queues",
        "networking.v1.IngressServiceBackend.port",
        "networking.v1.IngressStatus.loadBalancer",
        "networking.v1.NetworkPolicySpec.podSelector",
        "policy.v1.PodDisruptionBudgetStatus.currentHealthy",
        "policy.v1.PodDisruptionBudgetStatus.desiredHealthy",
        "policy.v1.PodDisruptionBudgetStatus.disruptionsAllowed",
        "policy.v1.PodDisruptionBudgetStatus.expectedPods",
        "rbac.v1.RoleRef.apiGroup",
        "resource.v1.AllocationResult.devices",
        "resource.v1.ResourceClaimSpec.devices",
        "scheduling.v1.PriorityClass.value",
        f"{_APIEXTENSIONS}CustomResourceDefinitionStatus.acceptedNames",
        "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup.preferredVersion",
    }
)
_OTHERS: dict[str, Any] = {
    "core.v1.AzureDiskVolumeSource.cachingMode": "ReadWrite",
    "core.v1.AzureDiskVolumeSource.fsType": "ext4",
    "core.v1.AzureDiskVolumeSource.kind": "Shared",
    "core.v1.ContainerPort.protocol": "TCP",
    "core.v1.ISCSIPersistentVolumeSource.iscsiInterface": "default",
    "core.v1.ISCSIVolumeSource.iscsiInterface": "default",
    "core.v1.RBDPersistentVolumeSource.keyring": "/etc/ceph/keyring",
    "core.v1.RBDPersistentVolumeSource.pool": "rbd",
    "core.v1.RBDPersistentVolumeSource.user": "admin",
    "core.v1.RBDVolumeSource.keyring": "/etc/ceph/keyring",
    "core.v1.RBDVolumeSource.pool": "rbd",
    "core.v1.RBDVolumeSource.user": "admin",
    "core.v1.ReplicationControllerSpec.replicas": 1,
    "core.v1.ScaleIOPersistentVolumeSource.fsType": "xfs",
    "core.v1.ScaleIOPersistentVolumeSource.storageMode": "ThinProvisioned",
    "core.v1.ScaleIOVolumeSource.fsType": "xfs",
    "core.v1.ScaleIOVolumeSource.storageMode": "ThinProvisioned",
    "core.v1.ServicePort.protocol": "TCP",
    "resource.v1.DeviceToleration.operator": "Equal",
}


def default_of(owner: str, field: str, node: Node, *, required: bool) -> Any:
    """The default of one field of the type ``owner``, :data:`NONE` when it has none."""
    place = f"{owner.removeprefix(_API)}.{field}"
    if place in _OTHERS:
        return _OTHERS[place]
    if place in _WITHOUT:
        return NONE
    zeroed = required or place in _ZEROS
    if node.type == "object":
        return {} if zeroed or field in _PARTS else NONE
    return _ZERO.get(node.type, NONE) if zeroed else NONE
