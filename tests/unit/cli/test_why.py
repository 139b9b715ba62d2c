"""why: the sentence for each way a thing can be stuck."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from kutter.cli.why.answer import as_tree, explain_facts, render_text, short_answer
from kutter.cli.why.finding import Facts
from kutter.cli.why.gather import needed_objects
from kutter.cli.why.pod import scheduling_reasons

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name="web-1", *, node="n1", phase="Pending", **parts):
    status = {"phase": phase, **parts.pop("status", {})}
    spec = {"containers": [{"name": "app", "image": "app:1"}], **parts.pop("spec", {})}
    if node:
        spec["nodeName"] = node
    metadata = {"name": name, "namespace": "shop", "uid": name, **parts.pop("metadata", {})}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def container(state, **more):
    return {"containerStatuses": [{"name": "app", "state": state, **more}]}


def event(reason, message, kind="Warning"):
    return {"type": kind, "reason": reason, "message": message, "metadata": {}, "count": 3}


def node(status="True", **more):
    ready = {"type": "Ready", "status": status, "reason": "R", "message": "M"}
    return {"kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [ready]}, **more}


def waiting(reason, message=""):
    return {"waiting": {"reason": reason, "message": message}}


ENDED = {"exitCode": 137, "reason": "OOMKilled"}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
UNSCHEDULED = (
    "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}."
    " preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
)


def facts(tree, **more):
    return Facts(tree=tree, now=NOW, **{"node": node(), **more})


CASES = [
    (facts(pod(phase="Running", status=READY)), "well", "All is well."),
    (facts(pod(phase="Succeeded")), "well", "It has finished, with success."),
    (
        facts(pod(node="", status={"conditions": [
            {"type": "PodScheduled", "status": "False", "message": UNSCHEDULED}]})),
        "broken", "of 3 nodes, 1 lack cpu, 2 had untolerated taint {a: b}.",
    ),
    (
        facts(pod(node=""), events=[
            event("FailedScheduling", "no nodes available to schedule pods")]),
        "broken", "No node can take it: the cluster has no nodes.",
    ),
    (facts(pod(node="")), "waiting", "No scheduler has looked at it yet."),
    (
        facts(pod(node="", spec={"schedulingGates": [{"name": "g"}]})),
        "waiting", "held back from scheduling by gate g",
    ),
    (
        facts(pod(status=container(waiting("ImagePullBackOff", "Back-off pulling image app:1")))),
        "broken", "The image app:1 of container app cannot be pulled.",
    ),
    (
        facts(pod(phase="Running", status=container(
            waiting("CrashLoopBackOff"), restartCount=4, lastState={"terminated": ENDED}))),
        "broken", "restarted 4 times and last ended with exit code 137 (SIGKILL, OOMKilled)",
    ),
    (
        facts(pod(status=container(waiting("CreateContainerConfigError", 'secret "s" not found')))),
        "broken", 'cannot be started: secret "s" not found',
    ),
    (
        facts(pod(status=container(waiting("ContainerCreating"))),
              events=[event("FailedMount", "no such volume")]),
        "broken", "Its node cannot set it up: no such volume",
    ),
    (facts(pod(status=container(waiting("ContainerCreating")))), "waiting", "is setting it up"),
    (
        facts(pod(phase="Running", status=container({"running": {}}, ready=False), spec={
            "containers": [{"name": "app", "readinessProbe": {"httpGet": {"port": 1}}}]}),
            events=[event("Unhealthy", "Readiness probe failed: refused")]),
        "broken", "runs, but its readiness probe fails",
    ),
    (
        facts(pod(status={"initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
                  spec={"initContainers": [{"name": "i"}]})),
        "waiting", "It waits for its init container i to finish.",
    ),
    (facts(pod(), missing=["configmap/c"]), "broken", "It needs configmap/c, which does not exist"),
    (facts(pod(), node=node("Unknown")), "broken", "Its node n1 is not ready."),
    (facts(pod(), node=None, node_is_missing=True), "broken", "Its node n1 is not in the cluster."),
    (
        facts(pod(metadata={"deletionTimestamp": at(20)})),
        "waiting", "have up to 20 seconds left to end",
    ),
    (
        facts(pod(metadata={"deletionTimestamp": at(-60)}), node=node("False")),
        "broken", "its node n1 is not ready to confirm it",
    ),
    (
        facts(pod(metadata={"deletionTimestamp": at(20), "finalizers": ["x/y"]})),
        "broken", "waits for finalizer x/y to be removed",
    ),
    (
        facts(pod(phase="Failed", status={"reason": "Evicted", "message": "low on memory."})),
        "broken", "It failed (Evicted): low on memory.",
    ),
    (facts(node()), "well", "All is well."),
    (
        facts(node("Unknown"), lease={"spec": {"renewTime": at(-100)}}),
        "broken", "Its agent does not report any more.",
    ),
    (facts(node(spec={"unschedulable": True})), "well", "It is cordoned"),
    (
        facts({"kind": "Namespace", "metadata": {"name": "x"}, "status": {"phase": "Terminating"}},
              remaining=["pod/a (finalizers: f/g)"]),
        "broken", "these are still in it: pod/a (finalizers: f/g)",
    ),
    (
        facts({"kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {},
               "status": {"phase": "Pending"}}),
        "broken", "It names no storage class",
    ),
    (
        facts({"kind": "Job", "metadata": {"name": "j"}, "status": {"conditions": [
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
             "message": "Job has reached the specified backoff limit"}]}}),
        "broken", "It failed (BackoffLimitExceeded): Job has reached the specified backoff limit.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "verdict", "says"), CASES)
def test_sentences(given, verdict, says):
    explanation = explain_facts(given)
    assert (explanation.verdict, says in short_answer(explanation)) == (verdict, True), explanation


def deployment(**parts):
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "generation": 1},
        "spec": {"replicas": 2, **parts.pop("spec", {})},
        "status": {"observedGeneration": 1, **parts},
    }


def test_a_workload_says_what_its_pods_say_once():
    sick = [
        facts(pod(name, status=container(waiting("ErrImagePull", "no such image"))))
        for name in ("web-1", "web-2")
    ]
    explanation = explain_facts(facts(deployment(), pods=[f.tree for f in sick], pod_facts=sick))
    says = "2 pods, such as web-1: the image app:1 of container app cannot be pulled."
    assert short_answer(explanation) == says


def test_a_workload_names_a_refusal_before_all_else():
    failure = {
        "type": "ReplicaFailure", "status": "True",
        "message": 'pods "web-1" is forbidden: exceeded quota: q, requested: pods=1',
    }  # fmt: skip
    explanation = explain_facts(facts(deployment(conditions=[failure])))
    assert short_answer(explanation).startswith("Its pods are refused: pods")
    assert "raise the quota" in render_text(explanation)


def test_a_paused_workload_and_a_passed_deadline():
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    explanation = explain_facts(facts(deployment(conditions=[late], spec={"paused": True})))
    assert explanation.verdict == "broken"
    text = render_text(explanation)
    assert "made no progress within its deadline" in text
    assert "kutter rollout resume deployment/web" in text


def service(**spec):
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}], **spec}
    return {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def test_a_service_without_pods_points_at_near_ones():
    near = pod(metadata={"labels": {"app": "wbe"}})
    explanation = explain_facts(facts(service(), other_pods=[near]))
    assert short_answer(explanation).startswith("Its selector app=web matches no pod")
    assert "pod web-1 comes near: it has app=wbe" in render_text(explanation)


def test_a_service_with_a_wrong_port_name():
    ready = pod(phase="Running", status=READY, spec={
        "containers": [{"name": "app", "ports": [{"containerPort": 80, "name": "web"}]}]})  # fmt: skip
    explanation = explain_facts(facts(service(), pods=[ready]))
    assert 'leads to the port named "http", which no container' in short_answer(explanation)


def test_a_service_that_works():
    ready = pod(phase="Running", status=READY)
    slices = [{"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}]
    tree = service(ports=[{"port": 80}])
    assert explain_facts(facts(tree, pods=[ready], slices=slices)).verdict == "well"


def test_scheduling_reasons_leave_preemption_out():
    assert scheduling_reasons(UNSCHEDULED.partition(": ")[2]) == [
        "1 lack cpu",
        "2 had untolerated taint {a: b}",
    ]


def test_what_a_pod_needs():
    spec = {
        "volumes": [
            {"name": "a", "configMap": {"name": "one"}},
            {"name": "b", "secret": {"secretName": "two", "optional": True}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "three"}}]}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "four"}},
        ],
        "containers": [
            {"name": "x", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "five"}}}]},
        ],
    }
    assert needed_objects({"spec": spec}) == {
        ("configmap", "one"), ("secret", "three"), ("persistentvolumeclaim", "four"),
        ("secret", "five"),
    }  # fmt: skip


def test_as_json_for_machines():
    tree = as_tree(explain_facts(CASES[6][0]))
    assert tree["object"] == "pod/web-1 in namespace shop"
    assert tree["verdict"] == "broken"
    assert tree["findings"][0]["next"]


def test_why_over_a_server(cli, server, namespace):
    text = """
apiVersion: v1
kind: Pod
metadata: {name: needy, labels: {app: web}}
spec: {containers: [{name: app, image: app, envFrom: [{configMapRef: {name: absent}}]}]}
"""
    cli.ok("create", "-n", namespace, "-f", "-", stdin=text)
    answer = cli.ok("why", "needy", "-n", namespace)
    assert answer.startswith(f"pod/needy in namespace {namespace}: No scheduler has looked at it")
    parsed = json.loads(cli.ok("why", "pod/needy", "-n", namespace, "-o", "json"))
    assert parsed["verdict"] == "waiting"
    cli.ok("create", "deployment", "d", "--image=x", "-n", namespace)
    assert "none exists yet" in cli.ok("why", "deploy/d", "-n", namespace)
    assert "All is well" in cli.ok("why", f"ns/{namespace}")
    assert "(NotFound)" in cli.fails("why", "pod/nope", "-n", namespace)
