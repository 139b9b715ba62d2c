"""Load balancers share the nodes' addresses: a port belongs to the oldest service that asks."""

import time

from kubernetes import client as k8s


def wait_until(check, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)


def test_the_second_waits_and_takes_over(kutter_cluster):
    with kutter_cluster.kubernetes_client() as api:
        core = k8s.CoreV1Api(api)

        def make(name, port):
            core.create_namespaced_service(
                "default",
                {
                    "metadata": {"name": name},
                    "spec": {"type": "LoadBalancer", "ports": [{"port": port}]},
                },
            )

        def addresses(name):
            status = core.read_namespaced_service(name, "default").status
            return {i.ip for i in status.load_balancer.ingress or ()}

        make("a-first", 80)
        wait_until(lambda: len(addresses("a-first")) == 2)
        make("b-second", 80)
        make("c-other", 81)
        wait_until(lambda: len(addresses("c-other")) == 2)

        def told():
            events = core.list_namespaced_event(
                "default", field_selector="involvedObject.name=b-second"
            ).items
            return [e.message for e in events if e.reason == "SyncLoadBalancerFailed"]

        assert "taken by service default/a-first" in wait_until(told)[0]
        assert addresses("b-second") == set()
        core.delete_namespaced_service("a-first", "default")
        wait_until(lambda: len(addresses("b-second")) == 2)
