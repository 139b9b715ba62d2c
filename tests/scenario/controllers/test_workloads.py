"""Workloads from YAML to simulated pods, through the public API of a whole cluster."""

import time

import pytest
from kubernetes import client as k8s
from kubernetes import watch as k8s_watch


def wait_until(check, timeout_s=30.0):
    """Poll a condition of the public API; the deadline is the failure."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {check.__name__}"
        time.sleep(0.01)


def deployment(name="web", replicas=3, image="app:1", **spec):
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
            **spec,
        },
    }


@pytest.fixture
def api(kutter_cluster):
    client = kutter_cluster.kubernetes_client()
    yield client
    client.close()


@pytest.fixture
def apps(api):
    return k8s.AppsV1Api(api)


@pytest.fixture
def core(api):
    return k8s.CoreV1Api(api)


def available(apps, name="web", count=3):
    def check():
        item = apps.read_namespaced_deployment(name, "default")
        status = item.status
        # An older generation's status says nothing about what was asked for last.
        return (status.observed_generation or 0) >= item.metadata.generation and (
            (status.available_replicas or 0),
            (status.updated_replicas or 0),
            (status.replicas or 0),
        ) == (count, count, count)

    return wait_until(check)


def test_a_deployment_runs_heals_and_scales(apps, core):
    apps.create_namespaced_deployment("default", deployment())
    available(apps)
    pods = core.list_namespaced_pod("default", label_selector="app=web").items
    assert {p.status.phase for p in pods} == {"Running"}
    assert len({p.status.pod_ip for p in pods}) == 3
    core.delete_namespaced_pod(pods[0].metadata.name, "default")

    def replaced():
        names = {
            p.metadata.name
            for p in core.list_namespaced_pod("default", label_selector="app=web").items
            if p.status.phase == "Running" and not p.metadata.deletion_timestamp
        }
        return len(names) == 3 and pods[0].metadata.name not in names

    wait_until(replaced)
    apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 5}})
    available(apps, count=5)


def test_rollout_undo_and_history(apps):
    apps.create_namespaced_deployment("default", deployment())
    available(apps)
    for image in ("app:2", "app:3"):
        apps.patch_namespaced_deployment(
            "web",
            "default",
            {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}},
        )
        available(apps)
    sets = apps.list_namespaced_replica_set("default", label_selector="app=web").items
    revisions = {
        s.metadata.annotations["deployment.kubernetes.io/revision"]: (
            s.spec.template.spec.containers[0].image,
            s.spec.replicas,
        )
        for s in sets
    }
    assert revisions == {"1": ("app:1", 0), "2": ("app:2", 0), "3": ("app:3", 3)}
    # Back to the first template: its set becomes revision 4.
    apps.patch_namespaced_deployment(
        "web",
        "default",
        {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "app:1"}]}}}},
    )

    def back():
        item = apps.read_namespaced_deployment("web", "default")
        return item.metadata.annotations["deployment.kubernetes.io/revision"] == "4"

    wait_until(back)
    available(apps)
    sets = apps.list_namespaced_replica_set("default", label_selector="app=web").items
    assert len(sets) == 3


def test_history_is_cut_and_recreate_never_overlaps(apps, core):
    apps.create_namespaced_deployment(
        "default", deployment(strategy={"type": "Recreate"}, revisionHistoryLimit=1)
    )
    available(apps)
    for image in ("app:2", "app:3", "app:4"):
        apps.patch_namespaced_deployment(
            "web",
            "default",
            {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}},
        )
        available(apps)
        images = {
            p.spec.containers[0].image
            for p in core.list_namespaced_pod("default", label_selector="app=web").items
        }
        assert images == {image}
    wait_until(
        lambda: (
            len(apps.list_namespaced_replica_set("default", label_selector="app=web").items) == 2
        )
    )


def test_foreground_background_and_orphan(apps, core):
    for name, policy, pods_stay in (
        ("fore", "Foreground", False),
        ("back", "Background", False),
        ("orph", "Orphan", True),
    ):
        apps.create_namespaced_deployment("default", deployment(name, 2))
        available(apps, name, 2)
        apps.delete_namespaced_deployment(name, "default", propagation_policy=policy)

        def gone(name=name):
            items = apps.list_namespaced_deployment("default").items
            return all(d.metadata.name != name for d in items)

        wait_until(gone)
        if pods_stay:
            sets = apps.list_namespaced_replica_set("default", label_selector=f"app={name}").items
            wait_until(
                lambda name=name: all(
                    not s.metadata.owner_references
                    for s in apps.list_namespaced_replica_set(
                        "default", label_selector=f"app={name}"
                    ).items
                )
            )
            assert len(sets) == 1
            assert len(core.list_namespaced_pod("default", label_selector=f"app={name}").items) == 2
        else:
            wait_until(
                lambda name=name: (
                    not core.list_namespaced_pod("default", label_selector=f"app={name}").items
                    and not apps.list_namespaced_replica_set(
                        "default", label_selector=f"app={name}"
                    ).items
                )
            )


def test_a_namespace_goes_with_everything_in_it(apps, core):
    core.create_namespace({"metadata": {"name": "doomed"}})
    apps.create_namespaced_deployment("doomed", deployment())
    core.create_namespaced_config_map("doomed", {"metadata": {"name": "held"}, "data": {"a": "b"}})
    core.patch_namespaced_config_map(
        "held", "doomed", {"metadata": {"finalizers": ["example.com/hold"]}}
    )
    core.delete_namespace("doomed")

    def says_why():
        conditions = core.read_namespace("doomed").status.conditions or []
        return any(
            c.type == "NamespaceFinalizersRemaining"
            and c.status == "True"
            and "example.com/hold in 1 resource instances" in c.message
            for c in conditions
        )

    wait_until(says_why)
    with pytest.raises(k8s.ApiException) as refused:
        core.create_namespaced_config_map("doomed", {"metadata": {"name": "late"}})
    assert refused.value.status == 403
    core.patch_namespaced_config_map(
        "held", "doomed", [{"op": "remove", "path": "/metadata/finalizers"}]
    )
    wait_until(lambda: all(n.metadata.name != "doomed" for n in core.list_namespace().items))


def test_endpoints_and_slices_follow_the_pods(api, apps, core):
    apps.create_namespaced_deployment("default", deployment())
    core.create_namespaced_service(
        "default",
        {
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"app": "web"},
                "type": "LoadBalancer",
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        },
    )
    available(apps)
    discovery = k8s.DiscoveryV1Api(api)

    def three():
        slices = discovery.list_namespaced_endpoint_slice(
            "default", label_selector="kubernetes.io/service-name=web"
        ).items
        ready = [e for s in slices for e in (s.endpoints or []) if e.conditions.ready]
        classic = core.read_namespaced_endpoints("web", "default").subsets or []
        return len(ready) == 3 and len(classic) == 1 and len(classic[0].addresses) == 3

    wait_until(three)
    service = wait_until(
        lambda: (
            (s := core.read_namespaced_service("web", "default")).status.load_balancer.ingress and s
        )
    )
    assert {i.ip for i in service.status.load_balancer.ingress} == {"192.168.0.1", "192.168.0.2"}
    apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 0}})
    wait_until(lambda: not (core.read_namespaced_endpoints("web", "default").subsets or []))


def test_a_replication_controller_and_a_pod_that_fits_nowhere(core):
    core.create_namespaced_replication_controller(
        "default",
        {
            "metadata": {"name": "old"},
            "spec": {
                "replicas": 2,
                "selector": {"app": "old"},
                "template": {
                    "metadata": {"labels": {"app": "old"}},
                    "spec": {"containers": [{"name": "c", "image": "x"}]},
                },
            },
        },
    )
    wait_until(
        lambda: (
            core.read_namespaced_replication_controller("old", "default").status.ready_replicas == 2
        )
    )
    core.create_namespaced_pod(
        "default",
        {
            "metadata": {"name": "big"},
            "spec": {
                "containers": [
                    {"name": "c", "image": "x", "resources": {"requests": {"cpu": "1000"}}}
                ]
            },
        },
    )

    def told():
        events = core.list_namespaced_event(
            "default", field_selector="involvedObject.name=big,reason=FailedScheduling"
        ).items
        return events and events[0].message

    assert wait_until(told) == "0/2 nodes are available: 2 Insufficient cpu."
    conditions = core.read_namespaced_pod("big", "default").status.conditions
    assert [(c.type, c.status, c.reason, c.observed_generation) for c in conditions] == [
        ("PodScheduled", "False", "Unschedulable", 1)
    ]


def test_the_official_client_watches_patches_and_deletes(core):
    start = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", {"metadata": {"name": "w"}, "data": {"k": "1"}})
    core.patch_namespaced_config_map("w", "default", {"data": {"k": "2"}})
    core.delete_namespaced_config_map("w", "default")
    seen = []
    stream = k8s_watch.Watch()
    for event in stream.stream(
        core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=10
    ):
        seen.append((event["type"], event["object"].data["k"]))
        if len(seen) == 3:
            stream.stop()
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]
