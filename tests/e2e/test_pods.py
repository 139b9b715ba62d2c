"""Every feature of a pod, on real containers: all pods are made at once, each test reads one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import (
    Cluster,
    Space,
    Tree,
    container_status,
    is_ready,
    pod_tree,
    shell,
    sleeper,
    wait_until,
)

GRPC_PORT = 50551
_PODS: dict[str, Callable[[Cluster], Tree]] = {}


def declares(name: str, **metadata: Any) -> Callable[[Callable[[Cluster], Tree]], str]:
    """The spec of a pod that is made before the tests; the name is left in its place."""

    def keep(spec: Callable[[Cluster], Tree]) -> str:
        _PODS[name] = lambda cluster: pod_tree(name, spec(cluster), **metadata)
        return name

    return keep


@pytest.fixture(scope="module")
def space(module_space: Space) -> Space:
    space, cluster = module_space, module_space.cluster
    (cluster.machine.home / "host").mkdir()
    space.create(
        "configmaps", {"metadata": {"name": "settings"}, "data": {"color": "blue", "size": "10"}}
    )
    space.create("secrets", {"metadata": {"name": "hidden"}, "stringData": {"password": "s3cret"}})
    space.create("configmaps", {"metadata": {"name": "changing"}, "data": {"value": "old"}})
    space.create("secrets", {"metadata": {"name": "changing"}, "stringData": {"value": "old"}})
    for make in _PODS.values():
        space.create("pods", make(cluster))
    return space


def words(space: Space, pod: str) -> list[str]:
    return space.logs(pod).split()


# Order and ends


@declares("ordered")
def ordered(_: Cluster) -> Tree:
    mount = {"volumeMounts": [{"name": "w", "mountPath": "/w"}]}
    helper = shell(
        "echo helper >> /w/log; trap 'exit 0' TERM; while true; do sleep 3600 & wait; done",
        name="helper",
        restartPolicy="Always",
        startupProbe={"exec": {"command": ["grep", "helper", "/w/log"]}, "periodSeconds": 1},
        **mount,
    )
    return {
        "initContainers": [
            shell("sleep 0.3; echo first >> /w/log", name="first", **mount),
            helper,
            shell("echo second >> /w/log", name="second", **mount),
        ],
        "containers": [shell("cat /w/log; exec sleep 3600", **mount)],
        "volumes": [{"name": "w", "emptyDir": {}}],
    }


def test_init_containers_and_sidecars_run_in_order(space: Space) -> None:
    pod = space.wait_ready("ordered")
    assert words(space, "ordered") == ["first", "helper", "second"]
    states = pod["status"]["initContainerStatuses"]
    assert [s["name"] for s in states] == ["first", "helper", "second"]
    assert states[0]["state"]["terminated"]["reason"] == "Completed"
    assert "running" in states[1]["state"]
    line = space.kubectl("get", "pod", "ordered", "--no-headers").stdout
    assert line.split()[1:3] == ["2/2", "Running"]


@declares("init-fails")
def init_fails(_: Cluster) -> Tree:
    return {
        "restartPolicy": "Never",
        "initContainers": [shell("exit 4", name="i")],
        "containers": [sleeper()],
    }


def test_failing_init_container_fails_the_pod(space: Space) -> None:
    pod = space.wait_phase("init-fails", "Failed")
    status = container_status(pod, kind="initContainerStatuses")
    assert status["state"]["terminated"]["exitCode"] == 4
    assert container_status(pod)["state"]["waiting"]["reason"] == "PodInitializing"
    assert "Init:Error" in space.kubectl("get", "pod", "init-fails").stdout


@declares("never")
def never(_: Cluster) -> Tree:
    message = shell(
        "echo the last word > /dev/termination-log; exit 3", terminationMessagePolicy="File"
    )
    return {"restartPolicy": "Never", "containers": [message]}


def test_never_restarted_and_its_last_message(space: Space) -> None:
    pod = space.wait_phase("never", "Failed")
    ended = container_status(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert ended["message"] == "the last word\n"
    assert container_status(pod)["restartCount"] == 0


@declares("on-failure")
def on_failure(_: Cluster) -> Tree:
    script = "[ -e /w/x ] && exit 0; touch /w/x; echo message from the log; exit 1"
    container = shell(
        script,
        volumeMounts=[{"name": "w", "mountPath": "/w"}],
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    return {
        "restartPolicy": "OnFailure",
        "containers": [container],
        "volumes": [{"name": "w", "emptyDir": {}}],
    }


def test_restarted_on_failure_only(space: Space) -> None:
    status = container_status(space.wait_phase("on-failure", "Succeeded"))
    assert status["restartCount"] == 1
    assert status["state"]["terminated"]["exitCode"] == 0
    assert status["lastState"]["terminated"]["message"] == "message from the log\n"


@declares("crashes")
def crashes(_: Cluster) -> Tree:
    return {"containers": [shell("exit 1")]}


def test_crash_loop_backs_off(space: Space) -> None:
    def backs_off(pod: Tree) -> bool:
        waiting = container_status(pod).get("state", {}).get("waiting", {})
        return bool(waiting.get("reason") == "CrashLoopBackOff")

    pod = space.wait_pod("crashes", backs_off)
    message = container_status(pod)["state"]["waiting"]["message"]
    assert message.startswith("back-off 10s restarting failed container=c pod=crashes_")
    assert "CrashLoopBackOff" in space.kubectl("get", "pod", "crashes").stdout
    wait_until("BackOff event", lambda: any("BackOff:" in e for e in space.events("crashes")))


@declares("stubborn")
def stubborn(_: Cluster) -> Tree:
    return {"containers": [shell("trap '' TERM; echo up; while true; do sleep 1; done")]}


def test_who_does_not_listen_is_killed_after_its_grace(space: Space) -> None:
    space.wait_ready("stubborn")
    done = space.kubectl("delete", "pod", "stubborn", "--grace-period=1", timeout_s=20)
    assert "deleted" in done.stdout
    assert space.find_pod("stubborn") is None


@declares("expires")
def expires(_: Cluster) -> Tree:
    return {"activeDeadlineSeconds": 1, "containers": [sleeper()]}


def test_active_deadline(space: Space) -> None:
    pod = space.wait_phase("expires", "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"


# Probes and hooks


@declares("alive")
def alive(_: Cluster) -> Tree:
    probe = {
        "exec": {"command": ["cat", "/tmp/well"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    script = (
        "touch /tmp/well; trap 'exit 0' TERM; sleep 1; rm /tmp/well; while true; do sleep 1; done"
    )
    return {"containers": [shell(script, livenessProbe=probe)]}


def test_liveness_probe_restarts(space: Space) -> None:
    space.wait_pod("alive", lambda p: container_status(p).get("restartCount", 0) >= 1)
    events = space.events("alive")
    assert any("Unhealthy: Liveness probe failed: cat: can't open" in e for e in events), events
    assert any(
        "Killing: Container c failed liveness probe, will be restarted" in e for e in events
    ), events


@declares("readable")
def readable(_: Cluster) -> Tree:
    probe = {"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 1}
    container = {
        "name": "c",
        "image": "nginx:1.7.9",
        "ports": [{"name": "web", "containerPort": 80}],
        "readinessProbe": probe,
    }
    return {"containers": [container]}


def test_readiness_probe_decides(space: Space) -> None:
    space.wait_phase("readable", "Running")
    text = "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404"
    wait_until("it fails", lambda: any(text in e for e in space.events("readable")))
    assert not is_ready(space.pod("readable"))
    space.exec("readable", "touch", "/www/ready")
    space.wait_ready("readable")
    space.exec("readable", "rm", "/www/ready")
    space.wait_pod("readable", lambda p: not is_ready(p))
    assert container_status(space.pod("readable"))["restartCount"] == 0


@declares("slow")
def slow(_: Cluster) -> Tree:
    port = {"tcpSocket": {"port": 99}}
    container = shell(
        "sleep 2; exec httpd -f -p 99 -h /etc",
        startupProbe={**port, "periodSeconds": 1, "failureThreshold": 30},
        livenessProbe={**port, "periodSeconds": 1, "failureThreshold": 1},
    )
    return {"containers": [container]}


def test_startup_probe_holds_the_others_back(space: Space) -> None:
    pod = space.wait_ready("slow")
    status = container_status(pod)
    assert status["started"] is True
    assert status["restartCount"] == 0
    assert any("Unhealthy: Startup probe failed:" in e for e in space.events("slow"))


@declares("grpc")
def grpc(_: Cluster) -> Tree:
    probe = {"grpc": {"port": GRPC_PORT}, "periodSeconds": 1, "failureThreshold": 1}
    return {"hostNetwork": True, "containers": [sleeper(readinessProbe=probe)]}


def test_grpc_probe(space: Space) -> None:
    machine = space.cluster.machine
    switch = machine.home / "not-serving"
    server = Path(__file__).parent / "grpc_health_server.py"
    command = [sys.executable, str(server), str(GRPC_PORT), str(switch)]
    machine.run(
        "sh", "-c", '"$@" >/dev/null 2>&1 & echo $! > ' + f"{machine.home}/grpc", "sh", *command
    )
    try:
        space.wait_ready("grpc")
        switch.touch()
        space.wait_pod("grpc", lambda p: not is_ready(p))
        events = space.events("grpc")
        assert any("service unhealthy" in e for e in events), events
    finally:
        machine.run("kill", (machine.home / "grpc").read_text().strip())


@declares("hooked")
def hooked(cluster: Cluster) -> Tree:
    started = {"exec": {"command": ["sh", "-c", "echo started > /tmp/hook"]}}
    stop = {"exec": {"command": ["sh", "-c", "echo stopping > /host/stopped"]}}
    container = sleeper(
        lifecycle={"postStart": started, "preStop": stop},
        volumeMounts=[{"name": "h", "mountPath": "/host"}],
    )
    return {
        "containers": [container],
        "terminationGracePeriodSeconds": 5,
        "volumes": [{"name": "h", "hostPath": {"path": str(cluster.machine.home / "host")}}],
    }


def test_hooks(space: Space) -> None:
    space.wait_ready("hooked")
    assert space.exec("hooked", "cat", "/tmp/hook") == "started\n"
    space.kubectl("delete", "pod", "hooked")
    stopped = space.cluster.machine.home / "host" / "stopped"
    assert stopped.read_text() == "stopping\n"


@declares("bad-hook")
def bad_hook(_: Cluster) -> Tree:
    return {"containers": [sleeper(lifecycle={"postStart": {"exec": {"command": ["false"]}}})]}


def test_failing_post_start_kills(space: Space) -> None:
    wait_until(
        "FailedPostStartHook",
        lambda: any("FailedPostStartHook" in e for e in space.events("bad-hook")),
    )


# Environment


@declares("environment", labels={"tier": "back"}, annotations={"note": "kept"})
def environment(_: Cluster) -> Tree:
    def field(path: str) -> Tree:
        return {"fieldRef": {"fieldPath": path}}

    variables = [
        {"name": "LITERAL", "value": "plain"},
        {"name": "COMPOSED", "value": "$(LITERAL)-$(NOWHERE)-$$(LITERAL)"},
        {
            "name": "COLOR",
            "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}},
        },
        {
            "name": "PASSWORD",
            "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "password"}},
        },
        {
            "name": "ABSENT",
            "valueFrom": {"configMapKeyRef": {"name": "missing", "key": "x", "optional": True}},
        },
        {"name": "POD", "valueFrom": field("metadata.name")},
        {"name": "SPACE", "valueFrom": field("metadata.namespace")},
        {"name": "TIER", "valueFrom": field("metadata.labels['tier']")},
        {"name": "NOTE", "valueFrom": field("metadata.annotations['note']")},
        {"name": "ADDRESS", "valueFrom": field("status.podIP")},
        {"name": "NODE", "valueFrom": field("spec.nodeName")},
        {"name": "HOST", "valueFrom": field("status.hostIP")},
        {
            "name": "MEMORY",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
        },
        {
            "name": "CPU",
            "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}},
        },
    ]
    container = shell(
        'env; echo "args: $0 $1"; exec sleep 3600',
        args=["$(LITERAL)", "two"],
        env=variables,
        envFrom=[{"prefix": "SET_", "configMapRef": {"name": "settings"}}],
        resources={"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}},
        workingDir="/tmp",
    )
    return {"containers": [container]}


def test_environment(space: Space) -> None:
    pod = space.wait_ready("environment")
    lines = space.logs("environment").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    expected = {
        "LITERAL": "plain",
        "COMPOSED": "plain-$(NOWHERE)-$(LITERAL)",
        "COLOR": "blue",
        "PASSWORD": "s3cret",
        "POD": "environment",
        "SPACE": space.name,
        "TIER": "back",
        "NOTE": "kept",
        "ADDRESS": pod["status"]["podIP"],
        "NODE": pod["spec"]["nodeName"],
        "HOST": space.cluster.machine.address,
        "MEMORY": "32",
        "CPU": "20",
        "SET_color": "blue",
        "SET_size": "10",
        "HOSTNAME": "environment",
        "PWD": "/tmp",
    }
    assert {k: found.get(k) for k in expected} == expected
    assert "ABSENT" not in found
    assert "args: plain two" in lines


@declares("no-settings")
def no_settings(_: Cluster) -> Tree:
    container = sleeper(envFrom=[{"configMapRef": {"name": "later"}}])
    return {"containers": [container]}


def test_missing_reference_waits_and_then_runs(space: Space) -> None:
    def waits(pod: Tree) -> bool:
        waiting = container_status(pod).get("state", {}).get("waiting", {})
        return bool(waiting.get("reason") == "CreateContainerConfigError")

    pod = space.wait_pod("no-settings", waits)
    assert container_status(pod)["state"]["waiting"]["message"] == 'configmap "later" not found'
    space.create("configmaps", {"metadata": {"name": "later"}, "data": {"A": "b"}})
    space.wait_ready("no-settings")
    assert space.exec("no-settings", "sh", "-c", "echo $A") == "b\n"


# Volumes


@declares("volumes", labels={"tier": "one"})
def volumes(cluster: Cluster) -> Tree:
    def mount(name: str, path: str, **more: Any) -> Tree:
        return {"name": name, "mountPath": path, **more}

    token = {
        "serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}
    }
    label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    limit = {
        "path": "limit",
        "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"},
    }
    container = sleeper(
        resources={"limits": {"memory": "64Mi"}},
        env=[{"name": "SUB", "value": "deep"}],
        volumeMounts=[
            mount("config", "/config"),
            mount("secret", "/secret", readOnly=True),
            mount("labels", "/labels"),
            mount("all", "/all"),
            mount("memory", "/memory"),
            mount("scratch", "/sub", subPath="a/b"),
            mount("scratch", "/expr", subPathExpr="$(SUB)/x"),
            mount("scratch", "/scratch"),
            mount("host", "/host"),
            mount("config", "/one-file", subPath="value"),
        ],
    )
    return {
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": "changing"}},
            {"name": "secret", "secret": {"secretName": "changing", "defaultMode": 0o400}},
            {"name": "labels", "downwardAPI": {"items": [label, limit]}},
            {
                "name": "all",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "settings"}},
                        {"secret": {"name": "hidden"}},
                        token,
                    ]
                },
            },
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            {"name": "scratch", "emptyDir": {}},
            {
                "name": "host",
                "hostPath": {
                    "path": str(cluster.machine.home / "made"),
                    "type": "DirectoryOrCreate",
                },
            },
        ],
    }


def test_volumes(space: Space) -> None:
    space.wait_ready("volumes")

    def read(path: str) -> str:
        return space.exec("volumes", "cat", path)

    assert (read("/config/value"), read("/secret/value")) == ("old", "old")
    assert space.exec("volumes", "stat", "-Lc", "%a", "/secret/value") == "400\n"
    assert read("/labels/labels") == 'tier="one"'
    assert read("/labels/limit") == str(64 << 20)
    assert (read("/all/color"), read("/all/password")) == ("blue", "s3cret")
    assert read("/all/token").count(".") == 2
    mounts = read("/proc/mounts")
    assert re.search(r"tmpfs /memory tmpfs .*size=8192k", mounts), mounts
    space.exec("volumes", "sh", "-c", "echo x > /sub/file; echo y > /expr/file; echo z > /host/f")
    assert read("/scratch/a/b/file") == "x\n"
    assert read("/scratch/deep/x/file") == "y\n"
    assert (space.cluster.machine.home / "made" / "f").read_text() == "z\n"
    refused = space.kubectl("exec", "volumes", "--", "touch", "/config/x", check=False)
    assert "Read-only file system" in refused.stderr


def test_updates_reach_a_running_pod(space: Space) -> None:
    space.wait_ready("volumes")
    cluster = space.cluster
    cluster.patch(f"{space.path}/configmaps/changing", {"data": {"value": "new"}})
    cluster.patch(f"{space.path}/secrets/changing", {"stringData": {"value": "new"}})
    cluster.patch(f"{space.path}/pods/volumes", {"metadata": {"labels": {"tier": "two"}}})
    script = "cat /config/value /secret/value /labels/labels"
    wait_until(
        "updates are in the files",
        lambda: space.exec("volumes", "sh", "-c", script) == 'newnewtier="two"',
        timeout_s=100,
        every_s=0.3,
    )
    # A subPath mount keeps what it was started with.
    assert space.exec("volumes", "cat", "/one-file") == "old"


@declares("lacks-volume")
def lacks_volume(_: Cluster) -> Tree:
    return {
        "containers": [sleeper(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
        "volumes": [{"name": "v", "configMap": {"name": "not-there"}}],
    }


def test_missing_volume_source_is_told(space: Space) -> None:
    text = 'FailedMount: MountVolume.SetUp failed for volume "v" : configmap "not-there" not found'
    wait_until("it is told", lambda: any(text in e for e in space.events("lacks-volume")))
    assert "ContainerCreating" in space.kubectl("get", "pod", "lacks-volume").stdout


# Security


@declares("restricted")
def restricted(_: Cluster) -> Tree:
    container = sleeper(
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 2000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        volumeMounts=[{"name": "w", "mountPath": "/w"}],
    )
    return {
        "securityContext": {"fsGroup": 3000, "supplementalGroups": [4000]},
        "containers": [container],
        "volumes": [{"name": "w", "emptyDir": {}}],
    }


def process_status(space: Space, pod: str) -> dict[str, str]:
    text = space.exec(pod, "cat", "/proc/1/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_restricted(space: Space) -> None:
    space.wait_ready("restricted")
    status = process_status(space, "restricted")
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["2000"] * 4
    assert set(status["Groups"].split()) >= {"3000", "4000"}
    assert int(status["CapBnd"], 16) == 1 << 10
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    refused = space.kubectl("exec", "restricted", "--", "touch", "/x", check=False)
    assert "Read-only file system" in refused.stderr
    assert space.exec("restricted", "sh", "-c", "touch /w/x; stat -c %g /w/x") == "3000\n"


@declares("privileged")
def privileged(_: Cluster) -> Tree:
    return {"containers": [sleeper(securityContext={"privileged": True})]}


@declares("ordinary")
def ordinary(_: Cluster) -> Tree:
    return {"containers": [sleeper()]}


def test_privileged_and_ordinary(space: Space) -> None:
    space.wait_ready("privileged")
    space.wait_ready("ordinary")
    all_rights = int(Path("/proc/1/status").read_text().partition("CapBnd:\t")[2].split()[0], 16)
    assert int(process_status(space, "privileged")["CapEff"], 16) == all_rights
    ordinary_rights = int(process_status(space, "ordinary")["CapEff"], 16)
    assert ordinary_rights == 0xA80425FB  # the runtimes' usual fourteen
    space.exec("privileged", "mount", "-t", "tmpfs", "none", "/tmp")
    refused = space.kubectl(
        "exec", "ordinary", "--", "mount", "-t", "tmpfs", "none", "/tmp", check=False
    )
    assert refused.returncode != 0
    assert "/dev/kmsg" in space.exec("privileged", "sh", "-c", "ls /dev/kmsg")
    # The runtime's profile unless asked otherwise: stricter than upstream's own default.
    assert process_status(space, "ordinary")["Seccomp"] == "2"
    assert process_status(space, "privileged")["Seccomp"] == "0"


@declares("not-root")
def not_root(_: Cluster) -> Tree:
    return {"containers": [sleeper(securityContext={"runAsNonRoot": True})]}


def test_run_as_non_root_is_checked(space: Space) -> None:
    def refused(pod: Tree) -> bool:
        waiting = container_status(pod).get("state", {}).get("waiting", {})
        return bool(waiting.get("reason") == "CreateContainerConfigError")

    pod = space.wait_pod("not-root", refused)
    message = container_status(pod)["state"]["waiting"]["message"]
    assert message.startswith("container has runAsNonRoot and image will run as root")


@declares("host")
def host(_: Cluster) -> Tree:
    return {
        "hostNetwork": True,
        "hostPID": True,
        "hostAliases": [{"ip": "203.0.113.9", "hostnames": ["far.example", "far"]}],
        "containers": [sleeper()],
    }


def test_host_namespaces_and_aliases(space: Space) -> None:
    pod = space.wait_ready("host")
    assert pod["status"]["podIP"] == space.cluster.machine.address
    assert "eth0" in space.exec("host", "ip", "addr")
    assert "kutter server" in space.exec("host", "ps", "w") or "kutter" in space.exec(
        "host", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )


@declares("aliased")
def aliased(_: Cluster) -> Tree:
    return {
        "hostname": "custom",
        "subdomain": "sub",
        "hostAliases": [{"ip": "203.0.113.9", "hostnames": ["far.example", "far"]}],
        "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": ["203.0.113.53"],
            "searches": ["example.org"],
            "options": [{"name": "ndots", "value": "2"}],
        },
        "shareProcessNamespace": True,
        "containers": [sleeper(), shell("exec httpd -f -p 77 -h /etc", name="d")],
    }


def test_names_of_the_pod_itself(space: Space) -> None:
    pod = space.wait_ready("aliased")
    hosts = space.exec("aliased", "cat", "/etc/hosts")
    assert "203.0.113.9\tfar.example\tfar" in hosts
    assert re.search(
        rf"{pod['status']['podIP']}\tcustom\.sub\.{space.name}\.svc\.cluster\.local\tcustom", hosts
    )
    assert space.exec("aliased", "hostname") == "custom\n"
    resolv = space.exec("aliased", "cat", "/etc/resolv.conf")
    assert resolv == "search example.org\nnameserver 203.0.113.53\noptions ndots:2\n"
    processes = space.exec("aliased", "ps")
    assert "trap 'exit 0'" in processes
    assert "httpd -f -p 77" in processes
    # The containers of a pod share its network.
    assert "root:" in space.exec("aliased", "curl", "-sS", "http://127.0.0.1:77/passwd")


# Resources


@declares("limited")
def limited(_: Cluster) -> Tree:
    resources = {
        "requests": {"cpu": "50m", "memory": "16Mi"},
        "limits": {"cpu": "100m", "memory": "32Mi"},
    }
    return {"containers": [sleeper(resources=resources)]}


def cgroup_files(cluster: Cluster, controller: str, file: str, container: str) -> list[str]:
    base = Path("/sys/fs/cgroup")
    roots = [base / controller, base / "unified", base]
    found = []
    for root in roots:
        top = root / cluster.machine.cgroup_root
        if top.is_dir():
            found += [
                path.read_text().strip()
                for path in top.rglob(file)
                if container[:12] in str(path.parent)
            ]
    return found


def test_resources_become_cgroups(space: Space) -> None:
    pod = space.wait_ready("limited")
    assert pod["status"]["qosClass"] == "Burstable"
    container = container_status(pod)["containerID"].partition("://")[2]
    cluster = space.cluster
    if Path("/sys/fs/cgroup/memory").is_dir():
        assert cgroup_files(cluster, "memory", "memory.limit_in_bytes", container) == [
            str(32 << 20)
        ]
        assert cgroup_files(cluster, "cpu", "cpu.cfs_quota_us", container) == ["10000"]
        assert cgroup_files(cluster, "cpu", "cpu.shares", container) == ["51"]
    else:
        assert cgroup_files(cluster, "", "memory.max", container) == [str(32 << 20)]
        assert cgroup_files(cluster, "", "cpu.max", container) == ["10000 100000"]
    assert space.pod("ordinary")["status"]["qosClass"] == "BestEffort"


@declares("greedy")
def greedy(_: Cluster) -> Tree:
    container = shell(
        "exec dd if=/dev/zero of=/dev/null bs=64M count=4",
        resources={"limits": {"memory": "16Mi"}},
    )
    return {"restartPolicy": "Never", "containers": [container]}


def test_out_of_memory(space: Space) -> None:
    pod = space.wait_phase("greedy", "Failed")
    ended = container_status(pod)["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    assert pod["status"]["qosClass"] == "Burstable"


@declares("huge")
def huge(_: Cluster) -> Tree:
    return {"containers": [sleeper(resources={"requests": {"cpu": "1000"}})]}


@declares("elsewhere")
def elsewhere(_: Cluster) -> Tree:
    return {"nodeSelector": {"no": "where"}, "containers": [sleeper()]}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("huge", "1 Insufficient cpu"),
        ("elsewhere", "1 node(s) didn't match Pod's node affinity/selector"),
    ],
)
def test_unschedulable_says_why(space: Space, name: str, reason: str) -> None:
    text = f"FailedScheduling: 0/1 nodes are available: {reason}."
    wait_until(text, lambda: any(text in e for e in space.events(name)))
    conditions = {c["type"]: c for c in space.pod(name)["status"]["conditions"]}
    assert conditions["PodScheduled"]["reason"] == "Unschedulable"


@declares("host-port")
def host_port(_: Cluster) -> Tree:
    ports = [{"containerPort": 80, "hostPort": 8088}]
    return {"containers": [{"name": "c", "image": "nginx:1.7.9", "ports": ports}]}


def test_host_port(space: Space) -> None:
    space.wait_ready("host-port")
    url = f"http://{space.cluster.machine.address}:8088/"
    wait_until("it answers", lambda: space.cluster.curl(url, check=False) == "nginx:1.7.9\n")


# Images


@declares("bare-image")
def bare_image(_: Cluster) -> Tree:
    return {"containers": [{"name": "c", "image": "scratch:1"}]}


def test_image_without_shell(space: Space) -> None:
    space.wait_ready("bare-image")
    missing = space.kubectl("exec", "bare-image", "--", "sh", check=False)
    assert missing.returncode != 0
    space.exec("bare-image", "/sleep", "0")


@declares("bad-command")
def bad_command(_: Cluster) -> Tree:
    return {"containers": [{"name": "c", "image": "scratch:1", "command": ["/not/there"]}]}


def test_missing_command_is_told(space: Space) -> None:
    def told(pod: Tree) -> bool:
        status = container_status(pod)
        waiting = status.get("state", {}).get("waiting", {})
        ended = status.get("lastState", {}).get("terminated", {})
        return waiting.get("reason") in ("RunContainerError", "CrashLoopBackOff") and (
            ended.get("reason") in (None, "StartError", "ContainerCannotRun")
        )

    pod = space.wait_pod("bad-command", told)
    events = space.events("bad-command")
    assert any("/not/there" in e for e in events), (events, pod["status"])


@declares("not-imported")
def not_imported(_: Cluster) -> Tree:
    container = sleeper()
    container |= {"image": "127.0.0.1:1/none:1", "imagePullPolicy": "IfNotPresent"}
    return {"containers": [container]}


@declares("never-pulled")
def never_pulled(_: Cluster) -> Tree:
    return {"containers": [{**sleeper(), "image": "none:1", "imagePullPolicy": "Never"}]}


@declares("misnamed")
def misnamed(_: Cluster) -> Tree:
    return {"containers": [{**sleeper(), "image": "UPPER/:x"}]}


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("not-imported", {"ErrImagePull", "ImagePullBackOff"}),
        ("never-pulled", {"ErrImageNeverPull"}),
        ("misnamed", {"InvalidImageName"}),
    ],
)
def test_image_errors(space: Space, name: str, reasons: set[str]) -> None:
    space.wait_pod(
        name,
        lambda p: container_status(p).get("state", {}).get("waiting", {}).get("reason") in reasons,
    )
    assert space.events(name)


# One account, user kutter, whose password is known to these tests alone.
_HTPASSWD = "kutter:$2b$04$Eh/n66IM8h7rLW.ETiVXT.ZAhVZi04cC/ebt2XPj4jtTwxwg97ku6\n"
_PASSWORD = "s3cret"


def test_pull_from_a_registry_with_a_secret(
    space: Space, archives: list[Path], tmp_path: Path
) -> None:
    machine, registry = space.cluster.machine, "127.0.0.1:5000"
    (tmp_path / "htpasswd").write_text(_HTPASSWD)
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": registry},
        "auth": {"htpasswd": {"realm": "tests", "path": str(tmp_path / "htpasswd")}},
    }
    (tmp_path / "registry.json").write_text(json.dumps(settings))
    command = f"docker-registry serve {tmp_path}/registry.json >/dev/null 2>&1 & echo $!"
    served = machine.run("sh", "-c", command).stdout.strip()
    try:
        wait_until(
            "the registry answers",
            lambda: (
                machine.run("curl", "-s", f"http://{registry}/v2/", check=False).returncode == 0
            ),
        )
        machine.run(
            *("skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"),
            *("--dest-creds", f"kutter:{_PASSWORD}", f"oci-archive:{archives[0]}"),
            f"docker://{registry}/team/web:1",
        )
        container = {"name": "c", "image": f"{registry}/team/web:1"}
        space.create_pod("no-secret", {"containers": [container]})
        reasons = {"ErrImagePull", "ImagePullBackOff"}
        space.wait_pod(
            "no-secret",
            lambda p: (
                container_status(p).get("state", {}).get("waiting", {}).get("reason") in reasons
            ),
        )
        space.kubectl(
            *("create", "secret", "docker-registry", "login", f"--docker-server={registry}"),
            *("--docker-username=kutter", f"--docker-password={_PASSWORD}"),
        )
        secrets = [{"name": "login"}]
        space.create_pod("pulls", {"containers": [container], "imagePullSecrets": secrets})
        pod = space.wait_ready("pulls")
        assert "@sha256:" in container_status(pod)["imageID"]
        assert any(
            f'Pulled: Successfully pulled image "{registry}/team/web:1" in ' in e
            for e in space.events("pulls")
        ), space.events("pulls")
    finally:
        machine.run("kill", served)


# Others


def test_static_pod(space: Space) -> None:
    cluster = space.cluster
    node = cluster.get("/api/v1/nodes")["items"][0]["metadata"]["name"]
    name = f"fixed-{node}"
    manifest = cluster.state / "manifests" / "fixed.json"
    tree = pod_tree("fixed", {"containers": [sleeper()]}, namespace=space.name)
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps(tree))
    space.wait_ready(name)
    assert space.exec(name, "echo", "here") == "here\n"
    # Deleting the mirror does not stop it.
    container = container_status(space.pod(name))["containerID"]
    uid = space.pod(name)["metadata"]["uid"]
    space.kubectl("delete", "pod", name, "--wait=false")
    space.wait_pod(name, lambda p: p["metadata"]["uid"] != uid and is_ready(p))
    assert container_status(space.pod(name))["containerID"] == container
    manifest.unlink()
    space.wait_gone(name)


def test_debug_container(space: Space) -> None:
    space.wait_ready("bare-image")
    space.kubectl(
        "debug", "bare-image", "--image=tools:1", "--target=c", "-c", "eye", "--", "sleep", "3600"
    )

    def runs(pod: Tree) -> bool:
        status = container_status(pod, kind="ephemeralContainerStatuses")
        return "running" in status.get("state", {})

    space.wait_pod("bare-image", runs)
    listing = space.kubectl("exec", "bare-image", "-c", "eye", "--", "ps").stdout
    assert "/sleep 3600" in listing, "the debugger sees its target's processes"


def test_force_delete(space: Space) -> None:
    space.create_pod("forced", {"terminationGracePeriodSeconds": 30, "containers": [sleeper()]})
    space.wait_ready("forced")
    space.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
    assert space.find_pod("forced") is None


def test_node_is_described(space: Space) -> None:
    node = space.cluster.get("/api/v1/nodes")["items"][0]
    conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert conditions["MemoryPressure"] == conditions["DiskPressure"] == "False"
    text = space.kubectl("describe", "node", node["metadata"]["name"]).stdout
    assert "Non-terminated Pods" in text
    assert "Ready" in space.kubectl("get", "nodes").stdout


def test_namespace_goes_with_everything_in_it(cluster: Cluster) -> None:
    doomed = Space(cluster, "doomed").make()
    doomed.create_pod("p", {"containers": [sleeper()]})
    doomed.create("configmaps", {"metadata": {"name": "c"}})
    doomed.wait_ready("p")
    cluster.kubectl("delete", "namespace", "doomed", timeout_s=40)
    assert cluster.request("GET", "/api/v1/namespaces/doomed")[0] == 404
    assert cluster.get("/api/v1/namespaces/doomed/pods")["items"] == []
