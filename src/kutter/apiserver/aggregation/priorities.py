"""The places of built-in group-versions in discovery: upstream's numbers, as data."""

from __future__ import annotations

_GROUPS: tuple[tuple[str, int, str], ...] = (
    ("", 18000, "v1=1"),
    ("apps", 17800, "v1=15"),
    ("events.k8s.io", 17750, "v1=15 v1beta1=5"),
    ("authentication.k8s.io", 17700, "v1=15 v1beta1=9 v1alpha1=1"),
    ("authorization.k8s.io", 17600, "v1=15"),
    ("autoscaling", 17500, "v1=15 v2=30"),
    ("batch", 17400, "v1=15 v1beta1=9"),
    ("certificates.k8s.io", 17300, "v1=15 v1beta1=9 v1alpha1=1"),
    ("networking.k8s.io", 17200, "v1=15 v1beta1=9"),
    ("policy", 17100, "v1=15 v1beta1=9"),
    ("rbac.authorization.k8s.io", 17000, "v1=15"),
    ("storage.k8s.io", 16800, "v1=15 v1beta1=9 v1alpha1=1"),
    ("apiextensions.k8s.io", 16700, "v1=15"),
    ("admissionregistration.k8s.io", 16700, "v1=15 v1beta1=12 v1alpha1=9"),
    ("scheduling.k8s.io", 16600, "v1=15"),
    ("coordination.k8s.io", 16500, "v1=15 v1beta1=13 v1alpha2=12"),
    ("node.k8s.io", 16300, "v1=15"),
    ("discovery.k8s.io", 16200, "v1=15 v1beta1=12"),
    ("resource.k8s.io", 16200, "v1=20 v1beta2=15 v1beta1=9 v1alpha3=1"),
    ("flowcontrol.apiserver.k8s.io", 16100, "v1=21 v1beta3=18"),
    ("internal.apiserver.k8s.io", 16000, "v1alpha1=9"),
    ("storagemigration.k8s.io", 15800, "v1beta1=9"),
)

# (group, version): (group priority, version priority). This server's own group of APIServices has
# none, as upstream: it comes first.
BUILTIN_PRIORITIES: dict[tuple[str, str], tuple[int, int]] = {
    (group, part.partition("=")[0]): (priority, int(part.partition("=")[2]))
    for group, priority, versions in _GROUPS
    for part in versions.split()
}
CUSTOM_PRIORITY = (1000, 100)
