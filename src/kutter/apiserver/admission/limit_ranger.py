"""LimitRanges: defaults for containers that say nothing, bounds for everybody.

https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kutter.api.quantity import Quantity, parse
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

_ANNOTATION = "kubernetes.io/limit-ranger"

Amounts = dict[str, Quantity]


class LimitRanger(Plugin):
    name = "LimitRanger"
    repeatable = True

    def wants(self, resource: str, operation: Operation) -> bool:
        if resource == "pods":  # what a pod asks for is fixed, except through pods/resize
            return operation == "CREATE"
        if resource == "pods/resize":
            return operation == "UPDATE"
        return resource == "persistentvolumeclaims" and operation in ("CREATE", "UPDATE")

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.resource.plural != "pods" or request.subresource:
            return
        assert request.object is not None
        for limit_range in _ranges(request):
            _set_defaults(request.object, limit_range)

    async def validate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        if request.object["metadata"].get("deletionTimestamp"):
            return
        complaints: list[str] = []
        for limit_range in _ranges(request):
            for limit in _limits(limit_range):
                if request.resource.plural == "pods":
                    complaints += _check_pod(request.object, limit)
                elif limit["type"] == "PersistentVolumeClaim":
                    complaints += _check_claim(request.object, limit)
        if complaints:
            text = complaints[0] if len(complaints) == 1 else f"[{', '.join(complaints)}]"
            raise refusal(request, text)


def _ranges(request: AdmissionRequest) -> Iterable[Tree]:
    return request.reader.list("limitranges", request.namespace)


def _limits(limit_range: Tree) -> Iterable[Tree]:
    return (limit_range.get("spec") or {}).get("limits") or ()


# -- defaults --------------------------------------------------------------------


def _set_defaults(pod: Tree, limit_range: Tree) -> None:
    notes: list[str] = []
    spec = pod.get("spec") or {}
    requests: Tree = {}
    limits: Tree = {}
    for limit in _limits(limit_range):
        if limit.get("type") == "Container":
            requests.update(limit.get("defaultRequest") or {})
            limits.update(limit.get("default") or {})
    for title, field in (("container", "containers"), ("init container", "initContainers")):
        for container in spec.get(field) or ():
            resources: Tree = container.get("resources") or {}
            for kind, defaults in (("requests", requests), ("limits", limits)):
                lacking = [
                    name for name in sorted(defaults) if name not in (resources.get(kind) or {})
                ]
                if lacking:
                    chosen = {name: defaults[name] for name in lacking}
                    resources[kind] = {**(resources.get(kind) or {}), **chosen}
                    notes.append(
                        f"{', '.join(lacking)} {kind.removesuffix('s')} for {title} "
                        f"{container.get('name', '')}"
                    )
            if resources:
                container["resources"] = resources
    if notes:
        annotations = pod["metadata"].get("annotations") or {}
        annotations[_ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)
        pod["metadata"]["annotations"] = annotations


# -- bounds ----------------------------------------------------------------------


def _check_pod(pod: Tree, limit: Tree) -> Iterator[str]:
    spec = pod.get("spec") or {}
    containers: list[Tree] = spec.get("containers") or []
    inits: list[Tree] = spec.get("initContainers") or []
    if limit["type"] == "Container":
        for container in (*containers, *inits):
            resources = container.get("resources") or {}
            requests = _amounts(resources.get("requests"))
            yield from _check(limit, requests, _amounts(resources.get("limits")))
    elif limit["type"] == "Pod":
        level = spec.get("resources") or {}
        yield from _check(
            limit,
            _of_pod(containers, inits, "requests") | _pod_level(level.get("requests")),
            _of_pod(containers, inits, "limits") | _pod_level(level.get("limits")),
        )


def _check_claim(claim: Tree, limit: Tree) -> Iterator[str]:
    resources = (claim.get("spec") or {}).get("resources") or {}
    requests = _amounts(resources.get("requests"))
    for name, bound in _amounts(limit.get("min")).items():
        yield from _at_least(limit["type"], name, bound, requests.get(name), None)
    for name, bound in _amounts(limit.get("max")).items():
        asked, head = requests.get(name), f"maximum {name} usage per {limit['type']} is {bound}"
        if asked is None:
            yield f"{head}.  No request is specified"
        elif asked > bound:
            yield f"{head}, but request is {asked}"


def _check(limit: Tree, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = limit["type"]
    for name, bound in _amounts(limit.get("min")).items():
        yield from _at_least(kind, name, bound, requests.get(name), limits.get(name))
    for name, bound in _amounts(limit.get("max")).items():
        yield from _at_most(kind, name, bound, requests.get(name), limits.get(name))
    for name, bound in _amounts(limit.get("maxLimitRequestRatio")).items():
        yield from _ratio(kind, name, bound, requests.get(name), limits.get(name))


def _at_least(
    kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None
) -> Iterator[str]:
    head = f"minimum {name} usage per {kind} is {bound}"
    if request is None:
        yield f"{head}.  No request is specified"
    elif request < bound:
        yield f"{head}, but request is {request}"
    elif limit is not None and limit < bound:
        yield f"{head}, but limit is {limit}"


def _at_most(
    kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None
) -> Iterator[str]:
    head = f"maximum {name} usage per {kind} is {bound}"
    if limit is None:
        yield f"{head}.  No limit is specified"
    elif limit > bound:
        yield f"{head}, but limit is {limit}"
    elif request is not None and request > bound:
        yield f"{head}, but request is {request}"


def _ratio(
    kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None
) -> Iterator[str]:
    head = f"{name} max limit to request ratio per {kind} is {bound}"
    if not request:
        yield f"{head}, but no request is specified or request is 0"
    elif not limit:
        yield f"{head}, but no limit is specified or limit is 0"
    elif limit.nanos * 10**9 > bound.nanos * request.nanos:
        yield f"{head}, but provided ratio is {limit.nanos / request.nanos:f}"


def _amounts(tree: Tree | None) -> Amounts:
    return {name: parse(value) for name, value in (tree or {}).items()}


def _of_pod(containers: list[Tree], inits: list[Tree], kind: str) -> Amounts:
    """What the pod as a whole asks for. A resource some container leaves open is left out."""
    sides = [c for c in inits if c.get("restartPolicy") == "Always"]
    total = _sum([*containers, *sides], kind)
    for container in inits:
        if container in sides:
            continue
        for name, amount in _amounts((container.get("resources") or {}).get(kind)).items():
            if name in total and total[name] < amount:
                total[name] = amount
    return total


def _pod_level(tree: Tree | None) -> Amounts:
    """What a pod says for itself as a whole counts instead of the sum."""
    amounts = _amounts(tree).items()
    return {n: a for n, a in amounts if n in ("cpu", "memory") or n.startswith("hugepages-")}


def _sum(containers: list[Tree], kind: str) -> Amounts:
    each = [_amounts((c.get("resources") or {}).get(kind)) for c in containers]
    names = set.intersection(*(set(amounts) for amounts in each)) if each else set()
    total: Amounts = {}
    for name in sorted(names):
        amount = each[0][name]
        for more in each[1:]:
            amount = amount + more[name]
        total[name] = amount
    return total
