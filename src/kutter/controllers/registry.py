"""Every controller, listed. Nothing is found by magic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kutter.api.catalog import Catalog
from kutter.api.resources import Resource
from kutter.api.types.apps_v1 import ReplicaSet
from kutter.api.types.coordination_v1beta1 import LeaseCandidate
from kutter.api.types.core_v1 import ReplicationController
from kutter.api.types.storagemigration_v1beta1 import StorageVersionMigration
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.client.client import Client
from kutter.controllers.bootstrap_tokens import BootstrapSigner, TokenCleaner
from kutter.controllers.certificates.approver import CertificateApprover
from kutter.controllers.certificates.authority import Authority
from kutter.controllers.certificates.cleaner import CertificateCleaner
from kutter.controllers.certificates.signer import CertificateSigner
from kutter.controllers.cluster_roles import ClusterRoleAggregator
from kutter.controllers.deployment.controller import DeploymentController
from kutter.controllers.disruption import DisruptionController
from kutter.controllers.endpoints.classic import EndpointsController
from kutter.controllers.endpoints.mirroring import EndpointSliceMirroringController
from kutter.controllers.endpoints.slices import EndpointSliceController
from kutter.controllers.garbage.collector import GarbageCollector
from kutter.controllers.leader_election import LeaderElectionController
from kutter.controllers.namespace import NamespaceController
from kutter.controllers.nodes.eviction import TaintEvictionController
from kutter.controllers.nodes.lifecycle import NodeLifecycleController
from kutter.controllers.nodes.ranges import NodeRangeController
from kutter.controllers.pod_gc import PodGarbageCollector
from kutter.controllers.replicas import ReplicaController
from kutter.controllers.resource_quota import ResourceQuotaController
from kutter.controllers.secret_tokens import Issue, SecretTokenController
from kutter.controllers.service_accounts import RootCaPublisher, ServiceAccountController
from kutter.controllers.service_cidrs import ServiceCIDRController
from kutter.controllers.service_lb import ServiceLoadBalancer
from kutter.controllers.storage_migration import StorageVersionMigrator
from kutter.controllers.storage_protection import (
    AttributesClassProtection,
    ClaimProtection,
    VolumeProtection,
)
from kutter.controllers.volumes.binding import ClaimBinder, VolumePhases
from kutter.machinery.controller import Controller
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """What controllers must know of the cluster. ``root_ca`` is PEM."""

    cluster_cidr: str = "10.42.0.0/16"
    root_ca: str = ""
    # Signs certificate requests; None: nobody here does.
    authority: Authority | None = None
    # Signs tokens kept in secrets; None: nobody here does.
    issue_for_secret: Issue | None = None
    clock: Clock = SYSTEM_CLOCK


ActAs = Callable[[str], Client]
"""The client of a service account of kube-system: each controller acts under its own. Without a
name: the controller manager itself."""


def build_controllers(
    act_as: ActAs,
    informers: InformerFactory,
    recorder: EventRecorder,
    catalog: Catalog,
    options: ControllerOptions,
) -> list[Controller]:
    """All of them, ready to be run by :class:`kutter.machinery.controller.ControllerRunner`.

    Accounts, and the components that events name, are upstream's. What an account may is in the
    API server's default policy: upstream's role, and additions of ours.
    """
    clock = options.clock

    def named(component: str, account: str = "") -> EventRecorder:
        return recorder.named(component, act_as(account or component))

    nodes, binder = act_as("node-controller"), act_as("persistent-volume-binder")
    volume_events = named("persistentvolume-controller", "persistent-volume-binder")
    return [
        NamespaceController(act_as("namespace-controller"), informers, catalog, clock),
        ServiceAccountController(act_as("service-account-controller"), informers),
        RootCaPublisher(act_as("root-ca-cert-publisher"), informers, options.root_ca),
        ReplicaController(
            ReplicaSet,
            act_as("replicaset-controller"),
            informers,
            named("replicaset-controller"),
            clock,
        ),
        ReplicaController(
            ReplicationController,
            act_as("replication-controller"),
            informers,
            named("replication-controller"),
            clock,
        ),
        DeploymentController(
            act_as("deployment-controller"), informers, named("deployment-controller"), clock
        ),
        EndpointsController(act_as("endpoint-controller"), informers),
        EndpointSliceController(act_as("endpointslice-controller"), informers),
        EndpointSliceMirroringController(act_as("endpointslicemirroring-controller"), informers),
        DisruptionController(
            act_as("disruption-controller"),
            informers,
            catalog,
            named("controllermanager", "disruption-controller"),
            clock,
        ),
        ServiceLoadBalancer(act_as("service-controller"), informers, named("service-controller")),
        NodeRangeController(
            nodes, informers, named("cidrAllocator", "node-controller"), options.cluster_cidr
        ),
        NodeLifecycleController(nodes, informers, named("node-controller"), clock),
        TaintEvictionController(
            nodes, informers, named("taint-eviction-controller", "node-controller"), clock
        ),
        PodGarbageCollector(act_as("pod-garbage-collector"), informers, clock),
        ClaimBinder(binder, informers, volume_events),
        VolumePhases(binder, informers, volume_events),
        ClaimProtection(act_as("pvc-protection-controller"), informers),
        VolumeProtection(act_as("pv-protection-controller"), informers),
        AttributesClassProtection(act_as("volumeattributesclass-protection-controller"), informers),
        ResourceQuotaController(act_as("resourcequota-controller"), informers, catalog, clock),
        ServiceCIDRController(act_as("service-cidrs-controller"), informers, clock),
        ClusterRoleAggregator(act_as("clusterrole-aggregation-controller"), informers),
        TokenCleaner(act_as("token-cleaner"), informers, clock),
        BootstrapSigner(act_as("bootstrap-signer"), informers, clock),
        *_optional_controllers(act_as, informers, catalog, clock),
        *_token_controllers(act_as(""), informers, options),
        *_certificate_controllers(act_as("certificate-controller"), informers, options),
        # Last: whatever the others watch it need not watch itself.
        GarbageCollector(
            act_as("generic-garbage-collector"),
            informers,
            catalog,
            named("garbage-collector-controller", "generic-garbage-collector"),
        ),
    ]


def _optional_controllers(
    act_as: ActAs, informers: InformerFactory, catalog: Catalog, clock: Clock
) -> list[Controller]:
    """Those of kinds that are served only when asked for."""
    found: list[Controller] = []
    if _serves(catalog, LeaseCandidate.resource):
        client = act_as("leader-election-controller")
        found.append(LeaderElectionController(client, informers, clock))
    if _serves(catalog, StorageVersionMigration.resource):
        client = act_as("storage-version-migrator-controller")
        found.append(StorageVersionMigrator(client, informers, catalog, clock))
    return found


def _serves(catalog: Catalog, resource: Resource) -> bool:
    return catalog.find(resource.group, resource.version, resource.plural) is not None


def _token_controllers(
    client: Client, informers: InformerFactory, options: ControllerOptions
) -> list[Controller]:
    """As upstream's under the controller manager's own name: it has an account for nobody else."""
    if options.issue_for_secret is None:
        return []
    return [SecretTokenController(client, informers, options.issue_for_secret, options.root_ca)]


def _certificate_controllers(
    client: Client, informers: InformerFactory, options: ControllerOptions
) -> list[Controller]:
    found: list[Controller] = [
        CertificateApprover(client, informers),
        CertificateCleaner(client, informers, options.clock),
    ]
    if options.authority is not None:
        found.append(CertificateSigner(client, informers, options.authority, options.clock))
    return found
