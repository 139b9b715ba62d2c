"""Who may say what became of a claim: its allocation, and what drivers say of its devices.

The right to write ``/status`` is not enough: who allocates needs ``resourceclaims/binding``, and
who speaks for a driver's devices ``resourceclaims/driver`` of that driver's name, with a verb that
tells whether the devices are on the node of the caller or anywhere.
https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from kutter.api.errors import FieldError, forbidden_field, invalid_object
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.service_accounts import split_username
from kutter.apiserver.authz.messages import refusal
from kutter.apiserver.ports import AdmissionRequest, Attributes, Authorizer, Operation, Tree

_GROUP, _PLURAL = "resource.k8s.io", "resourceclaims"
_STATUS = f"{_PLURAL}.{_GROUP}/status"
_ANYWHERE, _SAME_NODE = "arbitrary-node", "associated-node"
_NAMED = ("metadata.name", "In")
_NODE_NAME = "authentication.kubernetes.io/node-name"


class ClaimStatusAuthorization(Plugin):
    name = "ClaimStatusAuthorization"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == _STATUS and operation == "UPDATE"

    async def validate(self, request: AdmissionRequest) -> None:
        errors = await self._check_binding(request)
        errors += await self._check_drivers(request)
        if errors:
            raise invalid_object(request.resource.kind, request.name, errors, _GROUP)

    async def _check_binding(self, request: AdmissionRequest) -> list[FieldError]:
        new, old = _status(request.object), _status(request.old)
        if all(new.get(field) == old.get(field) for field in ("allocation", "reservedFor")):
            return []
        verb = _verb(request)
        asked = _attributes(request, verb, "binding")
        why = await self._refusal(asked)
        if not why:
            return []
        detail = (
            "changing status.allocation or status.reservedFor requires "
            f'resource="{_PLURAL}/binding", verb="{verb}" permission: {why}'
        )
        return [forbidden_field("status.allocation", detail)]

    async def _check_drivers(self, request: AdmissionRequest) -> list[FieldError]:
        new = _status(request.object)
        if new.get("allocation") is None:
            # What is said of devices goes with them, whoever takes them away.
            return []
        verbs = [f"{_ANYWHERE}:{_verb(request)}"]
        node = _allocated_node(new)
        if node and _is_on(request.user, node):
            verbs.insert(0, f"{_SAME_NODE}:{_verb(request)}")
        errors: list[FieldError] = []
        for driver in sorted(_changed_drivers(new, _status(request.old))):
            why = await self._driver_refusal(request, driver, verbs)
            if why:
                detail = (
                    f'changing status.devices requires resource="{_PLURAL}/driver", '
                    f'verb="[{" ".join(verbs)}]" permission: {why}'
                )
                errors.append(forbidden_field("status.devices", detail))
        return errors

    async def _driver_refusal(
        self, request: AdmissionRequest, driver: str, verbs: list[str]
    ) -> str:
        """That of the first verb; nothing if any of them is allowed."""
        refusals: list[str] = []
        for verb in verbs:
            asked = _attributes(request, verb, "driver", request.namespace, driver)
            why = await self._refusal(asked)
            if not why:
                return ""
            refusals.append(why)
        return refusals[0]

    async def _refusal(self, asked: Attributes) -> str:
        decision = await self._authorizer.authorize(asked)
        return "" if decision.allowed else refusal(asked, decision.reason).message


def _status(tree: Tree | None) -> Tree:
    return (tree or {}).get("status") or {}


def _verb(request: AdmissionRequest) -> str:
    return "patch" if request.options.get("kind") == "PatchOptions" else "update"


def _attributes(
    request: AdmissionRequest, verb: str, part: str, namespace: str = "", name: str = ""
) -> Attributes:
    return Attributes(
        request.user,
        verb,
        group=_GROUP,
        version=(request.requested or request.resource).version,
        resource=_PLURAL,
        subresource=part,
        namespace=namespace,
        name=name,
        is_resource=True,
    )


def _changed_drivers(new: Tree, old: Tree) -> set[str]:
    """Those with devices of which something else is said now, or nothing any more."""
    # Read in with the first status of a claim: what is told of devices is judged there.
    from kutter.apiserver.validation.device_claim_status import device_id

    after, before = (
        {device_id(device): device for device in status.get("devices") or ()}
        for status in (new, old)
    )
    changed = (id for id in after.keys() | before.keys() if after.get(id) != before.get(id))
    return {id[0] for id in changed}


def _allocated_node(status: Tree) -> str:
    """The node of the devices, if they are on one that is named."""
    terms = ((status.get("allocation") or {}).get("nodeSelector") or {}).get("nodeSelectorTerms")
    if not terms or len(terms) != 1 or terms[0].get("matchExpressions"):
        return ""
    fields = terms[0].get("matchFields") or []
    if len(fields) != 1 or (fields[0].get("key"), fields[0].get("operator")) != _NAMED:
        return ""
    values = fields[0].get("values") or []
    return values[0] if len(values) == 1 else ""


def _is_on(user: User, node: str) -> bool:
    """Whether the caller is a service account of a pod there."""
    on_node = tuple(user.extra.get(_NODE_NAME) or ()) == (node,)
    return on_node and split_username(user.name) is not None
