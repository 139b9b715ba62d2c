"""Every pod runs as a service account and finds its token, the CA and its namespace mounted.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree
from kutter.base.rng import SYSTEM_RNG, Rng

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
TOKEN_LIFETIME_S = 3607
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


class ServiceAccount(Plugin):
    name = "ServiceAccount"

    def __init__(self, rng: Rng = SYSTEM_RNG) -> None:
        self._rng = rng

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        assert pod is not None
        spec: Tree = pod.setdefault("spec", {})
        if is_mirror(pod):
            _check_mirror(request, spec)
            return
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = request.reader.get("serviceaccounts", request.namespace, name)
        if account is None:
            raise refusal(
                request,
                f"error looking up service account {request.namespace}/{name}: "
                f'serviceaccount "{name}" not found',
            )
        if _automounts(account, spec):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(s) for s in account["imagePullSecrets"]]

    def _mount_token(self, spec: Tree) -> None:
        volumes: list[Tree] = spec.get("volumes") or []
        own = [v["name"] for v in volumes if "projected" in v and _is_ours(v)]
        name = own[0] if own else VOLUME_PREFIX + self._rng.suffix()
        needed = False
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            mounts: list[Tree] = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*mounts, mount]
            needed = True
        if needed and not own:
            spec["volumes"] = [*volumes, {"name": name, "projected": _projection()}]


def is_mirror(pod: Tree) -> bool:
    """Whether the pod only shows what a node runs from a file of its own."""
    return MIRROR_ANNOTATION in ((pod.get("metadata") or {}).get("annotations") or {})


def _check_mirror(request: AdmissionRequest, spec: Tree) -> None:
    if spec.get("serviceAccountName"):
        raise refusal(request, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        if "secret" in volume:
            raise refusal(request, "a mirror pod may not reference secrets")
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "serviceAccountToken" in source:
                raise refusal(
                    request, "a mirror pod may not use ServiceAccountToken volume projections"
                )


def _automounts(account: Tree, spec: Tree) -> bool:
    for holder in (spec, account):
        wanted = holder.get("automountServiceAccountToken")
        if wanted is not None:
            return bool(wanted)
    return True


def _is_ours(volume: Tree) -> bool:
    return str(volume.get("name", "")).startswith(VOLUME_PREFIX)


def _projection() -> Tree:
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {
                "downwardAPI": {
                    "items": [
                        {
                            "path": "namespace",
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                        }
                    ]
                }
            },
        ],
        "defaultMode": 0o644,
    }
