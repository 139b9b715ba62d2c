"""Who writes a policy or binding with parameters must be allowed to read them.

Otherwise expressions would tell what their author may not see. Upstream does this in the kinds'
strategies (``registry/admissionregistration/*/authz.go``); here it is a plugin, as strategies do
not wait for authorizers.
"""

from __future__ import annotations

from kutter.api.catalog import split_api_version
from kutter.api.errors import forbidden_field, invalid_object
from kutter.apiserver.admission.dynamic.outside import Outside
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.authn.identity import GROUP_MASTERS
from kutter.apiserver.ports import AdmissionRequest, Attributes, Operation, Tree

_GROUP = "admissionregistration.k8s.io"
_POLICY_OF = {
    "validatingadmissionpolicybindings": "validatingadmissionpolicies",
    "mutatingadmissionpolicybindings": "mutatingadmissionpolicies",
}
_POLICIES = frozenset(_POLICY_OF.values())


class PolicyParamRights(Plugin):
    name = "PolicyParamRights"

    def __init__(self) -> None:
        self._server: Outside | None = None

    def attach(self, server: Outside) -> None:
        self._server = server

    def wants(self, resource: str, operation: Operation) -> bool:
        plural, _, group = resource.partition(".")
        concerned = plural in _POLICIES or plural in _POLICY_OF
        return concerned and group == _GROUP and operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        if self._server is None or GROUP_MASTERS in request.user.groups:
            return
        new: Tree = (request.object or {}).get("spec") or {}
        old: Tree = (request.old or {}).get("spec") or {}
        if request.resource.plural in _POLICIES:
            await self._check_policy(request, new, old)
        else:
            await self._check_binding(request, new, old)

    async def _check_policy(self, request: AdmissionRequest, new: Tree, old: Tree) -> None:
        kind = new.get("paramKind")
        if kind is None or kind == old.get("paramKind"):
            return
        if await self._may(request, "get", kind, "*", "*"):
            return
        detail = (
            f'user {request.user.name} must have "get" permission on all objects of the referenced '
            f"paramKind (kind={kind.get('kind')}, apiVersion={kind.get('apiVersion')})"
        )
        self._refuse(request, "spec.paramKind", detail)

    async def _check_binding(self, request: AdmissionRequest, new: Tree, old: Tree) -> None:
        reference = new.get("paramRef")
        if reference is None or all(new.get(k) == old.get(k) for k in ("paramRef", "policyName")):
            return
        policies = _POLICY_OF[request.resource.plural]
        name = str(new.get("policyName") or "")
        policy = request.reader.get(f"{policies}.{_GROUP}", "", name)
        kind = ((policy or {}).get("spec") or {}).get("paramKind")
        verb = "get" if reference.get("name") else "list"
        namespace, param = reference.get("namespace") or "", reference.get("name") or ""
        if await self._may(request, verb, kind, namespace, param):
            return
        user = request.user.name
        detail = (
            f'user {user} does not have "{verb}" permission on the object referenced by paramRef'
        )
        if policy is None:
            detail = (
                f"unable to get policy {name} to determine minimum required permissions and user "
                f'{user} does not have "{verb}" permission for all groups, versions and resources'
            )
        self._refuse(request, "spec.paramRef", detail)

    async def _may(
        self, request: AdmissionRequest, verb: str, kind: Tree | None, namespace: str, name: str
    ) -> bool:
        """Whether the user may; of what nobody knows, everything has to be allowed."""
        assert self._server is not None, "attached"
        group = version = plural = "*"
        if kind is not None:
            group, version = split_api_version(str(kind.get("apiVersion") or ""))
            found = self._server.versions.resource_of_kind(group, version, str(kind.get("kind")))
            plural = found.plural if found is not None else "*"
        asked = Attributes(
            user=request.user,
            verb=verb,
            group=group,
            version=version,
            resource=plural,
            namespace=namespace,
            name=name,
            is_resource=True,
        )
        return (await self._server.authorizer.authorize(asked)).allowed

    def _refuse(self, request: AdmissionRequest, path: str, detail: str) -> None:
        resource = request.resource
        errors = [forbidden_field(path, detail)]
        raise invalid_object(resource.kind, request.name, errors, resource.group)
