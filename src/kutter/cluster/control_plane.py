"""The server's parts put together: store, API server, controllers, scheduler, in one loop.

The same composition serves ``kutter server`` (SQLite, TLS, from files) and the test kit (memory,
everything ephemeral).
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kutter.api.catalog import BUILTIN, Catalog
from kutter.api.runtime_config import served_resources
from kutter.apiserver.admission.options import AdmissionOptions
from kutter.apiserver.aggregation.authentication_config import ensure_authentication_config
from kutter.apiserver.aggregation.front_proxy import FrontProxy
from kutter.apiserver.authn.identity import GROUP_AUTHENTICATED, User
from kutter.apiserver.authn.service_accounts import account_user
from kutter.apiserver.bootstrap import SYSTEM_USER, bootstrap, publish_cluster_info
from kutter.apiserver.compaction import Compactor
from kutter.apiserver.encryption.at_rest import EncryptionAtRest
from kutter.apiserver.identity_lease import IdentityLease
from kutter.apiserver.kinds.registry import KindOptions, Kinds, kind_modules
from kutter.apiserver.kubernetes_service import ensure_kubernetes_service
from kutter.apiserver.printing.registry import printer_for
from kutter.apiserver.security import Security, SecurityOptions
from kutter.apiserver.server import ApiServer, ServerParts
from kutter.apiserver.service_addresses import ServiceAddresses
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.metrics import Registry
from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.base.tasks import Scope, supervise
from kutter.client.client import Client
from kutter.client.local import LocalTransport
from kutter.cluster.api_options import ApiServerOptions, seconds_of
from kutter.cluster.start_steps import StartSteps, problem_of
from kutter.http.client import HttpClient
from kutter.machinery.controller import ControllerRunner
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory
from kutter.store.interface import Store

if TYPE_CHECKING:
    from kutter.apiserver.audit.auditor import Auditor
    from kutter.apiserver.authn.authenticator import TokenAuthenticator
    from kutter.cluster.identity import Identity

SCHEDULER = User("system:kube-scheduler", groups=(GROUP_AUTHENTICATED,))
# What the first requests that need it would have to wait for; most starts see none of them.
_SELDOM = (
    "kutter.apiserver.openapi",
    "kutter.apiserver.yaml_documents",
    "kutter.apiserver.subresources.proxy",
    "kutter.apiserver.custom.kind",
    "kutter.apiserver.custom.rules",
    "kutter.apiserver.custom.scale",
    "kutter.apiserver.admission.dynamic.webhook_plugins",
    "kutter.apiserver.admission.dynamic.validating_policy",
    "kutter.apiserver.admission.dynamic.mutating_policy",
    "kutter.apiserver.admission.dynamic.type_checking",
    "kutter.apiserver.authz.webhook",
    "kutter.apiserver.validation.device_claim_status",
)
# Watches for all controllers. Each of them acts under a service account of its own.
CONTROLLERS = User("system:kube-controller-manager", groups=(GROUP_AUTHENTICATED,))
# Events on their way at a time: as many share a commit, and none needs a connection.
_EVENT_WRITERS = 32


class ControlPlaneOptions(msgspec.Struct, frozen=True):
    """What distinguishes one control plane from another. PEM where keys are meant."""

    token_key_pem: bytes
    root_ca_pem: bytes = b""
    # The key of the root CA, to sign certificate requests; empty: nobody here signs any.
    root_ca_key_pem: bytes = b""
    front_proxy: FrontProxy | None = None
    front_proxy_ca_pem: bytes = b""
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    node_ports: str = "30000-32767"
    cluster_domain: str = "cluster.local"
    address: str = "127.0.0.1"
    port: int = 6443
    api: ApiServerOptions = msgspec.field(default_factory=ApiServerOptions)
    with_controllers: bool = True
    with_scheduler: bool = True

    def __repr__(self) -> str:
        return "ControlPlaneOptions(...)"  # no keys in a log


class ControlPlane:
    """``start`` it in a scope, then requests go to ``api.handle``."""

    def __init__(
        self,
        store: Store,
        options: ControlPlaneOptions,
        *,
        node_client: HttpClient | None = None,
        pod_client: HttpClient | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: Rng = SYSTEM_RNG,
    ) -> None:
        self._options = options
        self._clock = clock
        self._rng = rng
        resources = served_resources(options.api.runtime_config)
        self._optional = frozenset(r.api_version for r in resources).difference(
            r.api_version for r in BUILTIN
        )
        self._encryption = (
            EncryptionAtRest(
                Path(options.api.encryption_provider_config), store, lambda: Catalog(resources)
            )
            if options.api.encryption_provider_config
            else None
        )
        self.store = store if self._encryption is None else self._encryption.store
        self.metrics = Registry()
        issuer = f"https://kubernetes.default.svc.{options.cluster_domain}"
        self.security = Security(
            SecurityOptions(
                token_key_pem=options.token_key_pem,
                issuer=issuer,
                first_tokens=_first_tokens(options.api, issuer),
                admission=_admission_options(options.api),
            ),
            clock=clock,
            rng=rng,
        )
        self._identity = _identity(options.api, self.security, clock)
        self._kinds = kinds = Kinds(
            KindOptions(
                service_cidrs=(options.service_cidr,),
                node_ports=options.node_ports,
                event_ttl_s=seconds_of(options.api, "event_ttl"),
                coordinated_leases="coordination.k8s.io/v1beta1" in self._optional,
            )
        )
        self.api = ApiServer(
            ServerParts(
                store=self.store,
                catalog=Catalog(resources),
                strategy_for=kinds.strategy_for,
                printer_for=printer_for,
                node_client=node_client,
                pod_client=pod_client,
                advertised_address=f"{options.address}:{options.port}",
                clock=clock,
                rng=rng,
                metrics=self.metrics,
                front_proxy=options.front_proxy,
                seats=options.api.max_requests_inflight
                + options.api.max_mutating_requests_inflight,
                request_timeout_s=seconds_of(options.api, "request_timeout"),
                **self.security.parts(),
            )
        )
        self._steps = StartSteps(self.api.health)
        self.api.health.add(
            "autoregister-completion",
            self.api.registration.problem,
            ("healthz", "livez", "readyz"),
        )
        self.api.auditor = self._auditor()

    def _auditor(self) -> Auditor | None:
        options = self._options.api
        if not options.differs("audit_"):
            return None
        # As below: what nothing is set of is read in by nobody.
        from kutter.cluster.audit import build_auditor

        return build_auditor(
            options, explain=self.security.rbac.explain, clock=self._clock, metrics=self.metrics
        )

    def client(self, user: User, *, user_agent: str = "kutter") -> Client:
        """A client that calls this server in-process as ``user``."""
        return Client(LocalTransport(self.api.handle, user), user_agent=user_agent)

    async def start(self, scope: Scope) -> None:
        """Fill caches, write what every cluster holds, start controllers and scheduler."""
        options = self._options
        auditor = self.api.auditor
        for sink in auditor.sinks if auditor is not None else ():
            scope.start(supervise(f"audit-{sink.name}", sink.run), f"audit-{sink.name}")
        steps = self._steps
        await self.api.start()
        steps.reached("caches")
        self.security.follow(self.api.caches)
        self.security.reserve_in(self.api.storage_of("", "resourcequotas"))
        self.security.attach(self.api)
        await bootstrap(self.api.handle, self.api.caches, self._optional)
        steps.reached("bootstrap")
        if options.root_ca_pem:
            host = f"[{options.address}]" if ":" in options.address else options.address
            await publish_cluster_info(
                self.api.handle,
                self.api.caches,
                server_url=f"https://{host}:{options.port}",
                ca_pem=options.root_ca_pem,
            )
        ranges = self._kinds.service_ranges
        addresses = ServiceAddresses(self.api, ranges, (options.service_cidr,))
        await addresses.start()
        self._keep(scope, "service-addresses", addresses.run)
        await ensure_kubernetes_service(
            self.api,
            service_cidrs=(options.service_cidr,),
            advertised=(options.address, options.port),
        )
        steps.reached("kubernetes-service")
        await ensure_authentication_config(
            self.api,
            client_ca_pem=options.root_ca_pem,
            front_proxy_ca_pem=options.front_proxy_ca_pem,
        )
        steps.reached("authentication-config")
        self._start_upkeep(scope)
        # One copy of what is watched for the whole process: each event is decoded once and each
        # object held once, whoever reads it. Writes go out under each component's own name.
        informers = InformerFactory(
            self.client(CONTROLLERS, user_agent="kutter-informers"), clock=self._clock
        )
        # The API answers before these are read in: half of what a start costs is their imports.
        await _read_in("jwt", *kind_modules())
        if options.with_controllers:
            await _read_in("kutter.controllers.registry")
            self._start_controllers(scope, informers)
        if options.with_scheduler:
            await _read_in("kutter.scheduler.scheduler")
            self._start_scheduler(scope, informers)
        await _read_in(*_SELDOM)

    def _keep(self, scope: Scope, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run for as long as the server serves; the step of that name is done."""
        self._steps.reached(name, scope.start(supervise(name, run), name))

    def _start_upkeep(self, scope: Scope) -> None:
        """What the API server does by itself, beside answering."""
        options = self._options
        self._keep(scope, "aggregation", self.api.registration.run)
        self._keep(scope, "priority-and-fairness", self.api.fairness_configuration.run)
        if self._identity is not None:
            self._identity.start(scope)
        lease = IdentityLease(self.client(SYSTEM_USER, user_agent="kutter"), clock=self._clock)
        self._keep(scope, "identity-lease", lease.run)
        self._keep(scope, "custom-resources", self.api.definitions.run)
        self._keep(scope, "admission", self.security.dynamic.run)
        interval_s = seconds_of(options.api, "etcd_compaction_interval")
        if interval_s:
            compactor = Compactor(self.store, interval_s=interval_s, clock=self._clock)
            scope.start(supervise("compaction", compactor.run), "compaction")
        if self._encryption is not None:
            encryption = self._encryption
            work = supervise("encryption", lambda: encryption.run(self._clock))
            scope.start(work, "encryption")

    def _start_controllers(self, scope: Scope, informers: InformerFactory) -> None:
        from kutter.controllers.certificates.authority import Authority
        from kutter.controllers.registry import ControllerOptions, build_controllers

        options = self._options
        authority = None
        if options.root_ca_key_pem:
            authority = Authority(options.root_ca_pem, options.root_ca_key_pem)

        def act_as(account: str) -> Client:
            user = account_user("kube-system", account, "") if account else CONTROLLERS
            return self.client(user, user_agent="kutter-controllers")

        recorder = EventRecorder(
            self.client(CONTROLLERS, user_agent="kutter-controllers"),
            "kutter-controllers",
            clock=self._clock,
            writers=_EVENT_WRITERS,
        )
        controllers = build_controllers(
            act_as,
            informers,
            recorder,
            self.api.catalog,
            ControllerOptions(
                cluster_cidr=options.cluster_cidr,
                root_ca=options.root_ca_pem.decode(),
                authority=authority,
                issue_for_secret=self.security.issuer.issue_for_secret,
                clock=self._clock,
            ),
        )
        runners = [ControllerRunner(c, metrics=self.metrics) for c in controllers]
        informers.start(scope.start)
        scope.start(supervise("controller-events", recorder.run), "controller-events")
        tasks = [
            scope.start(supervise(controller.name, runner.run), controller.name)
            for controller, runner in zip(controllers, runners, strict=True)
        ]
        self.api.health.components["controller-manager"] = lambda: problem_of(tasks)

    def _start_scheduler(self, scope: Scope, informers: InformerFactory) -> None:
        from kutter.scheduler.scheduler import Scheduler

        client = self.client(SCHEDULER, user_agent="kutter-scheduler")
        recorder = EventRecorder(
            client, "default-scheduler", clock=self._clock, writers=_EVENT_WRITERS
        )
        scheduler = Scheduler(
            client, informers, recorder, clock=self._clock, rng=self._rng, metrics=self.metrics
        )
        informers.start(scope.start)
        scope.start(supervise("scheduler-events", recorder.run), "scheduler-events")
        task = scope.start(supervise("scheduler", scheduler.run), "scheduler")
        self.api.health.components["scheduler"] = lambda: problem_of([task])

    async def stop(self) -> None:
        """End watches and close the store; call after the scope is closed."""
        await self.api.stop()
        if self._identity is not None:
            await self._identity.close()
        await self.store.close()
        if self.api.auditor is not None:
            await self.api.auditor.close()


async def _read_in(*modules: str) -> None:
    """Import modules one by one, apart from the loop."""
    for module in modules:
        await asyncio.to_thread(importlib.import_module, module)


# What takes a file or a word of the settings to be of use is read in where there is one: each
# brings with it YAML, JSON Web Tokens, calls of webhooks or expressions.


def _admission_options(options: ApiServerOptions) -> AdmissionOptions:
    if not options.differs("enable_admission", "disable_admission", "admission_"):
        return AdmissionOptions()
    from kutter.apiserver.admission.configuration import read_admission_options

    return read_admission_options(
        options.enable_admission_plugins,
        options.disable_admission_plugins,
        options.admission_control_config_file,
    )


def _first_tokens(options: ApiServerOptions, issuer: str) -> tuple[TokenAuthenticator, ...]:
    if not options.token_auth_file:
        return ()
    from kutter.cluster.identity import first_tokens

    return tuple(first_tokens(options, (issuer,)))


def _identity(options: ApiServerOptions, security: Security, clock: Clock) -> Identity | None:
    if not options.differs("authentication_", "authorization_", "oidc_"):
        return None
    from kutter.cluster.identity import Identity

    return Identity(options, security, clock=clock)
