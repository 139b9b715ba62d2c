"""Nothing appears in a namespace that does not exist or is on its way out.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespacelifecycle
"""

from __future__ import annotations

from kutter.api.errors import not_found
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation

_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_REVIEWS = frozenset({"localsubjectaccessreviews.authorization.k8s.io"})


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"
    repeatable = True
    reads_bound_pods = False
    spares_spec = True

    def wants(self, resource: str, operation: Operation) -> bool:
        if resource == "namespaces":
            return operation == "DELETE"
        if resource.startswith("namespaces/"):
            return False
        # Deletion is always fine: a namespace on its way out is emptied by it.
        return operation in ("CREATE", "UPDATE") and resource not in _REVIEWS

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.resource.plural == "namespaces" and not request.resource.group:
            if request.name in _IMMORTAL:
                raise refusal(request, "this namespace may not be deleted")
            return
        namespace = request.namespace
        if not namespace or not request.resource.namespaced:
            return
        if request.operation != "CREATE":
            if not request.reader.exists("namespaces", "", namespace):
                raise not_found("namespaces", namespace)
            return
        tree = request.reader.look("namespaces", "", namespace)
        if tree is None:
            raise not_found("namespaces", namespace)
        if (tree.get("status") or {}).get("phase") == "Terminating":
            raise _terminating(request)


def _terminating(request: AdmissionRequest) -> Exception:
    namespace = request.namespace
    error = refusal(
        request,
        f"unable to create new content in namespace {namespace} because it is being terminated",
    )
    error.details = {
        **(error.details or {}),
        "causes": [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ],
    }
    return error
