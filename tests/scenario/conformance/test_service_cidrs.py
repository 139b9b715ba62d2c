"""sig-network: ServiceCIDR and IPAddress."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.conformance_kit import condition, wait_until

RANGES = "/apis/networking.k8s.io/v1/servicecidrs"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
_numbers = itertools.count(1)


@pytest.fixture
def label():
    return f"run-{next(_numbers)}"


def service_cidr(name, *cidrs, labels=None):
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"cidrs": list(cidrs)}}


def ip_address(name, *, labels=None, parent="web"):
    reference = {"group": "", "resource": "services", "namespace": "default", "name": parent}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"parentRef": reference}}


def service(name, **spec):
    ports = [{"port": 80, "targetPort": 80}]
    return {"metadata": {"name": name}, "spec": {"ports": ports, **spec}}


def discovered(rest, name):
    assert "networking.k8s.io" in {g["name"] for g in rest.get("/apis")["groups"]}
    found = {r["name"]: r for r in rest.get("/apis/networking.k8s.io/v1")["resources"]}
    return found[name]


def test_should_support_service_cidr_api_operations(rest, label):
    assert discovered(rest, "servicecidrs")["namespaced"] is False
    assert "servicecidrs/status" in {
        r["name"] for r in rest.get("/apis/networking.k8s.io/v1")["resources"]
    }
    name, selector = f"cidr-{label}", f"test={label}"
    with rest.watch(RANGES, labelSelector=selector) as events:
        rest.post(RANGES, service_cidr(name, "10.196.196.0/24", labels={"test": label}))
        assert events.until("ADDED")["spec"]["cidrs"] == ["10.196.196.0/24"]
        assert rest.get(f"{RANGES}/{name}")["metadata"]["name"] == name
        assert len(rest.get(RANGES, labelSelector=selector)["items"]) == 1
        rest.patch(f"{RANGES}/{name}", {"metadata": {"annotations": {"patched": "true"}}})
        rest.change(
            f"{RANGES}/{name}", lambda t: t["metadata"]["annotations"].update(updated="true")
        )
        events.until("MODIFIED", lambda t: (t["metadata"].get("annotations") or {}).get("updated"))
        ready = wait_until(lambda: condition(rest.get(f"{RANGES}/{name}"), "Ready"), 30)
        assert (ready["status"], ready["message"]) == ("True", "Kubernetes Service CIDR is ready")
        mine = {
            "type": "StatusPatched",
            "status": "True",
            "reason": "E2E",
            "message": "Set from e2e test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        patch = {"status": {"conditions": [mine]}}
        patched = rest.patch(f"{RANGES}/{name}/status", patch, kind="strategic")
        assert condition(patched, "StatusPatched")["reason"] == "E2E"
        assert condition(patched, "Ready")["status"] == "True"
        refused = rest.fails(
            422,
            "Invalid",
            "PATCH",
            f"{RANGES}/{name}",
            {"spec": {"cidrs": ["10.197.0.0/24"]}},
            headers={"content-type": "application/merge-patch+json"},
        )
        assert "field is immutable" in refused["message"]
        rest.delete(RANGES, labelSelector=selector)
        wait_until(lambda: not rest.get(RANGES, labelSelector=selector)["items"], 30)
        events.until("DELETED")


def test_should_support_ip_address_api_operations(rest, label):
    assert discovered(rest, "ipaddresses")["namespaced"] is False
    selector = f"test={label}"
    with rest.watch(ADDRESSES, labelSelector=selector) as events:
        rest.post(ADDRESSES, ip_address("192.168.1.1", labels={"test": label}))
        rest.post(ADDRESSES, ip_address("2001:db8::1", labels={"test": label}))
        events.until("ADDED", lambda t: t["metadata"]["name"] == "2001:db8::1")
        assert rest.get(f"{ADDRESSES}/192.168.1.1")["spec"]["parentRef"]["name"] == "web"
        assert len(rest.get(ADDRESSES, labelSelector=selector)["items"]) == 2
        rest.patch(f"{ADDRESSES}/192.168.1.1", {"metadata": {"annotations": {"patched": "true"}}})
        rest.change(
            f"{ADDRESSES}/192.168.1.1",
            lambda t: t["metadata"]["annotations"].update(updated="true"),
        )
        events.until("MODIFIED", lambda t: (t["metadata"].get("annotations") or {}).get("updated"))
        rest.fails(422, "Invalid", "POST", ADDRESSES, ip_address("192.168.01.1"))
        rest.delete(f"{ADDRESSES}/192.168.1.1")
        events.until("DELETED")
        rest.delete(ADDRESSES, labelSelector=selector)
        events.until("DELETED", lambda t: t["metadata"]["name"] == "2001:db8::1")
    assert rest.get(ADDRESSES, labelSelector=selector)["items"] == []


def test_the_default_range_and_the_address_of_the_api_server_are_there(rest):
    found = rest.get(f"{RANGES}/kubernetes")
    assert found["spec"]["cidrs"] == ["10.43.0.0/16"]
    ready = wait_until(lambda: condition(rest.get(f"{RANGES}/kubernetes"), "Ready"), 30)
    assert ready["status"] == "True"
    assert rest.get(f"{ADDRESSES}/10.43.0.1")["spec"]["parentRef"] == {
        "resource": "services",
        "namespace": "default",
        "name": "kubernetes",
    }


def test_every_cluster_address_has_its_object(rest, namespace):
    at = f"/api/v1/namespaces/{namespace}/services"
    address = rest.post(at, service("web"))["spec"]["clusterIP"]
    found = rest.get(f"{ADDRESSES}/{address}")
    assert found["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert found["spec"]["parentRef"]["namespace"] == namespace
    # A service without an address has none; one that gets its address back has it again.
    rest.patch(f"{at}/web", {"spec": {"type": "ExternalName", "externalName": "example.com"}})
    assert rest.gone(f"{ADDRESSES}/{address}")
    rest.patch(f"{at}/web", {"spec": {"type": "ClusterIP", "externalName": None}})
    address = rest.get(f"{at}/web")["spec"]["clusterIP"]
    assert not rest.gone(f"{ADDRESSES}/{address}")
    rest.delete(f"{at}/web")
    assert rest.gone(f"{ADDRESSES}/{address}")
    # At once free for others.
    assert rest.post(at, service("next", clusterIP=address))["spec"]["clusterIP"] == address


def test_a_lost_object_of_a_service_is_made_again(rest, namespace):
    at = f"/api/v1/namespaces/{namespace}/services"
    address = rest.post(at, service("web"))["spec"]["clusterIP"]
    rest.delete(f"{ADDRESSES}/{address}")
    wait_until(lambda: not rest.gone(f"{ADDRESSES}/{address}"), 30)
    refused = rest.fails(422, "Invalid", "POST", at, service("other", clusterIP=address))
    assert "provided IP is already allocated" in refused["message"]


@pytest.mark.parametrize(
    ("cidr", "detail"),
    [
        ("10.200.200.5/24", "must not have bits set beyond the prefix length"),
        ("fd00:0::/112", 'must be in canonical form ("fd00::/112")'),
        ("10.200.200.0/40", "must be a valid CIDR value"),
        ("10.200.200.0", "must be a valid CIDR value"),
    ],
)
def test_ranges_have_one_form(rest, cidr, detail):
    refused = rest.fails(422, "Invalid", "POST", RANGES, service_cidr("odd", cidr))
    assert detail in refused["message"]


def test_services_take_addresses_of_a_range_that_is_added(rest, namespace, label):
    at = f"/api/v1/namespaces/{namespace}/services"
    wanted = "10.200.200.77"
    refused = rest.fails(422, "Invalid", "POST", at, service("early", clusterIP=wanted))
    assert (
        f"failed to allocate IP {wanted}: the provided network does not match the current range"
        in refused["message"]
    )
    name = f"added-{label}"
    rest.post(RANGES, service_cidr(name, "10.200.200.0/24"))
    assert rest.post(at, service("web", clusterIP=wanted))["spec"]["clusterIP"] == wanted
    wait_until(lambda: rest.get(f"{RANGES}/{name}")["metadata"].get("finalizers"), 30)
    # It cannot go while a service has an address that lies in it alone.
    rest.delete(f"{RANGES}/{name}")

    def terminating():
        found = condition(rest.get(f"{RANGES}/{name}"), "Ready")
        return found if found.get("status") == "False" else None

    assert wait_until(terminating, 30)["reason"] == "Terminating"
    late = rest.fails(422, "Invalid", "POST", at, service("late", clusterIP="10.200.200.78"))
    assert "does not match the current range" in late["message"]
    rest.delete(f"{at}/web")
    rest.wait_gone(f"{RANGES}/{name}", 30)


def test_a_range_inside_another_goes_although_it_is_in_use(rest, namespace, label):
    at = f"/api/v1/namespaces/{namespace}/services"
    rest.post(RANGES, service_cidr(f"inner-{label}", "10.43.77.0/24"))
    rest.post(at, service("web", clusterIP="10.43.77.7"))
    rest.delete(f"{RANGES}/inner-{label}")
    rest.wait_gone(f"{RANGES}/inner-{label}", 30)
    assert not rest.gone(f"{ADDRESSES}/10.43.77.7")


def test_of_many_who_want_one_address_or_port_one_gets_it(rest, namespace):
    at = f"/api/v1/namespaces/{namespace}/services"

    def create(number):
        tree = service(f"web-{number}", type="NodePort", clusterIP="10.43.99.99")
        tree["spec"]["ports"][0]["nodePort"] = 32123
        return rest.answer("POST", at, tree).status

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == [201] + [422] * 7
    (found,) = rest.get(at)["items"]
    assert (
        rest.get(f"{ADDRESSES}/10.43.99.99")["spec"]["parentRef"]["name"]
        == (found["metadata"]["name"])
    )


def test_many_at_once_get_different_addresses_and_ports(rest, namespace):
    at = f"/api/v1/namespaces/{namespace}/services"

    def create(number):
        spec = rest.post(at, service(f"web-{number}", type="NodePort"))["spec"]
        return spec["clusterIP"], spec["ports"][0]["nodePort"]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(24)))
    assert len({address for address, _ in made}) == len({port for _, port in made}) == 24
    for address, _ in made:
        assert not rest.gone(f"{ADDRESSES}/{address}")
