"""Pods and pod templates (``pkg/registry/core/pod/strategy.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from kutter.api.errors import FieldError
from kutter.api.resources import Resource
from kutter.apiserver.kinds.pod_creation import (
    keep_all_but_resources,
    merge_label_keys,
    take_app_armor,
)
from kutter.apiserver.kinds.pod_defaults import (
    default_pod,
    default_pod_spec,
    mirror_service_account,
)
from kutter.apiserver.kinds.pod_status import (
    drop_volume_status,
    keep_observed,
    mirror_addresses,
    qos_class,
)
from kutter.apiserver.kinds.pod_warnings import pod_warnings
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.known_specs import KnownSpecs
from kutter.apiserver.ports import Tree
from kutter.apiserver.settled import SettledSpecs
from kutter.apiserver.validation import text
from kutter.apiserver.validation.pod_spec import (
    recent,
    validate_pod_create,
    validate_pod_template,
)
from kutter.apiserver.validation.pod_status import validate_pod_status_update
from kutter.apiserver.validation.pod_update import (
    validate_ephemeral_containers_update,
    validate_pod_update,
    validate_resize,
)
from kutter.apiserver.validation.remembered import ValidSpecs

# Specifications nothing is to be told about.
_quiet = ValidSpecs()
_NAME_WARNING = (
    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
    "a DNS label is recommended: [{}]"
)


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str | None = None
    restart_policy: str | None = None
    scheduler_name: str | None = None
    service_account_name: str | None = None
    host_network: bool | None = None


class _Status(msgspec.Struct, rename="camel"):
    phase: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    nominated_node_name: str | None = None


class _Selectable(msgspec.Struct):
    """What pods are selected by: the scheduler and every node watch by these."""

    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)

    def values(self) -> dict[str, str]:
        spec, status = self.spec, self.status
        return {
            "spec.nodeName": spec.node_name or "",
            "spec.host": spec.node_name or "",  # what clients of old call it
            "spec.restartPolicy": spec.restart_policy or "",
            "spec.schedulerName": spec.scheduler_name or "",
            "spec.serviceAccountName": spec.service_account_name or "",
            "spec.hostNetwork": "true" if spec.host_network else "false",
            "status.phase": status.phase or "",
            "status.podIP": status.pod_ip or "",
            "status.podIPs": "",  # a label upstream knows and never fills
            "status.nominatedNodeName": status.nominated_node_name or "",
        }


_decode_selectable = msgspec.json.Decoder(_Selectable).decode
_LABELS = frozenset(_Selectable().values())


class PodKind(SpecKind):
    return_deleted_object: ClassVar[bool] = True
    foretells: ClassVar[bool] = True
    field_labels: ClassVar[frozenset[str]] = _LABELS

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.known_specs = KnownSpecs()
        self.settled_specs = SettledSpecs()

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        default_pod_spec(spec)
        default_pod(spec)
        self.default_beside_spec(tree)

    def default_beside_spec(self, tree: Tree) -> None:
        status = tree.get("status")
        if status:
            mirror_addresses(status)

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        spec = spec_of(tree)
        conditions = []
        if spec.get("schedulingGates"):
            conditions.append(
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": context.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            )
        tree["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
        if conditions:
            tree["status"]["conditions"] = conditions
        metadata = tree.get("metadata") or {}
        merge_label_keys(spec, metadata.get("labels") or {})
        if metadata.get("annotations"):
            context.warnings += take_app_armor(spec, metadata["annotations"])

    def canonicalize(self, tree: Tree) -> None:
        # Admission may have named the service account meanwhile.
        mirror_service_account(tree["spec"])

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_status_update(context, new, old)
        status = new.get("status")
        if status is not None:
            mirror_addresses(status)
        else:
            status = new["status"] = {}
        before = old.get("status") or {}
        if not status.get("qosClass") and before.get("qosClass"):
            status["qosClass"] = before["qosClass"]
        keep_observed(status, before)
        drop_volume_status(status)

    def prepare_for_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> None:
        if part == "resize":
            keep_all_but_resources(spec_of(new), old.get("spec") or {})

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        return validate_pod_create(tree)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        return validate_pod_update(new, old, settled=context.settled)

    def validate_status_update(
        self, context: StrategyContext, new: Tree, old: Tree
    ) -> list[FieldError]:
        return validate_pod_status_update(new, old)

    def validate_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> list[FieldError]:
        if part == "ephemeralcontainers":
            return validate_ephemeral_containers_update(new, old)
        return validate_resize(new, old) if part == "resize" else []

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        if old is not None:
            # Programs change pods, and seldom people.
            return []
        metadata = new.get("metadata") or {}
        problems = text.dns_label(metadata.get("name") or "")
        told = [_NAME_WARNING.format(" ".join(problems))] if problems else []
        spec = new.get("spec") or {}
        # Whatever annotation is warned of, it is one of the system's.
        told_of = any(".kubernetes.io/" in key for key in metadata.get("annotations") or ())
        key = None if told_of else recent.key(spec)
        if key is not None and key in _quiet:
            return context.warnings + told
        found = pod_warnings(new)
        if key is not None and not found:
            _quiet.add(key)
        return context.warnings + told + found

    def grace_period_s(self, tree: Tree, requested_s: int | None) -> int | None:
        """The request's, else the pod's own; none for pods no node knows or that have ended."""
        spec, status = tree.get("spec") or {}, tree.get("status") or {}
        period = requested_s
        if period is None:
            period = spec.get("terminationGracePeriodSeconds")
            if period is None:
                period = 0
        if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
            return 0
        return 1 if period < 0 else period

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return msgspec.convert(tree, _Selectable).values()

    def select_fields(self, data: bytes) -> Mapping[str, str]:
        return _decode_selectable(data).values()


class PodTemplateKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("template",)

    def default(self, tree: Tree) -> None:
        template = setdefault(tree, "template", {})
        default_pod_spec(setdefault(template, "spec", {}))

    def check(self, tree: Tree) -> list[FieldError]:
        errors: list[FieldError] = []
        validate_pod_template(errors, tree.get("template") or {}, "template")
        return errors

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        return pod_warnings(new.get("template") or {}, "template")
