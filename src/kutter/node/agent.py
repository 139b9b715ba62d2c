"""One node's agent: composes workers, registration, services, server; owns their lives.

Reads pods bound to this node, services, endpoint slices, what pods refer to. Writes the Node,
its Lease, pod status, events. Knows the runtime, the network and the name server only by their
contracts; :mod:`kutter.cluster` wires the implementations. Laws: killed at any moment and
started again it adopts what runs and restarts nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from fractions import Fraction

from kutter.api.errors import ApiError
from kutter.api.types.core_v1 import Pod, Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.base.metrics import Gauge, Registry
from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.base.tasks import Scope, supervise
from kutter.client.client import Client
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import Change, Informer
from kutter.network.interface import DnsServer, ServiceRules
from kutter.node.cpu_rates import CpuRates
from kutter.node.dns import NodeDns, parse_resolv_conf
from kutter.node.housekeeping import Housekeeping
from kutter.node.images import ImagePuller
from kutter.node.kit import NodeKit, PodCgroups
from kutter.node.machine import read_disk, read_machine
from kutter.node.node_object import NodeFacts, compute_allocatable, compute_capacity
from kutter.node.options import NodeOptions
from kutter.node.pod_admission import NODE_AFFINITY, Rejection, admit
from kutter.node.pod_worker import PodWorker
from kutter.node.references import References
from kutter.node.registration import Registration
from kutter.node.resources import parse_amount
from kutter.node.runtime_view import RuntimeView
from kutter.node.server import KubeletServer
from kutter.node.services import ServiceProgrammer
from kutter.node.static_pods import StaticPods
from kutter.node.volumes.pod_volumes import Mounts
from kutter.runtime.cri import ContainerRuntime, ContainerState, CriError, ImageStore

_log = get_logger("node")

IMAGES_TTL_S = 60.0
# How often the node's labels are asked for before a pod that wants others is refused.
LABEL_TRIES = 5


class NodeAgent:
    """``run()`` serves until cancelled or ``stop()``; containers run on."""

    def __init__(
        self,
        options: NodeOptions,
        *,
        client: Client,
        runtime: ContainerRuntime,
        images: ImageStore,
        mounts: Mounts | None = None,
        cgroups: PodCgroups | None = None,
        services: ServiceRules | None = None,
        dns: DnsServer | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: Rng = SYSTEM_RNG,
        metrics: Registry | None = None,
        serve: bool = True,
    ) -> None:
        self.options = options
        self.client = client
        self.runtime = runtime
        self.images = images
        self.clock = clock
        self.metrics = metrics or Registry()
        self._add_metrics()
        self.ready = asyncio.Event()
        self.cpu_rates = CpuRates()
        self.workers: dict[str, PodWorker] = {}
        self._scope = Scope(f"node/{options.node_name}")
        self._stopped = asyncio.Event()
        self._serve = serve
        self._hostname = options.node_name
        self._machine = read_machine()
        self._not_ready: list[str] = []
        self._runtime_name = ("kutter", options.version)
        self.view = RuntimeView(runtime, self._wake, clock)
        self.pods: Informer[Pod] = Informer(
            client, Pod, field_selector=f"spec.nodeName={options.node_name}", clock=clock
        )
        self._services: Informer[Service] = Informer(client, Service, clock=clock)
        self._slices: Informer[EndpointSlice] = Informer(client, EndpointSlice, clock=clock)
        self._programmer = ServiceProgrammer(
            self._services,
            self._slices,
            node_name=options.node_name,
            rules=services,
            dns=dns,
            clock=clock,
        )
        self.registration = Registration(
            client, options, self._gather, hostname=self._hostname, clock=clock
        )
        self.kit = NodeKit(
            options=options,
            client=client,
            runtime=runtime,
            view=self.view,
            puller=ImagePuller(
                images,
                clock=clock,
                parallel=1 if options.serialize_pulls else options.maximum_parallel_pulls,
                registry_config=options.registry_config,
                on_pulled=self.registration.report_soon,
            ),
            references=References(client, self._scope, self._reference_changed, clock=clock),
            mounts=mounts or _kernel_mounts(),
            cgroups=cgroups or _kernel_cgroups(),
            recorder=EventRecorder(client, "kubelet", host=options.node_name, clock=clock),
            scope=self._scope,
            clock=clock,
            rng=rng,
            dns=self._node_dns(),
            hostname=self._hostname,
            services=lambda: tuple(self._services.items()),
            drained=self._programmer.drained,
            fits=self._fits,
            memory_capacity_bytes=self._machine.memory_bytes,
        )
        self.housekeeping = Housekeeping(self)
        self.static_pods = StaticPods(self)
        self.server = KubeletServer(self)

    def _add_metrics(self) -> None:
        add = self.metrics.add
        add(Gauge("kubelet_running_pods", "Pods with a worker", read=lambda: len(self.workers)))
        add(
            Gauge(
                "kubelet_running_containers",
                "Containers known to the runtime and running",
                read=lambda: sum(
                    c.state is ContainerState.RUNNING for c in self.view.all_containers()
                ),
            )
        )

    def _node_dns(self) -> NodeDns:
        options = self.options
        try:
            text = options.resolv_conf.read_text()
        except OSError:
            text = ""
        servers, searches, extra = parse_resolv_conf(text)
        return NodeDns(options.cluster_dns, options.cluster_domain, servers, searches, extra)

    # Life

    async def run(self) -> None:
        """Serve until cancelled or stopped. Raises what a bug raises."""
        scope, clock = self._scope, self.clock
        try:
            await self._prepare_node()
            await self._start_runtime()
            scope.start(
                supervise("runtime-events", self.view.follow, clock=clock), "runtime-events"
            )
            scope.start(self.view.relist_forever(self.options.relist_s), "runtime-relist")
            scope.start(self.kit.recorder.run(), "events")
            for informer in (self._services, self._slices):
                scope.start(informer.run(), f"informer/{informer.view.resource.plural}")
            scope.start(self._programmer.run(), "services")
            if self._serve:
                await self.server.start()
            await self.registration.register()
            scope.start(
                supervise("lease", self.registration.heartbeat_forever, clock=clock), "lease"
            )
            scope.start(
                supervise("node-status", self.registration.report_forever, clock=clock), "status"
            )
            await self._services.wait_synced()
            self.pods.on_event(self._pod_changed)
            scope.start(self.pods.run(), "informer/pods")
            await self.pods.wait_synced()
            await self.static_pods.start(scope)  # before orphans: these are not in the API
            await self.housekeeping.remove_orphans()
            self.housekeeping.start(scope)
            self.ready.set()
            stopped = scope.start(self._stopped.wait(), "stop")
            failed = scope.start(scope.wait_failed(), "failure")
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
        finally:
            await self.server.close()
            await scope.close()

    async def stop(self) -> None:
        """Let ``run()`` end. Containers run on."""
        self._stopped.set()

    async def _prepare_node(self) -> None:
        root = self.options.root
        (root / "pods").mkdir(parents=True, exist_ok=True)
        memory = root / "memory"
        memory.mkdir(exist_ok=True)
        if not self.kit.mounts.is_mounted(memory):
            self.kit.mounts.mount_tmpfs(memory, mode=0o755)
        self.options.pod_log_root.mkdir(parents=True, exist_ok=True)

    async def _start_runtime(self) -> None:
        while True:
            try:
                self._runtime_name = await self.runtime.version()
                self._not_ready = await self.runtime.check_ready()
                await self.view.relist()
            except (CriError, OSError) as error:
                _log.error("runtime not ready", error=str(error))
                await self.clock.sleep(1.0)
            else:
                self._set_allocatable(self._facts_now())
                return

    async def _gather(self) -> NodeFacts:
        facts = self._facts_now()
        try:
            self._not_ready = await self.runtime.check_ready()
            images = await self.images.list_images()
        except (CriError, OSError) as error:
            self._not_ready = [f"container runtime is down: {error}"]
            images = []
        self._set_allocatable(facts)
        return NodeFacts(
            machine=facts.machine,
            disk=facts.disk,
            images=images,
            runtime=self._runtime_name,
            not_ready=self._not_ready,
            pressure=self.housekeeping.pressure,
        )

    def _facts_now(self) -> NodeFacts:
        return NodeFacts(machine=self._machine, disk=read_disk(self.options.root))

    def _set_allocatable(self, facts: NodeFacts) -> None:
        amounts = compute_allocatable(self.options, compute_capacity(self.options, facts))
        found: dict[str, Fraction] = {k: parse_amount(v) for k, v in amounts.items()}
        self.kit.allocatable = found

    # Pods

    def _pod_changed(self, change: Change[Pod]) -> None:
        pod = change.new
        if pod is None:
            assert change.old is not None
            worker = self.workers.get(change.old.metadata.uid)
            if worker is not None:
                worker.mark_deleted()
            return
        if change.old is not None and change.old.metadata.uid != pod.metadata.uid:
            old = self.workers.get(change.old.metadata.uid)
            if old is not None:
                old.mark_deleted()
        if self.static_pods.owns(pod):
            return
        self.take(pod)

    def take(self, pod: Pod) -> None:
        """Run a pod, or tell its worker of its new form."""
        uid = pod.metadata.uid
        worker = self.workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        worker = PodWorker(self.kit, pod, self._pod_gone)
        self.workers[uid] = worker
        known = uid in self.view.pods()
        ended = pod.status.phase in ("Succeeded", "Failed")
        new = not known and not ended and pod.metadata.deletion_timestamp is None
        # Judged at once: of two that come together the first has the room.
        refused = self._refusal(worker) if new else None
        name = f"pod/{pod.metadata.namespace}/{pod.metadata.name}"
        self._scope.start(self._run(worker, refused), name)

    async def _run(self, worker: PodWorker, refused: Rejection | None) -> None:
        if refused is not None and refused.reason == NODE_AFFINITY:
            # The scheduler may know labels of this node that we do not know yet.
            refused = await self._judge_anew(worker)
        if refused is not None:
            self._refuse(worker, refused)
        await worker.run()

    async def _judge_anew(self, worker: PodWorker) -> Rejection | None:
        for _ in range(LABEL_TRIES):
            try:
                await self.registration.refresh()
            except (ApiError, OSError, TimeoutError) as error:
                _log.warning("node not read", error=str(error))
                await self.clock.sleep(1.0)
            else:
                break
        return self._refusal(worker)

    def _check(self, pod: Pod) -> Rejection | None:
        """Whether the pod may run beside the others of this node."""
        node = self.registration.node
        labels = dict(node.metadata.labels) if node is not None else {}
        # One deleted by force is still stopping here, but its room has been given away already:
        # refusing whom it was given to would fail pods for good.
        others = [
            w.pod
            for w in self.workers.values()
            if not w.ended and not w.deleted and w.uid != pod.metadata.uid
        ]
        try:
            return admit(
                pod,
                others,
                allocatable=self.kit.allocatable,
                labels=labels,
                node_name=self.options.node_name,
            )
        except (ValueError, ArithmeticError) as error:
            return Rejection("UnexpectedAdmissionError", f"Unexpected error: {error}")

    def _fits(self, pod: Pod) -> str | None:
        refused = self._check(pod)
        # Labels count when a pod comes, not while it runs.
        if refused is None or refused.reason == NODE_AFFINITY:
            return None
        return refused.message

    def _refusal(self, worker: PodWorker) -> Rejection | None:
        return self._check(worker.pod) or self.housekeeping.refuses(worker.pod)

    def _refuse(self, worker: PodWorker, refused: Rejection) -> None:
        self.kit.recorder.event(worker.pod, "Warning", refused.reason, refused.message)
        worker.terminate(reason=refused.reason, message=refused.message, grace_s=0, phase="Failed")

    def _pod_gone(self, uid: str) -> None:
        worker = self.workers.pop(uid, None)
        if worker is None:
            return
        for other in self.workers.values():
            other.resize.room_came()
        meta = worker.pod.metadata
        again = self.pods.get(f"{meta.namespace}/{meta.name}")
        if again is not None and again.metadata.uid == uid and not worker.deleted:
            # The API still shows it (a finalizer, a delayed watch): nothing left to do here.
            _log.debug("pod let go", pod=meta.name)

    def _wake(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is not None:
            worker.wake()

    def _reference_changed(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is not None:
            worker.references_changed()

    def remove_pod_files(self, uid: str) -> None:
        """Undo what an agent before us left of a pod that is no more. Raises OSError."""
        for path in (self.options.root / "pods" / uid, self.options.root / "memory" / uid):
            self.kit.mounts.unmount_below(path)
            shutil.rmtree(path, ignore_errors=True)


def node_name_of_machine() -> str:
    """The name a node has when none is given: the host name, lower case."""
    return socket.gethostname().lower()


def _kernel_mounts() -> Mounts:
    from kutter.node.volumes.mounts import KernelMounts

    return KernelMounts()


def _kernel_cgroups() -> PodCgroups:
    from kutter.node.cgroups import KernelPodCgroups

    return KernelPodCgroups()
