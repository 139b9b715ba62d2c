"""pods/eviction: deleting a pod as far as its disruption budget allows.

Upstream: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from kutter.api.errors import ApiError, bad_request, internal, method_not_allowed
from kutter.api.selectors import SelectorError, from_tree
from kutter.apiserver.answers import success
from kutter.apiserver.body import parse_kind
from kutter.apiserver.context import Call
from kutter.apiserver.ports import AdmissionRequest, Shown, Tree
from kutter.apiserver.writing import read_delete_options
from kutter.base.clock import render_time
from kutter.http.messages import Response

_GROUP, _PLURAL = "policy", "poddisruptionbudgets"
# More pods than this being disrupted at once is a sign of a stuck controller (as upstream).
_DISRUPTED_LIMIT = 2000
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


async def evict(call: Call) -> Response:
    """POST an Eviction."""
    if call.info.verb != "create":
        raise method_not_allowed("")
    namespace, name = call.info.namespace, call.info.name
    eviction = parse_kind(call.request, "Eviction", "policy", "v1", warnings=call.warnings)
    named = (eviction.get("metadata") or {}).get("name")
    if named and named != name:
        raise bad_request("name in URL does not match name in Eviction object")
    options = read_delete_options(eviction.get("deleteOptions") or {}, {}, [])
    context = call.write_context("CreateOptions")
    context.dry_run = options.dry_run = context.dry_run or options.dry_run
    storage = call.served_of("", "pods").storage
    pod = storage.get(namespace, name).tree
    await _admit(call, eviction, dry_run=context.dry_run)
    context.admitted = True
    if not _is_free(pod):
        budget = _budget_of(call, pod)
        if budget is not None and not _is_unhealthy_and_free(pod, budget):
            await _take_disruption(call, budget, name, dry_run=context.dry_run)
    await storage.delete(context, namespace, name, options)
    return success(201)


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
