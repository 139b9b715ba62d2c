"""Pods keep to the standard their namespace asks for (PodSecurity).

Pods are refused; workloads, whose pods would be, are only warned of and noted in the audit log.
https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from kutter.api.errors import invalid_object
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.pod_security.policy import (
    LATEST,
    PREFIX,
    LevelVersion,
    Policy,
    evaluate,
    policy_of,
    render,
)
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree
from kutter.base.metrics import Counter, Registry

# Pods looked at when a namespace becomes stricter.
POD_LIMIT = 3000
_PODS_AT_ONCE = 100
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
# Subresources of pods that leave its specification alone.
_HARMLESS = frozenset(
    {"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"}
)
# Where the pod template of a workload is.
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}


# Versions beyond the server's own count as one: labels are written by users.
_SERVER_MINOR = 36


class PodSecurityMetrics:
    """What was found, counted; names are upstream's."""

    def __init__(self, registry: Registry) -> None:
        request = ("request_operation", "resource", "subresource")
        self._evaluations = registry.add(
            Counter(
                "pod_security_evaluations_total",
                "Number of policy evaluations that occurred, not counting ignored or exempt "
                "requests.",
                ("decision", "policy_level", "policy_version", "mode", *request),
            )
        )
        self._exemptions = registry.add(
            Counter(
                "pod_security_exemptions_total",
                "Number of exempt requests, not counting ignored or out of scope requests.",
                request,
            )
        )
        self._errors = registry.add(
            Counter(
                "pod_security_errors_total",
                "Number of errors preventing normal evaluation. Non-fatal errors may result in "
                "the latest restricted profile being used for evaluation.",
                ("fatal", *request),
            )
        )

    def evaluated(
        self, request: AdmissionRequest, mode: str, wanted: LevelVersion, *, denied: bool
    ) -> None:
        version = str(wanted).partition(":")[2]
        if _SERVER_MINOR < wanted.minor < LATEST:
            version = "future"
        decision = "deny" if denied else "allow"
        self._evaluations.inc(decision, wanted.level, version, mode, *_labels_of(request))

    def exempted(self, request: AdmissionRequest) -> None:
        self._exemptions.inc(*_labels_of(request))

    def erred(self, request: AdmissionRequest) -> None:
        self._errors.inc("false", *_labels_of(request))


def _labels_of(request: AdmissionRequest) -> tuple[str, str, str]:
    kind = "pod" if request.resource.plural == "pods" else "controller"
    return request.operation.lower(), kind, request.subresource


class PodSecurityOptions(msgspec.Struct, frozen=True):
    """What counts where labels say nothing, and who is exempt."""

    defaults: Policy = msgspec.field(default_factory=Policy)
    usernames: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()


class PodSecurity(Plugin):
    name = "PodSecurity"
    repeatable = True

    def __init__(self, options: PodSecurityOptions | None = None) -> None:
        self._options = options or PodSecurityOptions()
        self.metrics = PodSecurityMetrics(Registry())

    def wants(self, resource: str, operation: Operation) -> bool:
        if operation not in ("CREATE", "UPDATE"):
            return False
        if resource == "namespaces" or resource in _TEMPLATES:
            return True
        main, _, subresource = resource.partition("/")
        return main == "pods" and subresource not in _HARMLESS

    async def validate(self, request: AdmissionRequest) -> None:
        what = request.resource.group_resource
        if what == "namespaces":
            await self._check_namespace(request)
            return
        exemption = self._exemption(request)
        if exemption:
            self._exempt(request, exemption)
            return
        labels = request.reader.labels("namespaces", "", request.namespace) or {}
        policy, error = self._policy(labels)
        if policy.asks_nothing and not error:
            return
        self._check_object(request, policy, error)

    def _policy(self, labels: Mapping[str, str]) -> tuple[Policy, str]:
        """The policy, and what is wrong with the labels."""
        if not any(key.startswith(PREFIX) for key in labels):
            return self._options.defaults, ""
        policy, errors = policy_of(labels, self._options.defaults)
        return policy, ", ".join(str(error) for error in errors)

    def _exemption(self, request: AdmissionRequest) -> str:
        if request.namespace in self._options.namespaces:
            return "namespace"
        return "user" if request.user.name in self._options.usernames else ""

    def _exempt(self, request: AdmissionRequest, why: str) -> None:
        request.once = True
        self.metrics.exempted(request)
        _note(request, "exempt", why)

    # -- pods and workloads --------------------------------------------------------

    def _check_object(self, request: AdmissionRequest, policy: Policy, error: str) -> None:
        is_pod = request.resource.plural == "pods"
        pod = request.object if is_pod else _template_of(request)
        if not pod or not pod.get("spec"):
            return
        metadata, spec = pod.get("metadata") or {}, pod["spec"]
        if spec.get("runtimeClassName") in self._options.runtime_classes:
            self._exempt(request, "runtimeClass")
            return
        if is_pod and request.old is not None and not _matters(request.old, pod):
            return
        request.once = True
        if error:
            self.metrics.erred(request)
            _note(request, "error", f"Failed to parse policy: {error}")
        seen: dict[LevelVersion, str] = {}

        def violations(wanted: LevelVersion) -> str:
            found = seen.get(wanted)
            if found is None:
                found = seen[wanted] = render(evaluate(wanted, metadata, spec))
            return found

        refused = violations(policy.enforce) if is_pod else ""
        if is_pod:
            _note(request, "enforce-policy", str(policy.enforce))
            self.metrics.evaluated(request, "enforce", policy.enforce, denied=bool(refused))
        noted = violations(policy.audit)
        if noted:
            self.metrics.evaluated(request, "audit", policy.audit, denied=True)
            text = f'would violate PodSecurity "{policy.audit}": {noted}'
            _note(request, "audit-violations", text)
        if refused:
            raise refusal(request, f'violates PodSecurity "{policy.enforce}": {refused}')
        told = violations(policy.warn)
        if told:
            self.metrics.evaluated(request, "warn", policy.warn, denied=True)
            request.warnings.append(f'would violate PodSecurity "{policy.warn}": {told}')

    # -- namespaces ----------------------------------------------------------------

    async def _check_namespace(self, request: AdmissionRequest) -> None:
        labels, before = _labels(request.object), _labels(request.old)
        if labels == before and request.operation == "UPDATE":
            return
        defaults = self._options.defaults
        policy, errors = policy_of(labels, defaults)
        was, old_errors = policy_of(before, defaults)
        if errors and (request.operation == "CREATE" or errors != old_errors):
            raise invalid_object("Namespace", request.name, errors)
        if request.operation == "CREATE" or policy.enforce == was.enforce:
            return
        relaxed = (
            policy.enforce.minor == was.enforce.minor
            and policy.enforce.strictness <= was.enforce.strictness
        )
        exempt = request.name in self._options.namespaces
        if policy.enforce.level == "privileged" or relaxed or exempt:
            return
        request.warnings += await self._warn_of_pods(request, policy.enforce)

    async def _warn_of_pods(self, request: AdmissionRequest, wanted: LevelVersion) -> list[str]:
        """The pods that are there and would be refused now, those with the same faults as one."""
        groups: dict[str, list[str]] = {}
        total = 0
        for pod in request.reader.list("pods", request.name):
            total += 1
            if total > POD_LIMIT:
                continue
            if total % _PODS_AT_ONCE == 0:
                await asyncio.sleep(0)
            spec = pod.get("spec") or {}
            if spec.get("runtimeClassName") in self._options.runtime_classes:
                continue
            found = evaluate(wanted, pod.get("metadata") or {}, spec)
            if found:
                reasons = ", ".join(finding.reason for finding in found)
                groups.setdefault(reasons, []).append(pod["metadata"]["name"])
        warnings = []
        if total > POD_LIMIT:
            warnings.append(
                "new PodSecurity enforce level only checked against the first "
                f"{POD_LIMIT} of {total} existing pods"
            )
        if groups:
            warnings.append(
                f'existing pods in namespace "{request.name}" violate the new PodSecurity '
                f'enforce level "{wanted}"'
            )
        return warnings + sorted(_group_text(r, names) for r, names in groups.items())


def _group_text(reasons: str, names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return f"{names[0]}: {reasons}"
    return f"{min(names)} (and {others} other pod{'s' if others > 1 else ''}): {reasons}"


def _labels(tree: Tree | None) -> dict[str, str]:
    return ((tree or {}).get("metadata") or {}).get("labels") or {}


def _note(request: AdmissionRequest, key: str, value: str) -> None:
    if request.annotate is not None:
        request.annotate(PREFIX + key, value)


def _template_of(request: AdmissionRequest) -> Tree | None:
    found: Any = request.object
    for name in _TEMPLATES[request.resource.group_resource]:
        found = (found or {}).get(name)
    return found or None


def _matters(old: Tree, new: Tree) -> bool:
    """Whether an update touches what the standards look at: images, seccomp, containers."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    notes = [(t.get("metadata") or {}).get("annotations") or {} for t in (old, new)]
    if notes[0].get(_SECCOMP_POD) != notes[1].get(_SECCOMP_POD):
        return True
    for listing in ("containers", "initContainers"):
        if len(before.get(listing) or ()) != len(after.get(listing) or ()):
            return True
    for listing in ("containers", "initContainers", "ephemeralContainers"):
        known = {c["name"]: c for c in before.get(listing) or ()}
        for container in after.get(listing) or ():
            same = known.get(container["name"])
            key = _SECCOMP_CONTAINER + container["name"]
            if same is None or same.get("image") != container.get("image"):
                return True
            if notes[0].get(key) != notes[1].get(key):
                return True
    return False
