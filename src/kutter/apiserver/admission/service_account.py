"""Every pod runs as a service account and finds its token, the CA and its namespace mounted.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.rng import SYSTEM_RNG, Rng

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
TOKEN_LIFETIME_S = 3607
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
# Accounts that name the secrets their pods may use; upstream advises against it by now.
ENFORCE_ANNOTATION = "kubernetes.io/enforce-mountable-secrets"
# A namespace gets its account a moment after it was made: pods made at once wait for it.
LOOKS = 10
LOOK_EVERY_S = 0.1


class ServiceAccount(Plugin):
    name = "ServiceAccount"
    repeatable = True

    def __init__(self, rng: Rng = SYSTEM_RNG, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rng = rng
        self._clock = clock

    def wants(self, resource: str, operation: Operation) -> bool:
        if resource == "pods/ephemeralcontainers":
            return operation == "UPDATE"
        return resource == "pods" and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        assert pod is not None
        if request.subresource:
            return
        spec: Tree = pod.setdefault("spec", {})
        if is_mirror(pod):
            _check_mirror(request, spec)
            return
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await self._account(request, name)
        if _automounts(account, spec):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(s) for s in account["imagePullSecrets"]]

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object or {}
        spec: Tree = pod.get("spec") or {}
        if is_mirror(pod):
            return
        name = spec.get("serviceAccountName") or "default"
        account = request.reader.look("serviceaccounts", request.namespace, name) or {}
        annotations = (account.get("metadata") or {}).get("annotations") or {}
        if annotations.get(ENFORCE_ANNOTATION) == "true":
            fault = _foreign_secret(account, spec, ephemeral=bool(request.subresource))
            if fault:
                raise refusal(request, fault)

    async def _account(self, request: AdmissionRequest, name: str) -> Tree:
        for attempt in range(LOOKS):
            found = request.reader.look("serviceaccounts", request.namespace, name)
            if found is not None:
                return found
            if attempt < LOOKS - 1:
                await self._clock.sleep(LOOK_EVERY_S)
        raise refusal(
            request,
            f"error looking up service account {request.namespace}/{name}: "
            f'serviceaccount "{name}" not found',
        )

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


def _foreign_secret(account: Tree, spec: Tree, *, ephemeral: bool) -> str:
    """What names a secret the account does not name; "" when nothing does."""
    name = (account.get("metadata") or {}).get("name")
    own = {s.get("name") for s in account.get("secrets") or ()}
    end = f"is not allowed because service account {name} does not reference that secret"
    if ephemeral:
        return _foreign_variable(spec, ("ephemeralContainers",), own, end)
    for volume in spec.get("volumes") or ():
        secret = (volume.get("secret") or {}).get("secretName")
        if secret and secret not in own:
            return f'volume with secret.secretName="{secret}" {end}'
    fault = _foreign_variable(spec, ("initContainers", "containers"), own, end)
    if fault:
        return fault
    pulls = {s.get("name") for s in account.get("imagePullSecrets") or ()}
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if secret.get("name") not in pulls:
            return (
                f'imagePullSecrets[{index}].name="{secret.get("name")}" is not allowed because '
                f"service account {name} does not reference that imagePullSecret"
            )
    return ""


_TITLES = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}


def _foreign_variable(spec: Tree, listings: tuple[str, ...], own: set[str], end: str) -> str:
    for listing in listings:
        for container in spec.get(listing) or ():
            head = f"{_TITLES[listing]} {container.get('name')} with"
            for variable in container.get("env") or ():
                key = ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
                if key and key not in own:
                    return (
                        f"{head} envVar {variable.get('name')} referencing "
                        f'secret.secretName="{key}" {end}'
                    )
            for source in container.get("envFrom") or ():
                key = (source.get("secretRef") or {}).get("name")
                if key and key not in own:
                    return f'{head} envFrom referencing secret.secretName="{key}" {end}'
    return ""
