"""Names, numbers and small state machines of the agent."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from tests.unit.node.conftest import container_tree, pod_tree

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod, Probe
from kutter.node.dns import NodeDns, compute_dns, compute_hostname, parse_resolv_conf, render_hosts
from kutter.node.eviction import Signals, choose_victim, compute_pressure, rank
from kutter.node.node_object import Pressure
from kutter.node.options import EvictionThresholds
from kutter.node.pod_admission import admit
from kutter.node.probes import Outcome, initial_state, observe, resolve_port
from kutter.node.resources import (
    container_resources,
    pod_amounts,
    pod_cgroup,
    pod_resources,
    qos_class,
)
from kutter.node.security import UnsafeUserError, check_non_root, compute_security
from kutter.node.static_pods import mirror_of, static_pod
from kutter.runtime.cri import Image


def pod(name: str = "web", **spec: Any) -> Pod:
    tree = pod_tree(name, **spec)
    tree["metadata"]["uid"] = f"uid-{name}"
    return convert(Pod, tree)


def sized(requests: dict[str, str], limits: dict[str, str] | None = None, **more: Any) -> Any:
    return container_tree(resources={"requests": requests, "limits": limits or {}}, **more)


BOTH = {"cpu": "500m", "memory": "64Mi"}


@pytest.mark.parametrize(
    ("containers", "kind"),
    [
        ([container_tree()], "BestEffort"),
        ([sized(BOTH, BOTH)], "Guaranteed"),
        ([sized({}, BOTH)], "Guaranteed"),
        ([sized({"cpu": "1"})], "Burstable"),
        ([sized(BOTH, BOTH), container_tree("b")], "Burstable"),
        ([sized({"cpu": "0"})], "BestEffort"),
        ([sized({}, {"cpu": "1"})], "Burstable"),
    ],
)
def test_service_class(containers: list[Any], kind: str) -> None:
    one = pod(containers=containers)
    assert qos_class(one) == kind
    folder = {"Guaranteed": "", "Burstable": "/burstable", "BestEffort": "/besteffort"}[kind]
    assert pod_cgroup(one) == f"/kutter{folder}/poduid-web"


def test_pod_requests_count_init_peaks_and_sidecars() -> None:
    one = pod(
        initContainers=[
            sized({"cpu": "1"}, name="side", restartPolicy="Always"),
            sized({"cpu": "3"}, name="init"),
        ],
        containers=[sized({"cpu": "500m"})],
        overhead={"cpu": "100m"},
    )
    assert pod_amounts(one, "requests") == {"cpu": Fraction(41, 10)}


def test_cgroup_numbers() -> None:
    one = pod(containers=[sized({"cpu": "250m", "memory": "1Gi"}, {"cpu": "1", "memory": "2Gi"})])
    found = container_resources(one, one.spec.containers[0], memory_capacity_bytes=4 * 2**30)
    assert (found.cpu_shares, found.cpu_quota_us, found.cpu_period_us) == (256, 100_000, 100_000)
    assert found.memory_limit_bytes == 2 * 2**30
    assert found.oom_score_adj == 750
    whole = pod_resources(one)
    assert (whole.cpu_quota_us, whole.memory_limit_bytes) == (100_000, 2 * 2**30)
    loose = pod(containers=[sized(BOTH, BOTH), container_tree("free")])
    assert pod_resources(loose).memory_limit_bytes == 0
    nothing = pod()
    found = container_resources(nothing, nothing.spec.containers[0], memory_capacity_bytes=1)
    assert (found.cpu_shares, found.cpu_quota_us, found.oom_score_adj) == (2, 0, 1000)


NODE = NodeDns("10.43.0.10", "cluster.local", ("192.0.2.53",), ("corp.example",), ("rotate",))


def test_resolv_conf_by_policy() -> None:
    found = compute_dns(pod(dnsPolicy="ClusterFirst"), NODE)
    assert found.servers == ("10.43.0.10",)
    assert found.searches[:3] == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    assert found.searches[3:] == ("corp.example",)
    assert found.options == ("ndots:5",)
    assert compute_dns(pod(dnsPolicy="Default"), NODE).servers == ("192.0.2.53",)
    assert compute_dns(pod(dnsPolicy="ClusterFirst", hostNetwork=True), NODE).options == ("rotate",)
    hosted = pod(dnsPolicy="ClusterFirstWithHostNet", hostNetwork=True)
    assert compute_dns(hosted, NODE).servers == ("10.43.0.10",)
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["my.ns"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    own = compute_dns(pod(dnsPolicy="None", dnsConfig=config), NODE)
    assert (own.servers, own.searches, own.options) == (
        ("1.1.1.1",),
        ("my.ns",),
        ("ndots:2", "edns0"),
    )
    mixed = compute_dns(pod(dnsPolicy="ClusterFirst", dnsConfig=config), NODE)
    assert mixed.options == ("ndots:2", "edns0")
    assert parse_resolv_conf("nameserver 1.2.3.4\nsearch a b # c\noptions x:1\n;no\n") == (
        ("1.2.3.4",),
        ("a", "b"),
        ("x:1",),
    )


def test_hostnames_and_hosts_file() -> None:
    one = pod(
        hostname="h", subdomain="sub", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]
    )
    host, fqdn = compute_hostname(one, "cluster.local", "node")
    assert (host, fqdn) == ("h", "h.sub.default.svc.cluster.local")
    text = render_hosts(one, ("10.0.0.2",), host, fqdn, "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.2\th.sub.default.svc.cluster.local\th\n" in text
    assert text.endswith("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")
    assert compute_hostname(pod(hostNetwork=True), "c", "node") == ("node", "")
    assert len(compute_hostname(pod("x" * 70), "c", "node")[0]) == 63


def test_probe_thresholds() -> None:
    probe = convert(Probe, {"failureThreshold": 2, "successThreshold": 2})
    state = initial_state("readiness")
    seen = []
    for letter in "SSFSFFSS":
        outcome = Outcome.SUCCESS if letter == "S" else Outcome.FAILURE
        state = observe(state, outcome, probe)
        seen.append(state.verdict)
    assert seen == [False, True, True, True, True, False, False, True]
    assert observe(state, Outcome.UNKNOWN, probe) == state
    assert initial_state("liveness").verdict


def test_named_ports() -> None:
    spec = pod(
        containers=[container_tree(ports=[{"name": "http", "containerPort": 81}])]
    ).spec.containers[0]
    assert resolve_port("http", spec) == 81
    assert resolve_port("90", spec) == 90
    for wrong in ("nope", 0, 70000):
        with pytest.raises(ValueError):
            resolve_port(wrong, spec)


def allow(one: Pod, *others: Pod, **more: Any) -> Any:
    values: dict[str, Any] = {
        "allocatable": {"cpu": Fraction(1), "memory": Fraction(2**30), "pods": Fraction(2)},
        "labels": {"zone": "a", "size": "5"},
        "node_name": "node-1",
        **more,
    }
    return admit(one, others, **values)


def test_admission_by_room() -> None:
    assert allow(pod(containers=[sized({"cpu": "1"})])) is None
    refused = allow(
        pod(containers=[sized({"cpu": "600m"})]), pod("b", containers=[sized({"cpu": "500m"})])
    )
    assert refused.reason == "OutOfcpu"
    assert refused.message == (
        "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000"
    )
    assert allow(pod(), pod("b"), pod("c")).reason == "OutOfpods"
    assert allow(pod(containers=[sized({"example.com/gpu": "1"})])).reason == "OutOfexample.com/gpu"


def test_admission_by_ports_selector_and_sysctl() -> None:
    def port(**more: Any) -> Any:
        return [container_tree(ports=[{"containerPort": 1, "hostPort": 80, **more}])]

    assert allow(pod(containers=port()), pod("b", containers=port())).reason == "NodePorts"
    assert allow(pod(containers=port(protocol="UDP")), pod("b", containers=port())) is None
    one, two = port(hostIP="127.0.0.1"), port(hostIP="127.0.0.2")
    assert allow(pod(containers=one), pod("b", containers=two)) is None
    assert allow(pod(nodeSelector={"zone": "b"})).reason == "NodeAffinity"
    assert allow(pod(nodeSelector={"zone": "a"})) is None

    def affinity(*expressions: Any) -> Any:
        terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}

    greater = {"key": "size", "operator": "Gt", "values": ["4"]}
    absent = {"key": "none", "operator": "DoesNotExist"}
    assert allow(pod(affinity=affinity(greater, absent))) is None
    assert allow(pod(affinity=affinity({**greater, "operator": "Lt"}))).reason == "NodeAffinity"
    safe = {"sysctls": [{"name": "net/ipv4/ip_local_port_range", "value": "1 2"}]}
    assert allow(pod(securityContext=safe)) is None
    unsafe = {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}
    assert allow(pod(securityContext=unsafe)).reason == "SysctlForbidden"


def test_security_of_containers() -> None:
    one = pod(
        securityContext={"runAsUser": 5, "fsGroup": 7, "supplementalGroups": [8]},
        containers=[
            container_tree(
                securityContext={
                    "runAsUser": 6,
                    "allowPrivilegeEscalation": False,
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"},
                }
            ),
            container_tree("free", securityContext={"privileged": True}),
        ],
    )
    first = compute_security(one, one.spec.containers[0])
    assert (first.run_as_user, first.supplemental_groups) == (6, (8, 7))
    assert first.no_new_privs
    assert first.seccomp == "localhost/p.json"
    second = compute_security(one, one.spec.containers[1])
    assert (second.run_as_user, second.privileged, second.seccomp) == (5, True, "unconfined")
    assert second.masked_paths == ()


@pytest.mark.parametrize(
    ("context", "image", "text"),
    [
        ({"runAsUser": 0}, {"uid": 5}, "runAsUser breaks non-root policy"),
        ({}, {"uid": 0}, "image will run as root"),
        ({}, {}, "image will run as root"),
        ({}, {"username": "www"}, "non-numeric user (www)"),
        ({}, {"uid": 5}, ""),
        ({"runAsUser": 3}, {"uid": 0}, ""),
    ],
)
def test_non_root_policy(context: dict[str, Any], image: dict[str, Any], text: str) -> None:
    one = pod(containers=[container_tree(securityContext={"runAsNonRoot": True, **context})])
    made = Image("sha256:1", (), (), 1, **image)
    if not text:
        check_non_root(one, one.spec.containers[0], made)
        return
    with pytest.raises(UnsafeUserError) as caught:
        check_non_root(one, one.spec.containers[0], made)
    assert text in str(caught.value)


def test_pressure_and_ranking() -> None:
    signals = Signals(50 * 2**20, 100, 9, 100, 50, 1000, 10)
    assert compute_pressure(signals, EvictionThresholds()) == Pressure(memory=True, disk=True)
    calm = Signals(2**30, 100, 50, 0, 0, 1000, 10)
    assert compute_pressure(calm, EvictionThresholds()) == Pressure()
    modest = pod("modest", containers=[sized({"memory": "1Gi"})])
    greedy = pod("greedy", containers=[sized({"memory": "1Mi"})])
    system = pod("system", priority=2_000_000_000)
    usage = {"uid-modest": 2**20, "uid-greedy": 2**29, "uid-system": 2**33}
    assert [p.metadata.name for p in rank([modest, greedy], usage)] == ["greedy", "modest"]
    victim = choose_victim([modest, greedy, system], usage, Pressure(memory=True))
    assert victim is not None
    assert victim.pod is greedy
    assert victim.message == "The node was low on resource: memory. "
    assert choose_victim([system], usage, Pressure(memory=True)) is None


def test_static_pod_and_its_mirror() -> None:
    manifest = {"metadata": {"name": "etcd"}, "spec": {"containers": [{"name": "e", "image": "i"}]}}
    made = static_pod(manifest, "/x/etcd.yaml", "node-1")
    assert made["metadata"]["name"] == "etcd-node-1"
    assert made["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    assert (
        static_pod(manifest, "/x/etcd.yaml", "node-1")["metadata"]["uid"] == made["metadata"]["uid"]
    )
    mirror = mirror_of(made, "node-uid", "node-1")
    assert "uid" not in mirror["metadata"]
    annotations = mirror["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.mirror"] == made["metadata"]["uid"]
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
