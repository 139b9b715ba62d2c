"""Pods: defaults, what is refused on create and update, status, selection, deletion."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from tests.unit.apiserver.kinds.samples import (
    change_errors,
    context,
    errors_of,
    sample,
    stored,
    strategy,
)

from kutter.apiserver.kinds.pod_defaults import pull_policy
from kutter.apiserver.kinds.pod_status import qos_class


def pod(**spec: Any) -> dict[str, Any]:
    tree = sample("pods")
    tree["spec"].update(spec)
    return tree


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "web", "image": "web:1", **fields}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.7.9", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_probes_volumes_and_requests_are_defaulted() -> None:
    tree = pod(
        containers=[
            container(
                livenessProbe={"httpGet": {"port": 80}},
                readinessProbe={"grpc": {"port": 80}},
                resources={"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "0.1"}},
                env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            )
        ],
        volumes=[
            {"name": "a"},
            {"name": "b", "secret": {"secretName": "s"}},
            {"name": "c", "hostPath": {"path": "/"}},
            {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        ],
        serviceAccountName="robot",
    )
    strategy("pods").default(tree)
    first = tree["spec"]["containers"][0]
    assert first["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert first["readinessProbe"]["grpc"] == {"port": 80, "service": ""}
    assert first["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}
    assert first["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert tree["spec"]["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
        {"name": "c", "hostPath": {"path": "/", "type": ""}},
        {
            "name": "d",
            "projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                "defaultMode": 420,
            },
        },
    ]
    assert tree["spec"]["serviceAccount"] == "robot"


def test_host_network_defaults_host_ports_of_pods_but_not_of_templates() -> None:
    tree = pod(hostNetwork=True, containers=[container(ports=[{"containerPort": 80}])])
    strategy("pods").default(tree)
    assert tree["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP", "hostPort": 80}
    ]
    template = sample("deployments")
    template["spec"]["template"]["spec"] = copy.deepcopy(
        {"hostNetwork": True, "containers": [container(ports=[{"containerPort": 80}])]}
    )
    strategy("deployments").default(template)
    ports = template["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 80, "protocol": "TCP"}]


def _resources(**given: Any) -> dict[str, Any]:
    return pod(containers=[container(resources=given)])


_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)

REFUSED: list[tuple[dict[str, Any], str]] = [
    (pod(containers=[]), "spec.containers: Required value"),
    (
        pod(containers=[container(name="A")]),
        f'spec.containers[0].name: Invalid value: "A": {_LABEL_TEXT}',
    ),
    (
        pod(containers=[container(), container()]),
        'spec.containers[1].name: Duplicate value: "web"',
    ),
    (pod(containers=[{"name": "a"}]), "spec.containers[0].image: Required value"),
    (
        pod(containers=[container(image=" web:1")]),
        (
            'spec.containers[0].image: Invalid value: " web:1": must not have leading or trailing '
            "whitespace"
        ),
    ),
    (
        pod(containers=[container(imagePullPolicy="Often")]),
        (
            'spec.containers[0].imagePullPolicy: Unsupported value: "Often": supported values: '
            '"Always", "IfNotPresent", "Never"'
        ),
    ),
    (
        pod(containers=[container(ports=[{"containerPort": 70000}])]),
        (
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and "
            "65535, inclusive"
        ),
    ),
    (
        pod(containers=[container(ports=[{"containerPort": 1, "protocol": "tcp"}])]),
        (
            'spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", '
            '"TCP", "UDP"'
        ),
    ),
    (
        pod(containers=[container(ports=[{"containerPort": 1, "hostPort": 9}] * 2)]),
        'spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//9"',
    ),
    (
        pod(containers=[container(env=[{"name": "A", "valueFrom": {}}])]),
        (
            'spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, '
            "`resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        ),
    ),
    (
        pod(
            containers=[
                container(
                    env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]
                )
            ]
        ),
        (
            'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase":'
            ' supported values: "metadata.name", "metadata.namespace", "metadata.uid", '
            '"spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", '
            '"status.podIP", "status.podIPs"'
        ),
    ),
    (
        pod(containers=[container(envFrom=[{"configMapRef": {}}])]),
        "spec.containers[0].envFrom[0].configMapRef.name: Required value",
    ),
    (
        pod(containers=[container(volumeMounts=[{"name": "v", "mountPath": "/v"}])]),
        'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ),
    (
        pod(
            volumes=[{"name": "v"}],
            containers=[container(volumeMounts=[{"name": "v", "mountPath": "/v"}] * 2)],
        ),
        'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique',
    ),
    (
        pod(volumes=[{"name": "v"}, {"name": "v"}]),
        'spec.volumes[1].name: Duplicate value: "v"',
    ),
    (
        pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
    ),
    (
        pod(volumes=[{"name": "v", "hostPath": {"path": "/a/../b"}}]),
        "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
    ),
    (
        _resources(limits={"cpu": "1"}, requests={"cpu": "2"}),
        (
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to '
            "cpu limit of 1"
        ),
    ),
    (
        _resources(limits={"disk": "1"}),
        (
            'spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard '
            "resource for containers"
        ),
    ),
    (
        _resources(limits={"hugepages-2Mi": "4Mi"}),
        "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
    ),
    (
        _resources(limits={"memory": "-1"}),
        (
            'spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or '
            "equal to 0"
        ),
    ),
    (
        pod(containers=[container(livenessProbe={"exec": {}})]),
        "spec.containers[0].livenessProbe.exec.command: Required value",
    ),
    (
        pod(containers=[container(livenessProbe={})]),
        "spec.containers[0].livenessProbe: Required value: must specify a handler type",
    ),
    (
        pod(
            containers=[container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2})]
        ),
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    (
        pod(
            containers=[
                container(securityContext={"privileged": True, "allowPrivilegeEscalation": False})
            ]
        ),
        (
            'spec.containers[0].securityContext: Invalid value: {"Capabilities":null,'
            '"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,'
            '"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,'
            '"AllowPrivilegeEscalation":false,"ProcMount":null,"SeccompProfile":null,'
            '"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and '
            "`privileged` to true"
        ),
    ),
    (
        pod(initContainers=[container(name="i", readinessProbe={"tcpSocket": {"port": 1}})]),
        (
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers "
            "without restartPolicy=Always"
        ),
    ),
    (
        pod(initContainers=[container()]),
        'spec.initContainers[0].name: Duplicate value: "web"',
    ),
    (
        pod(ephemeralContainers=[container(name="e")]),
        "spec.ephemeralContainers: Forbidden: cannot be set on create",
    ),
    (
        pod(restartPolicy="Sometimes"),
        (
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
            '"OnFailure", "Never"'
        ),
    ),
    (
        pod(dnsPolicy="None"),
        "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
    ),
    (
        pod(activeDeadlineSeconds=0),
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    ),
    (
        pod(tolerations=[{"operator": "Equal", "value": "x"}]),
        (
            'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` '
            'is empty, which means "match all values and all keys"'
        ),
    ),
    (
        pod(
            affinity={
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}
                }
            }
        ),
        (
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
            "nodeSelectorTerms: Required value: must have at least one node selector term"
        ),
    ),
    (
        pod(
            topologySpreadConstraints=[
                {"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
            ]
        ),
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    ),
    (
        pod(hostAliases=[{"ip": "300.0.0.1"}]),
        (
            'spec.hostAliases[0].ip: Invalid value: "300.0.0.1": must be a valid IP address, (e.g. '
            "10.9.8.7 or 2001:db8::ffff)"
        ),
    ),
    (
        pod(nodeName="n", schedulingGates=[{"name": "g"}]),
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
    ),
    (
        pod(hostNetwork=True, securityContext={"sysctls": [{"name": "net.core.x", "value": "1"}]}),
        (
            'spec.securityContext.sysctls[0].name: Invalid value: "net.core.x": may not be specified '
            "when 'hostNetwork' is true"
        ),
    ),
    (
        pod(securityContext={"seccompProfile": {"type": "Localhost"}}),
        (
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when "
            "seccomp type is Localhost"
        ),
    ),
    (
        pod(
            containers=[
                container(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
            ]
        ),
        (
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and "
            "less than terminationGracePeriodSeconds (30)"
        ),
    ),
    (
        pod(
            volumes=[
                {
                    "name": "t",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
                }
            ]
        ),
        (
            "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified "
            "when serviceAccountName is not set"
        ),
    ),
]


@pytest.mark.parametrize(("tree", "error"), REFUSED, ids=[e.split(":")[0] for _, e in REFUSED])
def test_refused_on_create(tree: dict[str, Any], error: str) -> None:
    assert error in errors_of("pods", copy.deepcopy(tree))


def test_sidecars_may_have_probes() -> None:
    sidecar = container(name="s", restartPolicy="Always", startupProbe={"tcpSocket": {"port": 1}})
    assert errors_of("pods", pod(initContainers=[sidecar])) == []


def test_only_a_few_fields_may_change() -> None:
    old = stored("pods")
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "web:2"
    new["spec"]["activeDeadlineSeconds"] = 10
    new["spec"]["tolerations"] = [{"key": "a", "operator": "Exists"}]
    assert change_errors("pods", new, old) == []
    new["spec"]["hostname"] = "other"
    (error,) = change_errors("pods", new, old)
    assert error.startswith(
        "spec: Forbidden: pod updates may not change fields other than "
        "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        "`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
        "negative)\n"
    )


def test_tolerations_are_only_added() -> None:
    old = stored("pods", pod(tolerations=[{"key": "a", "operator": "Exists"}]))
    new = copy.deepcopy(old)
    new["spec"]["tolerations"] = []
    assert change_errors("pods", new, old) == [
        (
            "spec.tolerations: Forbidden: existing toleration can not be modified except its "
            "tolerationSeconds"
        )
    ]


def test_containers_are_neither_added_nor_removed() -> None:
    old = stored("pods")
    new = copy.deepcopy(old)
    new["spec"]["containers"].append(container(name="b"))
    assert "spec.containers: Forbidden: pod updates may not add or remove containers" in (
        change_errors("pods", new, old)
    )


def test_gates_are_only_removed_and_gated_pods_may_narrow_their_nodes() -> None:
    old = stored("pods", pod(schedulingGates=[{"name": "g"}]))
    assert old["status"]["conditions"][0]["reason"] == "SchedulingGated"
    new = copy.deepcopy(old)
    new["spec"]["nodeSelector"] = {"disk": "fast"}
    assert change_errors("pods", new, old) == []
    new["spec"]["schedulingGates"].append({"name": "h"})
    assert change_errors("pods", new, old) == [
        (
            "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new "
            "scheduling gate 'h'"
        )
    ]


def test_status_belongs_to_its_own_subresource() -> None:
    old = stored("pods")
    kind = strategy("pods")
    new = copy.deepcopy(old)
    new["status"]["phase"] = "Running"
    kind.prepare_for_update(context(), new, old)
    assert new["status"] == old["status"]
    new = copy.deepcopy(old)
    new["status"] = {"phase": "Running", "podIP": "10.0.0.9"}
    new["spec"] = {"containers": []}
    kind.prepare_for_status_update(context(), new, old)
    assert new["spec"] == old["spec"]
    assert new["status"]["podIPs"] == [{"ip": "10.0.0.9"}]
    assert kind.validate_status_update(context(), new, old) == []
    new["status"]["qosClass"] = "Guaranteed"
    (error,) = kind.validate_status_update(context(), new, old)
    assert str(error) == 'status.qosClass: Invalid value: "Guaranteed": field is immutable'


def test_ended_containers_of_unrestarted_pods_stay_ended() -> None:
    old = stored("pods", pod(restartPolicy="Never"))
    ended = {"name": "web", "state": {"terminated": {"exitCode": 0}}}
    old["status"]["containerStatuses"] = [ended]
    new = copy.deepcopy(old)
    new["status"]["containerStatuses"] = [{"name": "web", "state": {"running": {}}}]
    (error,) = strategy("pods").validate_status_update(context(), new, old)
    assert str(error) == (
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated "
        "state"
    )


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        (
            [{"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "1", "memory": "1"}}],
            "Guaranteed",
        ),
        (
            [{"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "2", "memory": "1"}}],
            "Burstable",
        ),
        (
            [
                {"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "1", "memory": "1"}},
                {},
            ],
            "Burstable",
        ),
    ],
)
def test_quality_of_service(resources: list[dict[str, Any]], expected: str) -> None:
    assert qos_class({"containers": [{"resources": r} for r in resources]}) == expected


def test_selectable_fields() -> None:
    tree = stored("pods", pod(nodeName="n1", hostNetwork=True))
    fields = strategy("pods").select_fields(orjson.dumps(tree))
    assert fields == strategy("pods").selectable_fields(tree)
    assert fields == {
        "spec.nodeName": "n1",
        "spec.host": "n1",
        "spec.restartPolicy": "Always",
        "spec.schedulerName": "default-scheduler",
        "spec.serviceAccountName": "",
        "spec.hostNetwork": "true",
        "status.phase": "Pending",
        "status.podIP": "",
        "status.podIPs": "",
        "status.nominatedNodeName": "",
    }


def test_only_pods_on_a_node_take_time_to_go() -> None:
    kind = strategy("pods")
    tree = stored("pods")
    assert kind.grace_period_s(tree, None) == 0
    tree["spec"]["nodeName"] = "n"
    assert kind.grace_period_s(tree, None) == 30
    assert kind.grace_period_s(tree, 5) == 5
    tree["status"]["phase"] = "Succeeded"
    assert kind.grace_period_s(tree, 5) == 0


def test_resize_changes_cpu_and_memory_only() -> None:
    limits = {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}
    old = stored("pods", pod(containers=[container(resources=limits)]))
    kind = strategy("pods")
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "600m"
    assert kind.validate_part_update(context(), "resize", new, old) == []
    new["spec"]["containers"][0]["image"] = "web:2"
    (error,) = kind.validate_part_update(context(), "resize", new, old)
    assert str(error) == "spec: Forbidden: only cpu and memory resources are mutable"


def test_ephemeral_containers_are_only_added() -> None:
    old = stored("pods")
    kind = strategy("pods")
    new = copy.deepcopy(old)
    new["spec"]["ephemeralContainers"] = [container(name="debug")]
    kind.default(new)
    assert kind.validate_part_update(context(), "ephemeralcontainers", new, old) == []
    (error,) = kind.validate_part_update(context(), "ephemeralcontainers", old, new)
    assert str(error) == (
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be '
        "removed\n"
    )


def test_an_update_may_not_drop_ephemeral_containers() -> None:
    old = stored("pods")
    old["spec"]["ephemeralContainers"] = [container(name="debug")]
    strategy("pods").default(old)
    new = copy.deepcopy(old)
    del new["spec"]["ephemeralContainers"]
    (error,) = change_errors("pods", new, old)
    assert error.startswith("spec: Forbidden: pod updates may not change fields other than")
