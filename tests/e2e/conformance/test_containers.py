"""sig-node conformance: what containers that end by themselves find inside and leave behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.cluster import Cluster, Space, Tree, container_status, sleeper, wait_until
from tests.e2e.conformance.runs import Ended, Run, start_runs, wait_runs
from tests.e2e.conftest import make_space


def _env(**values: str) -> list[Tree]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _field(name: str, path: str) -> Tree:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _resource(name: str, resource: str) -> Tree:
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}}


_LIMITS = {
    "limits": {"cpu": "1250m", "memory": "64Mi"},
    "requests": {"cpu": "250m", "memory": "32Mi"},
}

RUNS = {
    # ConfigMap and Secrets
    "env-config-map-key": Run(
        "echo $A",
        "value-1\n",
        container={
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "data", "key": "data_1"}}}
            ]
        },
    ),
    "env-config-map-from": Run(
        "env | grep -E '^(p_)?data_' | sort",
        "data_1=value-1\ndata_2=value-2\np_data_1=value-1\np_data_2=value-2\n",
        container={
            "envFrom": [
                {"configMapRef": {"name": "data"}},
                {"prefix": "p_", "configMapRef": {"name": "data"}},
            ]
        },
    ),
    "env-secret-key": Run(
        "echo $A",
        "value-1\n",
        container={
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "data", "key": "data_1"}}}]
        },
    ),
    "env-secret-from": Run(
        # The shell drops names it cannot hold; what it was given is in its first environment.
        "tr '\\0' '\\n' < /proc/1/environ | grep -E '^(p-)?data_' | sort",
        "data_1=value-1\ndata_2=value-2\np-data_1=value-1\np-data_2=value-2\n",
        container={
            "envFrom": [
                {"secretRef": {"name": "data"}},
                {"prefix": "p-", "secretRef": {"name": "data"}},
            ]
        },
    ),
    # Containers: command and args
    "image-defaults": Run(
        "",
        "entry default arguments\n",
        container={"image": "says:1", "command": None},
    ),
    "override-arguments": Run(
        "", "entry other\n", container={"image": "says:1", "command": None, "args": ["other"]}
    ),
    "override-command": Run("", "\n", container={"image": "says:1", "command": ["/bin/echo"]}),
    "override-both": Run(
        "", "both\n", container={"image": "says:1", "command": ["/bin/echo"], "args": ["both"]}
    ),
    # Downward API
    "downward-limits": Run(
        "echo $CL $CR $ML $MR",
        "2 1 67108864 33554432\n",
        container={
            "resources": _LIMITS,
            "env": [
                _resource("CL", "limits.cpu"),
                _resource("CR", "requests.cpu"),
                _resource("ML", "limits.memory"),
                _resource("MR", "requests.memory"),
            ],
        },
    ),
    "downward-names": Run(
        "echo $NAME $ACCOUNT; [ -n $NODE ] && [ $HOST = $HOSTS ] && [ $IP = $(hostname -i) ] && "
        "[ ${#UID_} = 36 ] && echo yes",
        "downward-names default\nyes\n",
        container={
            "env": [
                _field("NAME", "metadata.name"),
                _field("NODE", "spec.nodeName"),
                _field("ACCOUNT", "spec.serviceAccountName"),
                _field("HOST", "status.hostIP"),
                _field("HOSTS", "status.hostIPs"),
                _field("IP", "status.podIP"),
                _field("UID_", "metadata.uid"),
            ]
        },
    ),
    # Variable expansion
    "expand-env": Run(
        "env | grep -E '^(FOO|BAR|FOOBAR)=' | sort",
        "BAR=bar-value\nFOO=foo-value\nFOOBAR=foo-value;;bar-value\n",
        container={"env": _env(FOO="foo-value", BAR="bar-value", FOOBAR="$(FOO);;$(BAR)")},
    ),
    "expand-command": Run(
        "",
        "test-value $(TEST_VAR) $(ABSENT)\n",
        container={
            "env": _env(TEST_VAR="test-value"),
            "command": ["/bin/echo", "$(TEST_VAR)"],
            "args": ["$$(TEST_VAR)", "$(ABSENT)"],
        },
    ),
    # Security context
    "user-65534": Run("id -u", "65534\n", container={"securityContext": {"runAsUser": 65534}}),
    "user-group-container": Run(
        "echo $(id -u) $(id -g)",
        "1001 2002\n",
        container={"securityContext": {"runAsUser": 1001, "runAsGroup": 2002}},
    ),
    "user-group-pod": Run(
        "echo $(id -u) $(id -g); id -G",
        "1001 2002\n2002 3003 4004\n",
        spec={
            "securityContext": {
                "runAsUser": 1001,
                "runAsGroup": 2002,
                "fsGroup": 3003,
                "supplementalGroups": [4004],
            }
        },
    ),
    "unprivileged": Run(
        "ip link add b0 type bridge 2>/dev/null || echo refused",
        "refused\n",
        container={"securityContext": {"privileged": False}},
    ),
    "privileged": Run(
        "ip link add b0 type bridge && echo made",
        "made\n",
        container={"securityContext": {"privileged": True}},
    ),
    "writable-root": Run(
        "echo x > /f && cat /f",
        "x\n",
        container={"securityContext": {"readOnlyRootFilesystem": False}},
    ),
    "read-only-root": Run(
        "(echo test > /file) 2>/dev/null; cat /file",
        "cat: can't open '/file': No such file or directory\n",
        container={"securityContext": {"readOnlyRootFilesystem": True}},
        phase="Failed",
    ),
    "no-new-privileges": Run(
        "id -u; grep NoNewPrivs /proc/self/status",
        "1000\nNoNewPrivs:\t1\n",
        container={"securityContext": {"runAsUser": 1000, "allowPrivilegeEscalation": False}},
    ),
    "may-escalate": Run(
        "id -u; grep NoNewPrivs /proc/self/status",
        "1000\nNoNewPrivs:\t0\n",
        container={"securityContext": {"runAsUser": 1000}},
    ),
    # Sysctls
    "sysctl": Run(
        "sysctl kernel.shm_rmid_forced",
        "kernel.shm_rmid_forced = 1\n",
        spec={"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}},
    ),
    "sysctl-slash": Run(
        "sysctl kernel.shm_rmid_forced",
        "kernel.shm_rmid_forced = 1\n",
        spec={"securityContext": {"sysctls": [{"name": "kernel/shm_rmid_forced", "value": "1"}]}},
    ),
    # Kubelet
    "logs": Run("echo Hello World; echo again >&2", "Hello World\nagain\n"),
    "host-aliases": Run(
        "grep -v '^#' /etc/hosts | grep 123.45",
        "123.45.67.89\tfoo\tbar\n",
        spec={"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]},
    ),
    "service-variables": Run(
        "env | grep ^FOOSERVICE | sed 's/10\\.[0-9.]*/IP/' | sort",
        "FOOSERVICE_PORT=tcp://IP:8765\n"
        "FOOSERVICE_PORT_8765_TCP=tcp://IP:8765\n"
        "FOOSERVICE_PORT_8765_TCP_ADDR=IP\n"
        "FOOSERVICE_PORT_8765_TCP_PORT=8765\n"
        "FOOSERVICE_PORT_8765_TCP_PROTO=tcp\n"
        "FOOSERVICE_SERVICE_HOST=IP\n"
        "FOOSERVICE_SERVICE_PORT=8765\n",
    ),
    # Init containers
    "init-in-order": Run(
        "cat /v/f",
        "one\ntwo\n",
        {"v": {"emptyDir": {}}},
        spec={
            "initContainers": [
                {
                    "name": word,
                    "image": "tools:1",
                    "command": ["sh", "-c", f"echo {word} >> /v/f"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
                for word in ("one", "two")
            ]
        },
    ),
    # A sidecar does not keep the pod from ending.
    "sidecar": Run(
        "until cat /v/f 2>/dev/null; do sleep 0.1; done",
        "side\n",
        {"v": {"emptyDir": {}}},
        spec={
            "initContainers": [
                {
                    **sleeper(),
                    "name": "side",
                    "restartPolicy": "Always",
                    "command": ["sh", "-c", "echo side > /v/f; exec sleep 3600"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
            ]
        },
    ),
}

# name: (script, fields of the container, message, exit code)
MESSAGES: dict[str, tuple[str, Tree, str, int]] = {
    "message-default": ("echo -n DONE > /dev/termination-log", {}, "DONE", 0),
    "message-user-path": (
        "echo -n DONE > /dev/termination-custom-log",
        {
            "terminationMessagePath": "/dev/termination-custom-log",
            "securityContext": {"runAsUser": 1000},
        },
        "DONE",
        0,
    ),
    "message-from-log": (
        "echo -n DONE; exit 1",
        {"terminationMessagePolicy": "FallbackToLogsOnError"},
        "DONE",
        1,
    ),
    "message-empty-on-success": (
        "echo DONE; exit 0",
        {"terminationMessagePolicy": "FallbackToLogsOnError"},
        "",
        0,
    ),
    "message-file-first": (
        "echo -n OK > /dev/termination-log; echo LOG; exit 0",
        {"terminationMessagePolicy": "FallbackToLogsOnError"},
        "OK",
        0,
    ),
}


@pytest.fixture(scope="module")
def made(cluster: Cluster, conformance_images: None) -> Iterator[Space]:
    space = make_space(cluster, "containers")
    data = {"data_1": "value-1", "data_2": "value-2"}
    space.create("configmaps", {"metadata": {"name": "data"}, "data": data})
    space.create("secrets", {"metadata": {"name": "data"}, "stringData": data})
    port = {"port": 8765, "targetPort": 8080}
    space.create("services", {"metadata": {"name": "fooservice"}, "spec": {"ports": [port]}})
    yield space
    space.remove()


@pytest.fixture(scope="module")
def ended(made: Space) -> dict[str, Ended]:
    runs = dict(RUNS)
    for name, (script, fields, _, code) in MESSAGES.items():
        runs[name] = Run(script, "", container=fields, phase="Failed" if code else "Succeeded")
    start_runs(made, runs)
    return wait_runs(made, runs)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", RUNS)
def test_container_finds_what_upstream_promises(name: str, ended: dict[str, Ended]) -> None:
    ended[name].check(RUNS[name])


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", MESSAGES)
def test_termination_message(name: str, ended: dict[str, Ended]) -> None:
    _, _, message, code = MESSAGES[name]
    state = container_status(ended[name].pod)["state"]["terminated"]
    assert (state.get("message", ""), state["exitCode"]) == (message, code)
    assert state["reason"] == ("Error" if code else "Completed")


def test_exit_status_and_restarts(made: Space) -> None:
    """Always restarts, OnFailure until it succeeds, Never not at all."""
    # Fails once, then succeeds (OnFailure) or runs on (Always), as upstream's script does.
    script = (
        "[ -e /v/c ] || { touch /v/c; exit 1; }; [ -e /v/d ] || { touch /v/d; %s; }; "
        "trap 'exit 0' TERM; while true; do sleep 0.1; done"
    )
    for policy, then in (("Always", "exit 0"), ("OnFailure", "exit 0"), ("Never", "exit 0")):
        container = sleeper(
            command=["sh", "-c", script % then], volumeMounts=[{"name": "v", "mountPath": "/v"}]
        )
        spec = {
            "restartPolicy": policy,
            "containers": [container],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }
        made.create_pod(f"restart-{policy.lower()}", spec)
    # Two restarts have 10 s of back-off between them.
    made.wait_phase("restart-never", "Failed")
    made.wait_phase("restart-onfailure", "Succeeded", timeout_s=45)
    always = made.wait_pod(
        "restart-always",
        lambda p: (
            container_status(p).get("restartCount") == 2
            and "running" in container_status(p)["state"]
        ),
        timeout_s=60,
    )
    assert always["status"]["phase"] == "Running"
    counts = {
        policy: container_status(made.pod(f"restart-{policy}"))["restartCount"]
        for policy in ("never", "onfailure")
    }
    assert counts == {"never": 0, "onfailure": 1}


def test_failing_init_container(made: Space) -> None:
    """Never: the pod fails; Always: it is tried again and the containers wait."""
    fails = {"name": "fails", "image": "tools:1", "command": ["/bin/false"]}
    after = {"name": "after", "image": "tools:1", "command": ["/bin/true"]}
    for policy in ("Never", "Always"):
        spec = {
            "restartPolicy": policy,
            "initContainers": [fails, after],
            "containers": [sleeper()],
        }
        made.create_pod(f"init-{policy.lower()}", spec)
    failed = made.wait_phase("init-never", "Failed")
    first, second = failed["status"]["initContainerStatuses"]
    assert first["state"]["terminated"]["exitCode"] == 1
    assert second["state"]["waiting"]["reason"] == "PodInitializing"
    assert container_status(failed)["state"]["waiting"]["reason"] == "PodInitializing"
    conditions = {c["type"]: c for c in failed["status"]["conditions"]}
    assert conditions["Initialized"]["status"] == "False"
    assert conditions["Initialized"]["reason"] == "ContainersNotInitialized"
    assert "[fails after]" in conditions["Initialized"]["message"]
    again = made.wait_pod(
        "init-always",
        lambda p: container_status(p, 0, "initContainerStatuses").get("restartCount", 0) >= 2,
        timeout_s=45,
    )
    assert again["status"]["phase"] == "Pending"
    assert container_status(again)["started"] is False


def test_invalid_sysctls_are_refused(made: Space) -> None:
    names = ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..")
    sysctls = [{"name": name, "value": "42"} for name in names]
    body = {
        "metadata": {"name": "sysctls"},
        "spec": {"containers": [sleeper()], "securityContext": {"sysctls": sysctls}},
    }
    status, tree = made.cluster.request("POST", f"{made.path}/pods", body)
    assert status == 422
    fields = [cause["field"] for cause in tree["details"]["causes"]]
    assert fields == [
        "spec.securityContext.sysctls[0].name",
        "spec.securityContext.sysctls[3].name",
    ]
    allowed = {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "8192"}]}}
    made.create_pod("unsafe-sysctl", {"containers": [sleeper()], **allowed})
    pod = made.wait_phase("unsafe-sysctl", "Failed")
    assert pod["status"]["reason"] == "SysctlForbidden"


def test_etc_hosts_is_managed_unless_mounted(made: Space) -> None:
    mount = {"name": "hosts", "mountPath": "/etc/hosts"}
    spec = {
        "containers": [sleeper(), sleeper(name="mounts", volumeMounts=[mount])],
        "volumes": [{"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "File"}}],
    }
    made.create_pod("hosts", spec)
    made.create_pod("hosts-of-node", {"hostNetwork": True, "containers": [sleeper()]})
    pod = made.wait_ready("hosts")
    made.wait_ready("hosts-of-node")
    own = made.exec("hosts", "cat", "/etc/hosts")
    assert own.startswith("# Kubernetes-managed hosts file.\n")
    assert f"{pod['status']['podIP']}\thosts\n" in own
    mounted = made.kubectl("exec", "hosts", "-c", "mounts", "--", "cat", "/etc/hosts").stdout
    assert "Kubernetes-managed" not in mounted
    of_node = made.exec("hosts-of-node", "cat", "/etc/hosts")
    assert of_node.startswith("# Kubernetes-managed hosts file (host network).\n")


def test_pods_that_always_fail_say_why_and_go(made: Space) -> None:
    spec = {"restartPolicy": "Never", "containers": [sleeper(command=["/bin/false"])]}
    made.create_pod("false", spec)
    pod = made.wait_phase("false", "Failed")
    assert container_status(pod)["state"]["terminated"]["reason"] == "Error"
    made.cluster.delete(f"{made.path}/pods/false")
    made.wait_gone("false")


def test_data_objects_refuse_bad_keys(made: Space) -> None:
    for plural, data in (("configmaps", {"": "v"}), ("secrets", {"": "dmFsdWU="})):
        body = {"metadata": {"name": "empty-key"}, "data": data}
        status, tree = made.cluster.request("POST", f"{made.path}/{plural}", body)
        assert (status, tree["reason"]) == (422, "Invalid")


def test_image_that_is_absent(made: Space) -> None:
    container = sleeper(image="127.0.0.1:9/absent:1")
    made.create_pod("absent-image", {"containers": [container]})
    container = sleeper(image="absent:1", imagePullPolicy="Never")
    made.create_pod("never-pull", {"containers": [container]})
    container = sleeper(image="Bad^Name")
    made.create_pod("bad-image", {"containers": [container]})

    def waits(name: str, *reasons: str) -> None:
        made.wait_pod(
            name,
            lambda p: (
                container_status(p).get("state", {}).get("waiting", {}).get("reason") in reasons
            ),
        )

    waits("absent-image", "ErrImagePull", "ImagePullBackOff")
    waits("never-pull", "ErrImageNeverPull")
    waits("bad-image", "InvalidImageName")
    for name in ("absent-image", "never-pull", "bad-image"):
        assert made.pod(name)["status"]["phase"] == "Pending"
        made.cluster.delete(f"{made.path}/pods/{name}", grace_s=0)
    wait_until("gone", lambda: made.find_pod("absent-image") is None)
