"""The resources served: upstream's discovery as data, and look-ups in it.

:data:`BUILTIN` holds what an upstream v1.36 API server serves by default: every GA
group-version, no beta or alpha one; :data:`OPTIONAL` what is served only when asked for
(:mod:`kutter.api.runtime_config`). A :class:`Catalog` starts from it and takes custom resources
at run time. Laws: groups come in upstream's discovery order, a group's versions by preference;
a (group, version, plural) names one resource, and so does a (group, version, kind) among the
listable ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kutter.api.resources import Resource, Subresource

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_NO_COLLECTION = ("create", "delete", "get", "list", "patch", "update", "watch")
_CREATE = ("create",)
_READ = ("get", "list")
_SUB = ("get", "patch", "update")
_PROXY = ("create", "delete", "get", "patch", "update")
_STREAM = ("create", "get")


def _own(name: str, kind: str) -> Subresource:
    return Subresource(name, kind, _SUB)


def _subresource(name: str, kind: str) -> Subresource:
    """A subresource by its name, for the resource of ``kind``."""
    match name:
        case "scale":
            return Subresource(name, "Scale", _SUB, "autoscaling", "v1")
        case "binding":
            return Subresource(name, "Binding", _CREATE)
        case "eviction":
            return Subresource(name, "Eviction", _CREATE, "policy", "v1")
        case "token":
            return Subresource(name, "TokenRequest", _CREATE, "authentication.k8s.io", "v1")
        case "log":
            return Subresource(name, kind, ("get",))
        case "exec" | "attach":
            return Subresource(name, f"{kind}{name.capitalize()}Options", _STREAM)
        case "portforward":
            return Subresource(name, f"{kind}PortForwardOptions", _STREAM)
        case "proxy":
            return Subresource(name, f"{kind}ProxyOptions", _PROXY)
        case "finalize":
            return Subresource(name, kind, ("update",))
        case _:
            return _own(name, kind)


# One line per resource: plural Kind scope(N namespaced, C cluster) verbs
#   [short=a,b] [sub=a,b] [cat=a,b] [at=key prefix] [as=group/version stored];
#   scope in lower case: never stored.
_VERBS = {"*": _ALL, "-": _NO_COLLECTION, "create": _CREATE, "read": _READ}
_TABLE: tuple[tuple[str, str, str], ...] = (
    (
        "",
        "v1",
        """
        bindings Binding n create
        componentstatuses ComponentStatus c read short=cs
        configmaps ConfigMap N * short=cm
        endpoints Endpoints N * short=ep at=services/endpoints
        events Event N * short=ev
        limitranges LimitRange N * short=limits
        namespaces Namespace C - short=ns sub=finalize,status
        nodes Node C * short=no sub=proxy,status at=minions
        persistentvolumeclaims PersistentVolumeClaim N * short=pvc sub=status
        persistentvolumes PersistentVolume C * short=pv sub=status
        pods Pod N * short=po cat=all \
sub=attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize,status
        podtemplates PodTemplate N *
        replicationcontrollers ReplicationController N * short=rc cat=all sub=scale,status \
at=controllers
        resourcequotas ResourceQuota N * short=quota sub=status
        secrets Secret N *
        serviceaccounts ServiceAccount N * short=sa sub=token
        services Service N * short=svc cat=all sub=proxy,status at=services/specs
        """,
    ),
    (
        "apiregistration.k8s.io",
        "v1",
        """
        apiservices APIService C * cat=api-extensions sub=status \
at=apiregistration.k8s.io/apiservices
        """,
    ),
    (
        "apps",
        "v1",
        """
        controllerrevisions ControllerRevision N *
        daemonsets DaemonSet N * short=ds cat=all sub=status
        deployments Deployment N * short=deploy cat=all sub=scale,status
        replicasets ReplicaSet N * short=rs cat=all sub=scale,status
        statefulsets StatefulSet N * short=sts cat=all sub=scale,status
        """,
    ),
    ("events.k8s.io", "v1", "events Event N * short=ev as=/v1"),
    (
        "authentication.k8s.io",
        "v1",
        """
        selfsubjectreviews SelfSubjectReview c create
        tokenreviews TokenReview c create
        """,
    ),
    (
        "authorization.k8s.io",
        "v1",
        """
        localsubjectaccessreviews LocalSubjectAccessReview n create
        selfsubjectaccessreviews SelfSubjectAccessReview c create
        selfsubjectrulesreviews SelfSubjectRulesReview c create
        subjectaccessreviews SubjectAccessReview c create
        """,
    ),
    (
        "autoscaling",
        "v2",
        "horizontalpodautoscalers HorizontalPodAutoscaler N * short=hpa cat=all sub=status",
    ),
    (
        "autoscaling",
        "v1",
        """
        horizontalpodautoscalers HorizontalPodAutoscaler N * short=hpa cat=all sub=status \
as=autoscaling/v2
        """,
    ),
    (
        "batch",
        "v1",
        """
        cronjobs CronJob N * short=cj cat=all sub=status
        jobs Job N * cat=all sub=status
        """,
    ),
    (
        "certificates.k8s.io",
        "v1",
        "certificatesigningrequests CertificateSigningRequest C * short=csr sub=approval,status",
    ),
    (
        "networking.k8s.io",
        "v1",
        """
        ingressclasses IngressClass C *
        ingresses Ingress N * short=ing sub=status at=ingress
        ipaddresses IPAddress C * short=ip
        networkpolicies NetworkPolicy N * short=netpol
        servicecidrs ServiceCIDR C * sub=status
        """,
    ),
    ("policy", "v1", "poddisruptionbudgets PodDisruptionBudget N * short=pdb sub=status"),
    (
        "rbac.authorization.k8s.io",
        "v1",
        """
        clusterrolebindings ClusterRoleBinding C *
        clusterroles ClusterRole C *
        rolebindings RoleBinding N *
        roles Role N *
        """,
    ),
    (
        "storage.k8s.io",
        "v1",
        """
        csidrivers CSIDriver C *
        csinodes CSINode C *
        csistoragecapacities CSIStorageCapacity N *
        storageclasses StorageClass C * short=sc
        volumeattachments VolumeAttachment C * sub=status
        volumeattributesclasses VolumeAttributesClass C * short=vac
        """,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        """
        mutatingadmissionpolicies MutatingAdmissionPolicy C * cat=api-extensions \
as=admissionregistration.k8s.io/v1beta1
        mutatingadmissionpolicybindings MutatingAdmissionPolicyBinding C * cat=api-extensions \
as=admissionregistration.k8s.io/v1beta1
        mutatingwebhookconfigurations MutatingWebhookConfiguration C * cat=api-extensions
        validatingadmissionpolicies ValidatingAdmissionPolicy C * cat=api-extensions sub=status
        validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding C * cat=api-extensions
        validatingwebhookconfigurations ValidatingWebhookConfiguration C * cat=api-extensions
        """,
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        """
        customresourcedefinitions CustomResourceDefinition C * short=crd,crds cat=api-extensions \
sub=status at=apiextensions.k8s.io/customresourcedefinitions as=apiextensions.k8s.io/v1beta1
        """,
    ),
    ("scheduling.k8s.io", "v1", "priorityclasses PriorityClass C * short=pc"),
    ("coordination.k8s.io", "v1", "leases Lease N *"),
    ("node.k8s.io", "v1", "runtimeclasses RuntimeClass C *"),
    ("discovery.k8s.io", "v1", "endpointslices EndpointSlice N *"),
    (
        "resource.k8s.io",
        "v1",
        """
        deviceclasses DeviceClass C *
        resourceclaims ResourceClaim N * sub=status
        resourceclaimtemplates ResourceClaimTemplate N *
        resourceslices ResourceSlice C *
        """,
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "v1",
        """
        flowschemas FlowSchema C * sub=status
        prioritylevelconfigurations PriorityLevelConfiguration C * sub=status
        """,
    ),
)

_OPTIONAL_TABLE: tuple[tuple[str, str, str], ...] = (
    ("certificates.k8s.io", "v1beta1", "clustertrustbundles ClusterTrustBundle C *"),
    ("coordination.k8s.io", "v1beta1", "leasecandidates LeaseCandidate N *"),
    (
        "storagemigration.k8s.io",
        "v1beta1",
        "storageversionmigrations StorageVersionMigration C * sub=status",
    ),
)


def _parse(group: str, version: str, line: str) -> Resource:
    plural, kind, scope, verbs, *rest = line.split()
    more = dict(part.split("=", 1) for part in rest)

    def listed(key: str) -> tuple[str, ...]:
        return tuple(more[key].split(",")) if key in more else ()

    virtual = scope.islower()
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=scope in "Nn",
        verbs=_VERBS[verbs],
        singular=kind.lower(),
        short_names=listed("short"),
        categories=listed("cat"),
        subresources={name: _subresource(name, kind) for name in listed("sub")},
        list_kind="" if verbs == "create" else f"{kind}List",
        storage_prefix="" if virtual else "/registry/" + more.get("at", plural),
        virtual=virtual,
        stored_as=more.get("as", ""),
    )


def _parse_table(table: tuple[tuple[str, str, str], ...]) -> tuple[Resource, ...]:
    return tuple(
        _parse(group, version, line)
        for group, version, lines in table
        for line in lines.strip().splitlines()
    )


BUILTIN = _parse_table(_TABLE)
OPTIONAL = _parse_table(_OPTIONAL_TABLE)


class Catalog:
    """The resources a server serves. Changing it costs O(1); readers see changes at once.

    ``generation`` grows with every change, so that answers built from it can be kept.
    """

    def __init__(self, resources: Iterable[Resource] = BUILTIN) -> None:
        self.generation = 0
        # What other servers serve through this one: no part of the catalog, but of a namespace.
        self.elsewhere: tuple[Resource, ...] = ()
        # Told after every change; they must not raise.
        self.listeners: list[Callable[[], None]] = []
        self._groups: dict[str, dict[str, dict[str, Resource]]] = {}
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        for resource in resources:
            self.add(resource)
        self._own_groups = frozenset(self._groups)

    def add(self, resource: Resource) -> None:
        """Add or replace a resource. New groups and versions go to the end."""
        versions = self._groups.setdefault(resource.group, {})
        versions.setdefault(resource.version, {})[resource.plural] = resource
        self._by_kind[resource.group, resource.version, resource.kind] = resource
        self._changed()

    def _changed(self) -> None:
        self.generation += 1
        for listener in self.listeners:
            listener()

    def order_versions(self, group: str, rank: Callable[[str], Any]) -> None:
        """Sort a group's versions, the preferred (lowest rank) first."""
        versions = self._groups.get(group)
        if versions is not None and list(versions) != sorted(versions, key=rank):
            self._groups[group] = {name: versions[name] for name in sorted(versions, key=rank)}
            self._changed()

    def remove(self, group: str, version: str, plural: str) -> Resource | None:
        """Take a resource out, and its version and group when they are empty then."""
        versions = self._groups.get(group, {})
        gone = versions.get(version, {}).pop(plural, None)
        if gone is None:
            return None
        self._by_kind.pop((group, version, gone.kind), None)
        if not versions[version]:
            del versions[version]
        if not versions:
            del self._groups[group]
        self._changed()
        return gone

    def is_own_group(self, group: str) -> bool:
        """Whether a group is the server's own; paths below others are refused otherwise."""
        return group in self._own_groups

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        try:
            return self._groups[group][version].get(plural)
        except KeyError:
            return None

    def find_kind(self, group: str, version: str, kind: str) -> Resource | None:
        return self._by_kind.get((group, version, kind))

    def find_group_resource(self, group: str, plural: str) -> Resource | None:
        """The resource in the most preferred version that has it."""
        for resources in self._groups.get(group, {}).values():
            if plural in resources:
                return resources[plural]
        return None

    def find_group_kind(self, group: str, kind: str) -> Resource | None:
        """The resource of a kind in the most preferred version that has it."""
        for version in self._groups.get(group, {}):
            found = self._by_kind.get((group, version, kind))
            if found is not None:
                return found
        return None

    def groups(self) -> list[str]:
        """Groups in discovery order; the core group is ``""``."""
        return list(self._groups)

    def versions(self, group: str) -> list[str]:
        """A group's versions, the preferred one first."""
        return list(self._groups.get(group, {}))

    def group_versions(self) -> list[tuple[str, str]]:
        """All (group, version) in upstream's discovery priority order."""
        return [(group, version) for group in self._groups for version in self._groups[group]]

    def resources(self, group: str, version: str) -> list[Resource]:
        """A group-version's resources, in discovery's order (by plural)."""
        served = self._groups.get(group, {}).get(version, {})
        return [served[plural] for plural in sorted(served)]

    def __iter__(self) -> Iterator[Resource]:
        for versions in self._groups.values():
            for served in versions.values():
                yield from served.values()


_BUILTIN_INDEX = {(r.group, r.version, r.plural): r for r in (*BUILTIN, *OPTIONAL)}


def builtin(group: str, version: str, plural: str) -> Resource:
    """A built-in resource, an optional one too; KeyError when there is none."""
    return _BUILTIN_INDEX[group, version, plural]


def split_api_version(api_version: str) -> tuple[str, str]:
    """``apps/v1`` → (``apps``, ``v1``); ``v1`` → (``""``, ``v1``)."""
    group, slash, version = api_version.rpartition("/")
    return (group, version) if slash else ("", api_version)
