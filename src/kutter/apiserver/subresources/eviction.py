"""pods/eviction: deleting a pod as far as its disruption budget allows.

Upstream: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from msgspec.structs import replace

from kutter.api.errors import ApiError, bad_request, internal, is_reason, method_not_allowed
from kutter.api.selectors import SelectorError, from_tree
from kutter.apiserver.answers import success
from kutter.apiserver.body import parse_kind
from kutter.apiserver.context import Call
from kutter.apiserver.deletion import check_preconditions
from kutter.apiserver.ports import AdmissionRequest, Shown, Tree
from kutter.apiserver.storage import ObjectStorage
from kutter.apiserver.writing import DeleteOptions, WriteContext, read_delete_options
from kutter.base.clock import render_time
from kutter.http.messages import Response

_GROUP, _PLURAL = "policy", "poddisruptionbudgets"
# More pods than this being disrupted at once is a sign of a stuck controller (as upstream).
_DISRUPTED_LIMIT = 2000
_ATTEMPTS = 20
_TARGET: Tree = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


async def evict(call: Call) -> Response:
    """POST an Eviction."""
    if call.info.verb != "create":
        raise method_not_allowed("")
    namespace, name = call.info.namespace, call.info.name
    eviction = parse_kind(call.request, "Eviction", "policy", "v1", warnings=call.warnings)
    named = (eviction.get("metadata") or {}).get("name")
    if named != name:
        raise bad_request("name in URL does not match name in Eviction object")
    options = read_delete_options(eviction.get("deleteOptions") or {}, {}, [])
    context = call.write_context("CreateOptions")
    context.dry_run = options.dry_run = context.dry_run or options.dry_run
    _pods(call).get(namespace, name)  # raises 404 before admission is asked
    await _admit(call, eviction, dry_run=context.dry_run)
    context.admitted = True
    if not await _evict_free(call, context, options):
        await _evict_guarded(call, context, options)
    return success(201)


def _pods(call: Call) -> ObjectStorage:
    return call.served_of("", "pods").storage


async def _evict_free(call: Call, context: WriteContext, options: DeleteOptions) -> bool:
    """Evict a pod no budget has a say about; False when one has. Raises ApiError."""
    for last in (*[False] * (_ATTEMPTS - 1), True):
        pod = _pods(call).get(call.info.namespace, call.info.name).tree
        if not _is_free(pod):
            return False
        pinned = options
        if not _has_ended(pod) and not options.resource_version:
            # Not if it became ready since we looked: then a budget has a say.
            pinned = replace(options, resource_version=pod["metadata"]["resourceVersion"])
        try:
            await _delete(call, context, pinned)
        except ApiError as error:
            if last or options.resource_version or not is_reason(error, "Conflict"):
                raise
        else:
            return True
    return False


async def _evict_guarded(call: Call, context: WriteContext, options: DeleteOptions) -> None:
    """Evict a pod as far as its budget allows. Raises 429."""
    pod = _pods(call).get(call.info.namespace, call.info.name).tree
    budget = _budget_of(call, pod)
    if budget is None:
        return await _delete(call, context, options)
    if not _is_unhealthy_and_free(pod, budget):
        await _take_disruption(call, budget, call.info.name, dry_run=context.dry_run)
        return await _delete(call, context, options)
    # It goes without being counted: only while it is as we saw it.
    version = pod["metadata"]["resourceVersion"]
    try:
        await _delete(call, context, replace(options, resource_version=version))
    except ApiError as error:
        if options.resource_version or not is_reason(error, "Conflict"):
            raise
        name = budget["metadata"]["name"]
        waits = f"The disruption budget {name} is still being processed by the server."
        raise _refused(budget, waits, 10) from error
    return None


async def _delete(call: Call, context: WriteContext, options: DeleteOptions) -> None:
    """Say in the pod's conditions why it goes, then delete it. Raises ApiError."""
    namespace, name, storage = call.info.namespace, call.info.name, _pods(call)
    if not context.dry_run:
        written = call.write_context("UpdateOptions", subresource="status")
        written.admitted = True

        def transform(old: Tree | None) -> Tree:
            assert old is not None, "a pod is not created here"
            check_preconditions(storage.resource, old, options)
            set_condition(old.setdefault("status", {}), _TARGET, render_time(call.now))
            return old

        entry, _ = await storage.update(written, namespace, name, transform)
        if options.resource_version:
            options = replace(options, resource_version=str(entry.revision))
    await storage.delete(context, namespace, name, options)


def set_condition(status: Tree, wanted: Tree, now: str) -> None:
    """Put a condition among a pod's; its time stays while its status stays."""
    conditions = status.get("conditions") or []
    before: Tree = next((c for c in conditions if c.get("type") == wanted["type"]), {})
    same = before.get("status") == wanted["status"]
    since = before.get("lastTransitionTime") if same else None
    made = {**wanted, "lastTransitionTime": since or now}
    others = [c for c in conditions if c.get("type") != wanted["type"]]
    status["conditions"] = [*others, made]


async def _admit(call: Call, eviction: Tree, *, dry_run: bool) -> None:
    """Ask admission about the eviction itself, as about any other creation."""
    request = AdmissionRequest(
        operation="CREATE",
        resource=call.served.resource,
        subresource="eviction",
        namespace=call.info.namespace,
        name=call.info.name,
        object=eviction,
        old=None,
        user=call.user,
        reader=call.server.caches,
        now=call.now,
        dry_run=dry_run,
        kind="Eviction",
        options=call.write_context("CreateOptions").options,
        warnings=call.warnings,
        annotate=call.annotate,
        shown=Shown(lambda tree: tree, lambda tree, changed: tree.update(changed)),
    )
    await call.server.admission.mutate(request)
    await call.server.admission.validate(request)


def _is_free(pod: Tree) -> bool:
    """Whether the pod may go without asking a budget: it runs nothing, or is going already."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(
        pod["metadata"].get("deletionTimestamp")
    )


def _has_ended(pod: Tree) -> bool:
    """Whether nothing about the pod can become healthy any more."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed") or bool(pod["metadata"].get("deletionTimestamp"))


def _is_ready(pod: Tree) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _is_unhealthy_and_free(pod: Tree, budget: Tree) -> bool:
    """An unready pod goes freely where the policy says so or the budget is met anyway."""
    if _is_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return bool(desired > 0 and healthy >= desired)


def _budget_of(call: Call, pod: Tree) -> Tree | None:
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    found = []
    reader = call.server.caches
    for budget in reader.list(f"{_PLURAL}.{_GROUP}", metadata["namespace"]):
        try:
            selector = from_tree((budget.get("spec") or {}).get("selector"))
        except SelectorError:
            continue  # validation keeps these out; one that slipped in protects nothing
        if selector.matches(labels):
            found.append(budget)
    if len(found) > 1:
        raise internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource "
            "does not support."
        )
    return found[0] if found else None


def _refused(budget: Tree, message: str, retry_after_s: int = 0) -> ApiError:
    return ApiError(
        429,
        "TooManyRequests",
        _VIOLATES,
        details={
            "causes": [{"reason": "DisruptionBudget", "message": message}],
            **({"retryAfterSeconds": retry_after_s} if retry_after_s else {}),
        },
        headers={"Retry-After": str(retry_after_s)} if retry_after_s else None,
    )


async def _take_disruption(call: Call, budget: Tree, pod_name: str, *, dry_run: bool) -> None:
    """Use up one allowed disruption. Raises 429 when there is none."""
    name, namespace = budget["metadata"]["name"], budget["metadata"]["namespace"]
    context = call.write_context("UpdateOptions", subresource="status")
    context.dry_run = dry_run
    stamp = render_time(call.now)

    def transform(old: Tree | None) -> Tree:
        assert old is not None, "a budget is not created here"
        status = old.setdefault("status", {})
        if status.get("observedGeneration", 0) < old["metadata"].get("generation", 0):
            waits = f"The disruption budget {name} is still being processed by the server."
            raise _refused(old, waits, 10)
        allowed = status.get("disruptionsAllowed", 0)
        if allowed <= 0:
            needed, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
            raise _refused(
                old,
                f"The disruption budget {name} needs {needed} healthy pods and has {healthy} "
                "currently",
            )
        disrupted = status.setdefault("disruptedPods", {})
        if len(disrupted) > _DISRUPTED_LIMIT:
            raise _refused(old, "DisruptedPods map too big - too many evictions not confirmed")
        status["disruptionsAllowed"] = allowed - 1
        disrupted[pod_name] = stamp
        return old

    storage = call.served_of(_GROUP, _PLURAL).storage
    await storage.update(context, namespace, name, transform)
