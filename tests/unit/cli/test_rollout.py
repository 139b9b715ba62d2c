"""Rollouts: history and undo against replica sets as the controller makes them."""

from __future__ import annotations

import json

import pytest

from kutter.cli.command import CommandError
from kutter.cli.revisions import choose_revision, deployment_revisions, deployment_status


def deployment(**status):
    return {
        "metadata": {"name": "web", "uid": "u", "generation": 2},
        "spec": {"replicas": 3},
        "status": {"observedGeneration": 2, **status},
    }


@pytest.mark.parametrize(
    ("status", "says", "done"),
    [
        ({"observedGeneration": 1}, "Waiting for deployment spec update to be observed...", False),
        ({"updatedReplicas": 1, "replicas": 3},
         ('Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been'
         " updated..."), False),
        ({"updatedReplicas": 3, "replicas": 4},
         ('Waiting for deployment "web" rollout to finish: 1 old replicas are pending'
         " termination..."), False),
        ({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 2},
         ('Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are'
         " available..."), False),
        ({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 3},
         'deployment "web" successfully rolled out', True),
    ],
)  # fmt: skip
def test_status_speaks_as_kubectl_does(status, says, done):
    assert deployment_status(deployment(**status)) == (says, done)


def test_status_fails_past_the_deadline():
    condition = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
    with pytest.raises(CommandError, match="exceeded its progress deadline"):
        deployment_status(deployment(conditions=[condition]))


def replica_set(number, image, *, owner="u"):
    return {
        "metadata": {
            "name": f"web-{number}",
            "annotations": {"deployment.kubernetes.io/revision": str(number)},
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {
            "template": {
                "metadata": {"labels": {"app": "web", "pod-template-hash": str(number)}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            }
        },
    }


def test_revisions_come_in_order_without_strangers_and_hashes():
    sets = [replica_set(10, "c"), replica_set(2, "b"), replica_set(9, "x", owner="other")]
    found = deployment_revisions(deployment(), sets)
    assert [r.number for r in found] == [2, 10]
    assert found[0].template["metadata"]["labels"] == {"app": "web"}
    assert choose_revision(found, 0).number == 2
    assert choose_revision(found, 10).number == 10
    with pytest.raises(CommandError, match="unable to find specified revision 5"):
        choose_revision(found, 5)
    with pytest.raises(CommandError, match="no rollout history"):
        choose_revision(found[:1], 0)


def test_undo_puts_the_template_back(cli, server, namespace):
    cli.ok("create", "deployment", "web", "--image=web:2", "-n", namespace)
    own = json.loads(cli.ok("get", "deploy", "web", "-n", namespace, "-o", "json"))
    for number, image in ((1, "web:1"), (2, "web:2")):
        labels = {"app": "web", "pod-template-hash": str(number)}
        tree = {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": f"web-{number}", "labels": labels,
                "annotations": {"deployment.kubernetes.io/revision": str(number)},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                    "uid": own["metadata"]["uid"], "controller": True,
                }],
            },
            "spec": {
                "replicas": 0, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels},
                             "spec": {"containers": [{"name": "web", "image": image}]}},
            },
        }  # fmt: skip
        server.make(f"/apis/apps/v1/namespaces/{namespace}/replicasets", tree)
    history = cli.ok("rollout", "history", "deploy/web", "-n", namespace)
    assert history == (
        "deployment.apps/web\nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n"
    )
    assert "web:1" in cli.ok("rollout", "history", "deploy/web", "--revision=1", "-n", namespace)
    undo = cli.ok("rollout", "undo", "deploy/web", "-n", namespace)
    assert undo == "deployment.apps/web rolled back\n"
    image = cli.ok("get", "deploy", "web", "-n", namespace, "-o",
                   "jsonpath={.spec.template.spec.containers[*].image}")  # fmt: skip
    assert image == "web:1"
    again = cli.ok("rollout", "undo", "deploy/web", "--to-revision=1", "-n", namespace)
    assert "skipped rollback (current template already matches revision 1)" in again


def test_pause_resume_restart(cli, namespace):
    cli.ok("create", "deployment", "web", "--image=web:2", "-n", namespace)
    do = lambda word: cli("rollout", word, "deploy/web", "-n", namespace)  # noqa: E731
    assert do("pause").out == "deployment.apps/web paused\n"
    assert "is already paused" in do("pause").err
    assert "can't restart paused deployment" in do("restart").err
    assert do("resume").out == "deployment.apps/web resumed\n"
    assert do("restart").out == "deployment.apps/web restarted\n"
