"""Who names an owner may delete the object (OwnerReferencesPermissionEnforcement).

Otherwise a reference would be a way to have the garbage collector delete what one may not, or to
hold up the deletion of an owner one has no rights on. Off by default, as upstream.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#ownerreferencespermissionenforcement
"""

from __future__ import annotations

from kutter.api.catalog import Catalog, split_api_version
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Attributes, Authorizer, Operation, Tree


class OwnerReferencesPermissionEnforcement(Plugin):
    name = "OwnerReferencesPermissionEnforcement"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        # Which kinds are served is known once the server is there.
        self.catalog = Catalog()

    def wants(self, resource: str, operation: Operation) -> bool:
        return operation in ("CREATE", "UPDATE") and resource != "pods/status"

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = _owners(request.object), _owners(request.old)
        if new == old:
            return
        resource = request.resource
        decision = await self._authorizer.authorize(
            Attributes(
                request.user,
                "delete",
                group=resource.group,
                version=resource.version,
                resource=resource.plural,
                subresource=request.subresource,
                namespace=request.namespace,
                name=request.name,
                is_resource=True,
            )
        )
        if not decision.allowed:
            raise refusal(
                request,
                f"cannot set an ownerRef on a resource you can't delete: {decision.reason}, <nil>",
            )
        blocking = {owner.get("uid") for owner in old if owner.get("blockOwnerDeletion")}
        for owner in new:
            if owner.get("blockOwnerDeletion") and owner.get("uid") not in blocking:
                await self._check_finalizers(request, owner)

    async def _check_finalizers(self, request: AdmissionRequest, owner: Tree) -> None:
        """Holding up an owner's deletion is setting a finalizer on it."""
        version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
        group, number = split_api_version(version)
        resource = self.catalog.find_kind(group, number, kind)
        if resource is None:
            raise refusal(
                request,
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for "
                f'APIVersion {version} Kind {kind}: no matches for kind "{kind}" in version '
                f'"{version}"',
            )
        decision = await self._authorizer.authorize(
            Attributes(
                request.user,
                "update",
                group=group,
                version=number,
                resource=resource.plural,
                subresource="finalizers",
                namespace=request.namespace if resource.namespaced else "",
                name=owner.get("name") or "",
                is_resource=True,
            )
        )
        if not decision.allowed:
            raise refusal(
                request,
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't "
                f"set finalizers on: {decision.reason}, <nil>",
            )


def _owners(tree: Tree | None) -> list[Tree]:
    return ((tree or {}).get("metadata") or {}).get("ownerReferences") or []
