"""pods/binding: a pod is given its node. What every scheduler calls.

Upstream: ``pkg/registry/core/pod/storage`` (BindingREST). Node, annotations and labels of the
binding are taken over and PodScheduled becomes True, all in one write.
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.errors import (
    ApiError,
    FieldError,
    bad_request,
    conflict,
    internal,
    invalid_object,
    method_not_allowed,
    not_supported,
    required,
)
from kutter.apiserver.answers import success
from kutter.apiserver.body import parse_kind
from kutter.apiserver.context import Call
from kutter.apiserver.ports import Shown, Tree
from kutter.base.clock import render_time
from kutter.http.messages import Response


async def bind(call: Call) -> Response:
    """POST a Binding to a pod."""
    if call.info.verb != "create":
        raise method_not_allowed("")
    binding = parse_kind(call.request, "Binding", "", "v1", warnings=call.warnings)
    return await _bind(call, binding, call.info.name)


async def bind_of_old(call: Call) -> Response:
    """POST a Binding to the namespace's bindings: the pod is named by the binding."""
    binding = parse_kind(call.request, "Binding", "", "v1", warnings=call.warnings)
    name = (binding.get("metadata") or {}).get("name")
    if not name:
        raise bad_request("name is required in the binding's metadata")
    return await _bind(call, binding, name)


async def _bind(call: Call, binding: Tree, name: str) -> Response:
    metadata = binding.get("metadata") or {}
    target = binding.get("target") or {}
    if metadata.get("name") != name:
        raise bad_request("name in URL does not match name in Binding object")
    errors: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(not_supported("target.kind", target["kind"], ["Node", "<empty>"]))
    if not target.get("name"):
        errors.append(required("target.name", ""))
    if errors:
        raise invalid_object("Binding", name, errors)
    context = call.write_context("CreateOptions", subresource="binding")
    context.kind = "Binding"
    # For webhooks and policies a binding is created; that a pod changes is how it is kept.
    context.shown = Shown(lambda _: binding, _refuse_change(binding), creates=True)
    storage = call.served_of("", "pods").storage
    now = render_time(call.now)

    def assign(pod: Tree) -> None:
        _assign(pod, metadata, target["name"], now)

    def transform(old: Tree | None) -> Tree:
        assert old is not None, "a binding never creates"
        assign(old)
        return old

    namespace = call.info.namespace
    if not await storage.assign(context, namespace, name, assign):
        await storage.update(context, namespace, name, transform)
    return success(201)


def _refuse_change(binding: Tree) -> Callable[[Tree, Tree], None]:
    """The scheduler's decision is not admission's to change: upstream's would be lost, too."""

    def absorb(pod: Tree, changed: Tree) -> None:
        if changed.get("target") != binding.get("target"):
            raise internal("the target of a binding cannot be changed by admission")

    return absorb


def _refused(name: str, detail: str) -> ApiError:
    return conflict("pods/binding", name, detail)


def _assign(pod: Tree, binding: Tree, node: str, now: str) -> None:
    metadata, spec = pod["metadata"], pod["spec"]
    name = metadata["name"]
    uid = binding.get("uid")
    if uid and uid != metadata.get("uid"):
        key = f"/pods/{metadata.get('namespace')}/{name}"
        raise conflict(
            "pods",
            name,
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
            f"UID in object meta: {metadata.get('uid')}",
        )
    if metadata.get("deletionTimestamp"):
        raise _refused(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise _refused(name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise _refused(name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = node
    for field in ("annotations", "labels"):
        if binding.get(field):
            metadata[field] = {**(metadata.get(field) or {}), **binding[field]}
    condition: Tree = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    status = pod.setdefault("status", {})
    conditions = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    status["conditions"] = [*conditions, condition]
