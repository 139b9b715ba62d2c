"""sig-scheduling: SchedulerPredicates."""

from tests.conformance_kit import condition, pod, wait_until


def pods(namespace, name=""):
    return f"/api/v1/namespaces/{namespace}/pods" + (f"/{name}" if name else "")


def bound(rest, namespace, name):
    return wait_until(lambda: rest.get(pods(namespace, name))["spec"].get("nodeName"))


def refused(rest, namespace, name):
    """The message of a pod that no node takes."""

    def unschedulable():
        found = condition(rest.get(pods(namespace, name)), "PodScheduled")
        return found.get("reason") == "Unschedulable" and found["message"]

    return wait_until(unschedulable)


def failed_events(rest, namespace, name):
    fields = f"involvedObject.name={name},reason=FailedScheduling"
    path = f"/api/v1/namespaces/{namespace}/events"
    return rest.get(path, fieldSelector=fields)["items"]


def test_validates_that_node_selector_is_respected_if_not_matching(rest, namespace):
    rest.post(pods(namespace), pod("restricted", nodeSelector={"label": "nonempty"}))
    message = refused(rest, namespace, "restricted")
    assert message.startswith(
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    )
    (event,) = wait_until(lambda: failed_events(rest, namespace, "restricted"))
    assert (event["type"], event["message"]) == ("Warning", message)


def test_validates_that_node_selector_is_respected_if_matching(rest, namespace):
    rest.patch("/api/v1/nodes/sim-1", {"metadata": {"labels": {"e2e": "42"}}})
    selector = {"kubernetes.io/hostname": "sim-1", "e2e": "42"}
    rest.post(pods(namespace), pod("with-labels", nodeSelector=selector))
    assert bound(rest, namespace, "with-labels") == "sim-1"
    rest.patch("/api/v1/nodes/sim-1", {"metadata": {"labels": {"e2e": None}}})
    # A label that goes does not move the pod.
    assert rest.get(pods(namespace, "with-labels"))["spec"]["nodeName"] == "sim-1"


def asking(name, cpu, **spec):
    body = pod(name, **spec)
    body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}
    return body


def test_validates_resource_limits_of_pods_that_are_allowed_to_run(rest, namespace):
    for number in range(2):
        rest.post(pods(namespace), asking(f"filler-{number}", "30"))
    assert {bound(rest, namespace, f"filler-{n}") for n in range(2)} == {"sim-0", "sim-1"}
    rest.post(pods(namespace), asking("additional", "3"))
    assert refused(rest, namespace, "additional").startswith(
        "0/2 nodes are available: 2 Insufficient cpu."
    )
    rest.delete(pods(namespace, "filler-0"))
    bound(rest, namespace, "additional")


def with_port(name, ip, protocol="TCP"):
    body = pod(name, nodeSelector={"kubernetes.io/hostname": "sim-0"})
    body["spec"]["containers"][0]["ports"] = [
        {"containerPort": 8080, "hostPort": 54322, "hostIP": ip, "protocol": protocol}
    ]
    return body


def test_validates_conflict_of_host_ports_where_one_uses_every_address(rest, namespace):
    rest.post(pods(namespace), with_port("pod4", "0.0.0.0"))
    bound(rest, namespace, "pod4")
    rest.post(pods(namespace), with_port("pod5", "127.0.0.1"))
    message = refused(rest, namespace, "pod5")
    assert "1 node(s) didn't have free ports for the requested pod ports" in message
    rest.post(pods(namespace), with_port("udp", "127.0.0.1", "UDP"))
    bound(rest, namespace, "udp")


def test_validates_that_there_is_no_conflict_between_different_host_addresses(rest, namespace):
    rest.post(pods(namespace), with_port("one", "127.0.0.1"))
    rest.post(pods(namespace), with_port("two", "127.0.0.2"))
    assert bound(rest, namespace, "one") == bound(rest, namespace, "two") == "sim-0"
