"""Every controller, listed. Nothing is found by magic."""

from __future__ import annotations

from dataclasses import dataclass

from kutter.api.catalog import Catalog
from kutter.api.types.apps_v1 import ReplicaSet
from kutter.api.types.core_v1 import ReplicationController
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.client.client import Client
from kutter.controllers.deployment.controller import DeploymentController
from kutter.controllers.disruption import DisruptionController
from kutter.controllers.endpoints.classic import EndpointsController
from kutter.controllers.endpoints.mirroring import EndpointSliceMirroringController
from kutter.controllers.endpoints.slices import EndpointSliceController
from kutter.controllers.garbage.collector import GarbageCollector
from kutter.controllers.namespace import NamespaceController
from kutter.controllers.nodes.eviction import TaintEvictionController
from kutter.controllers.nodes.lifecycle import NodeLifecycleController
from kutter.controllers.nodes.ranges import NodeRangeController
from kutter.controllers.pod_gc import PodGarbageCollector
from kutter.controllers.replicas import ReplicaController
from kutter.controllers.service_accounts import RootCaPublisher, ServiceAccountController
from kutter.controllers.service_lb import ServiceLoadBalancer
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
    clock: Clock = SYSTEM_CLOCK


def build_controllers(
    client: Client,
    informers: InformerFactory,
    recorder: EventRecorder,
    catalog: Catalog,
    options: ControllerOptions,
) -> list[Controller]:
    """All of them, ready to be run by :class:`kutter.machinery.controller.ControllerRunner`."""
    # Events name the controller as upstream's do.
    clock, named = options.clock, recorder.named
    return [
        NamespaceController(client, informers, catalog, clock),
        ServiceAccountController(client, informers),
        RootCaPublisher(client, informers, options.root_ca),
        GarbageCollector(client, informers, catalog, named("garbage-collector-controller")),
        ReplicaController(ReplicaSet, client, informers, named("replicaset-controller"), clock),
        ReplicaController(
            ReplicationController, client, informers, named("replication-controller"), clock
        ),
        DeploymentController(client, informers, named("deployment-controller"), clock),
        EndpointsController(client, informers),
        EndpointSliceController(client, informers),
        EndpointSliceMirroringController(client, informers),
        DisruptionController(client, informers, catalog, named("controllermanager"), clock),
        ServiceLoadBalancer(client, informers, named("service-controller")),
        NodeRangeController(client, informers, named("cidrAllocator"), options.cluster_cidr),
        NodeLifecycleController(client, informers, named("node-controller"), clock),
        TaintEvictionController(client, informers, named("taint-eviction-controller"), clock),
        PodGarbageCollector(client, informers, clock),
        ClaimBinder(client, informers, named("persistentvolume-controller")),
        VolumePhases(client, informers, named("persistentvolume-controller")),
        ClaimProtection(client, informers),
        VolumeProtection(client, informers),
        AttributesClassProtection(client, informers),
    ]
