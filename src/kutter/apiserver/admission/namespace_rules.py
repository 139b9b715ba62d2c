"""What a namespace decides for its pods: which nodes they go to, which taints they tolerate.

Both are off unless ``--enable-admission-plugins`` names them. A namespace says it by annotations;
where it says nothing, the cluster's configuration does.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podnodeselector
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from kutter.api.errors import ApiError, not_found
from kutter.api.names import check_label_value, check_qualified_name
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.kinds.pod_status import qos_class
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

_SELECTOR = "scheduler.alpha.kubernetes.io/node-selector"
_DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
_ALLOWED = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
CLUSTER_DEFAULT = "clusterDefaultNodeSelector"
_MEMORY_PRESSURE: Tree = {
    "key": "node.kubernetes.io/memory-pressure",
    "operator": "Exists",
    "effect": "NoSchedule",
}


def parse_labels(text: str) -> dict[str, str]:
    """``a=b,c=d`` as labels. Raises ValueError, in upstream's words."""
    labels: dict[str, str] = {}
    for part in text.split(",") if text else ():
        words = part.split("=")
        if len(words) != 2:
            raise ValueError(f"invalid selector: [{' '.join(words)}]")
        key, value = (word.strip() for word in words)
        for problem in (*check_qualified_name(key), *check_label_value(value)):
            raise ValueError(f'invalid selector: "{part}": {problem}')
        labels[key] = value
    return labels


def _annotations(request: AdmissionRequest) -> Mapping[str, str]:
    namespace = request.reader.get("namespaces", "", request.namespace)
    if namespace is None:
        raise not_found("namespaces", request.namespace)
    return (namespace.get("metadata") or {}).get("annotations") or {}


class PodNodeSelector(Plugin):
    """Pods get their namespace's node selector; ``selectors`` are the cluster's, by namespace: the
    labels its pods may select by, and under ``clusterDefaultNodeSelector`` what all others get.
    """

    name = "PodNodeSelector"

    def __init__(self, selectors: Mapping[str, str]) -> None:
        self._selectors = dict(selectors)

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        wanted = self._wanted(request)
        if wanted:
            spec = request.object.setdefault("spec", {})
            spec["nodeSelector"] = {**wanted, **(spec.get("nodeSelector") or {})}
        self._check(request)

    async def validate(self, request: AdmissionRequest) -> None:
        self._wanted(request)
        self._check(request)

    def _wanted(self, request: AdmissionRequest) -> dict[str, str]:
        """What the namespace asks for. Raises 403 for a pod that asks for something else."""
        own = ((request.object or {}).get("spec") or {}).get("nodeSelector") or {}
        text = _annotations(request).get(_SELECTOR)
        wanted = _labels(self._selectors.get(CLUSTER_DEFAULT, "") if text is None else text)
        if any(own.get(key, value) != value for key, value in wanted.items()):
            raise refusal(
                request,
                "pod node label selector conflicts with its namespace node label selector",
            )
        return wanted

    def _check(self, request: AdmissionRequest) -> None:
        allowed = _labels(self._selectors.get(request.namespace, ""))
        own = ((request.object or {}).get("spec") or {}).get("nodeSelector") or {}
        if allowed and any(allowed.get(key) != value for key, value in own.items()):
            raise refusal(
                request, "pod node label selector labels conflict with its namespace whitelist"
            )


def _labels(text: str) -> dict[str, str]:
    try:
        return parse_labels(text)
    except ValueError as error:
        raise ApiError(500, "", str(error)) from error


class PodTolerationRestriction(Plugin):
    """Pods get their namespace's tolerations, and may have no others than it allows."""

    name = "PodTolerationRestriction"

    def __init__(self, default: Sequence[Tree], allowed: Sequence[Tree]) -> None:
        self._default = list(default)
        self._allowed = list(allowed)

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation in ("CREATE", "UPDATE")

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        spec: Tree = request.object.setdefault("spec", {})
        more: list[Tree] = []
        if request.operation == "CREATE":
            own = _tolerations(_annotations(request), _DEFAULTS)
            more = list(self._default if own is None else own)
        if qos_class(spec) != "BestEffort":
            more.append(dict(_MEMORY_PRESSURE))
        if more:
            spec["tolerations"] = merge([*(spec.get("tolerations") or ()), *more])
        await self.validate(request)

    async def validate(self, request: AdmissionRequest) -> None:
        found = ((request.object or {}).get("spec") or {}).get("tolerations") or ()
        if not found:
            return
        allowed, scope = _tolerations(_annotations(request), _ALLOWED), "namespace"
        if allowed is None:
            allowed, scope = self._allowed, "cluster"
        if allowed and not all(any(covers(rule, t) for rule in allowed) for t in found):
            raise ApiError(
                500,
                "",
                "pod tolerations (possibly merged with namespace default tolerations) conflict "
                f"with its {scope} whitelist",
            )


def _tolerations(annotations: Mapping[str, str], key: str) -> list[Tree] | None:
    """What an annotation lists; None when it is not there. Raises 500 for what is no list."""
    text = annotations.get(key)
    if text is None:
        return None
    if not text:
        return []
    try:
        found = orjson.loads(text)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError("not a list of tolerations")
    except ValueError as error:
        raise ApiError(500, "", f"annotation {key}: {error}") from error
    return found


def merge(tolerations: list[Tree]) -> list[Tree]:
    """Without those that another one covers; of equal ones the first stays."""
    merged: list[Tree] = []
    for index, one in enumerate(tolerations):
        if any(covers(kept, one) for kept in merged):
            continue
        if any(other != one and covers(other, one) for other in tolerations[index + 1 :]):
            continue
        merged.append(one)
    return merged


def covers(wide: Tree, narrow: Tree) -> bool:
    """Whether ``wide`` tolerates all that ``narrow`` does."""
    if wide == narrow:
        return True
    operator = wide.get("operator") or "Equal"
    if narrow.get("key", "") != wide.get("key", "") and (wide.get("key") or operator != "Exists"):
        return False
    effect = wide.get("effect", "")
    if effect and narrow.get("effect", "") != effect:
        return False
    limit = wide.get("tolerationSeconds")
    if effect == "NoExecute" and limit is not None:
        own = narrow.get("tolerationSeconds")
        if own is None or own > limit:
            return False
    if operator == "Exists":
        return True
    return (
        operator == "Equal"
        and narrow.get("operator") == "Equal"
        and narrow.get("value", "") == wide.get("value", "")
    )
