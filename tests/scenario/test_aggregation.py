"""Group-versions served by another API server: registered, used as one's own, and gone again."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess

import pytest
import urllib3
from tests.conformance_kit import Rest, condition, wait_until
from tests.sample_apiserver import GROUP, NAME, NAMESPACE, ROOT, VERSION, SampleApiServer

from kutter.testing.cluster import LocalCluster

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
REGISTERED = f"{SERVICES}/{VERSION}.{GROUP}"
FLUNDERS = f"{ROOT}/namespaces/default/flunders"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTO = "kube-aggregator.kubernetes.io/automanaged"


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(scheduler=False) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    made = Rest(cluster.kubernetes_client())
    wait_until(lambda: made.answer("GET", f"{SERVICES}/v1.apps").status == 200, 30)
    return made


def bind(rest, name, subject, cluster_role="", role="", namespace=""):
    kind = "Role" if role else "ClusterRole"
    where = f"{RBAC}/namespaces/{namespace}/rolebindings" if role else f"{RBAC}/clusterrolebindings"
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role or cluster_role}
    rest.post(where, {"metadata": {"name": name}, "roleRef": ref, "subjects": [subject]})


@pytest.fixture(scope="module")
def token(rest):
    """Of the account the sample server runs under, with what its manifest grants."""
    rest.post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    rest.post(accounts, {"metadata": {"name": "apiserver"}})
    account = {"kind": "ServiceAccount", "name": "apiserver", "namespace": NAMESPACE}
    bind(rest, "wardle:auth-delegator", account, cluster_role="system:auth-delegator")
    bind(
        rest,
        "wardle-auth-reader",
        account,
        role="extension-apiserver-authentication-reader",
        namespace="kube-system",
    )
    return rest.post(f"{accounts}/apiserver/token", {"spec": {}})["status"]["token"]


@pytest.fixture(scope="module")
def sample(cluster, rest, token):
    with SampleApiServer(cluster.url, token) as server:
        service, registered = server.objects()
        rest.post(f"/api/v1/namespaces/{NAMESPACE}/services", service)
        rest.post(SERVICES, registered)
        wait_until(lambda: condition(rest.get(REGISTERED), "Available").get("status") == "True", 30)
        wait_until(lambda: discovered(rest), 30)
        yield server


def discovered(rest):
    items = rest.ok("GET", "/apis", headers={"accept": AGGREGATED})["items"]
    found = [i for i in items if i["metadata"].get("name") == GROUP]
    return found[0] if found and found[0]["versions"][0]["resources"] else None


def kubectl(cluster, *arguments, stdin=None):
    tool = shutil.which("kubectl") or pytest.fail("this test needs kubectl")
    command = [tool, "--kubeconfig", str(cluster.kubeconfig_path), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- our own groups -----------------------------------------------------------------


def test_built_in_groups_are_local(rest):
    services = {t["metadata"]["name"]: t for t in rest.get(SERVICES)["items"]}
    groups = [g["name"] for g in rest.get("/apis")["groups"]]
    assert groups[0] == "apiregistration.k8s.io"
    assert {name.partition(".")[2] for name in services} - {"", GROUP} == set(groups[1:]) - {GROUP}
    core, apps = services["v1."], services["v1.apps"]
    assert core["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}
    assert apps["spec"] == {
        "group": "apps",
        "version": "v1",
        "groupPriorityMinimum": 17800,
        "versionPriority": 15,
    }
    assert apps["metadata"]["labels"] == {AUTO: "onstart"}
    found = condition(apps, "Available")
    assert (found["status"], found["reason"], found["message"]) == (
        "True",
        "Local",
        "Local APIServices are always available",
    )


def test_status_of_an_api_service_is_a_subresource(rest):
    """As the conformance item of the APIService status."""
    body = {
        "metadata": {"name": "v1.status.example.com", "labels": {"e2e": "status"}},
        "spec": {
            "group": "status.example.com",
            "version": "v1",
            "groupPriorityMinimum": 200,
            "versionPriority": 200,
        },
    }
    rest.post(SERVICES, body)
    path = f"{SERVICES}/v1.status.example.com"
    extra = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e"}

    def edit(tree):
        tree["status"]["conditions"].append(extra)
        tree["spec"]["versionPriority"] = 7

    rest.change(f"{path}/status", edit)
    read = rest.get(f"{path}/status")
    assert condition(read, "StatusUpdate")["message"] == "Set from e2e"
    assert read["spec"]["versionPriority"] == 200
    rest.patch(f"{path}/status", {"status": {"conditions": []}})
    wait_until(lambda: condition(rest.get(path), "Available").get("reason") == "Local", 30)
    listed = rest.get(SERVICES, labelSelector="e2e=status")["items"]
    assert len(listed) == 1
    rest.delete(SERVICES + "?labelSelector=e2e%3Dstatus")
    rest.wait_gone(path, 30)


def test_custom_groups_are_registered_while_they_are_defined(rest):
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    schema = {"openAPIV3Schema": {"type": "object"}}
    names = {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    body = {
        "metadata": {"name": "gadgets.aggregation.example.com"},
        "spec": {
            "group": "aggregation.example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version, {**version, "name": "v2", "storage": False}],
        },
    }
    rest.post(crds, body)
    path = f"{SERVICES}/v1.aggregation.example.com"
    wait_until(lambda: not rest.gone(path), 30)
    made = rest.get(path)
    assert made["metadata"]["labels"] == {AUTO: "true"}
    assert (made["spec"]["groupPriorityMinimum"], made["spec"]["versionPriority"]) == (1000, 100)
    rest.delete(path)  # kept as long as it is defined
    uid = made["metadata"]["uid"]
    wait_until(lambda: not rest.gone(path) and rest.get(path)["metadata"]["uid"] != uid, 30)
    rest.change(
        f"{crds}/gadgets.aggregation.example.com",
        lambda t: t["spec"]["versions"][1].update(served=False),
    )
    rest.wait_gone(f"{SERVICES}/v2.aggregation.example.com", 30)
    rest.delete(f"{crds}/gadgets.aggregation.example.com")
    rest.wait_gone(path, 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "v1.other"}, 'must be `spec.version+"."+spec.group`: "v1.x.example.com"'),
        ({"versionPriority": 0}, "must be positive and less than 1000"),
        ({"groupPriorityMinimum": 20001}, "must be positive and less than 20000"),
        ({"caBundle": "eA=="}, "local APIServices may not have a caBundle"),
        ({"insecureSkipTLSVerify": True}, "local APIServices may not have insecureSkipTLSVerify"),
        ({"service": {"namespace": "a", "name": ""}}, "spec.service.name: Required value"),
        (
            {
                "service": {"namespace": "a", "name": "b"},
                "caBundle": "eA==",
                "insecureSkipTLSVerify": True,
            },
            "may not be true if caBundle is present",
        ),
    ],
)
def test_api_services_that_cannot_work_are_refused(rest, change, message):
    spec = {
        "group": "x.example.com",
        "version": "v1",
        "groupPriorityMinimum": 1,
        "versionPriority": 1,
    }
    name = change.pop("name", "v1.x.example.com")
    body = {"metadata": {"name": name}, "spec": {**spec, **change}}
    status = rest.fails(422, "Invalid", "POST", SERVICES, body)
    assert message in status["message"]


# -- why a server is not available ---------------------------------------------------


def test_what_keeps_a_server_from_being_available_is_told(rest):
    name = "v1.gone.example.com"
    body = {
        "metadata": {"name": name},
        "spec": {
            "group": "gone.example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 1,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": "default", "name": "gone"},
        },
    }
    made = rest.post(SERVICES, body)
    assert made["spec"]["service"]["port"] == 443

    def told(reason):
        found = condition(rest.get(f"{SERVICES}/{name}"), "Available")
        return found if found.get("reason") == reason else None

    def becomes(reason, message):
        found = wait_until(lambda: told(reason), 30)
        assert found["status"] == "False"
        assert found["message"] == message

    becomes("ServiceNotFound", 'service/gone in "default" is not present')
    # Until then nobody is asked, and callers are told so.
    answer = rest.answer("GET", "/apis/gone.example.com/v1/things")
    assert (answer.status, answer.tree) == (503, "service unavailable\n")
    assert answer.headers["content-type"].startswith("text/plain")
    services = "/api/v1/namespaces/default/services"
    rest.post(services, {"metadata": {"name": "gone"}, "spec": {"ports": [{"port": 80}]}})
    becomes("ServicePortError", 'service/gone in "default" is not listening on port 443')
    ports = [{"name": "https", "port": 443, "protocol": "TCP"}]
    rest.patch(f"{services}/gone", {"spec": {"ports": ports}})
    becomes("EndpointsNotFound", 'cannot find endpointslices for service/gone in "default"')
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    piece = {
        "metadata": {"name": "gone-1", "labels": {"kubernetes.io/service-name": "gone"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}],
        "ports": [{"name": "https", "port": 443}],
    }
    rest.post(slices, piece)
    text = 'endpointslices for service/gone in "default" have no addresses with port name "https"'
    becomes("MissingEndpoints", text)
    items = rest.ok("GET", "/apis", headers={"accept": AGGREGATED})["items"]
    stale = next(i for i in items if i["metadata"].get("name") == "gone.example.com")
    assert stale["versions"] == [{"version": "v1", "resources": [], "freshness": "Stale"}]
    rest.delete(f"{SERVICES}/{name}")
    rest.delete(f"{services}/gone")
    rest.delete(f"{slices}/gone-1")
    wait_until(
        lambda: "gone.example.com" not in [g["name"] for g in rest.get("/apis")["groups"]], 30
    )


# -- an aggregated server --------------------------------------------------------------


def test_its_kinds_are_used_as_ones_own(cluster, rest, sample):
    """The conformance item of the sample API server, through kubectl and the API."""
    found = condition(rest.get(REGISTERED), "Available")
    assert (found["reason"], found["message"]) == ("Passed", "all checks passed")
    manifest = {
        "kind": "Flunder",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {"name": "one"},
        "spec": {"reference": "x"},
    }
    assert "flunder.wardle.example.com/one created" in kubectl(
        cluster, "create", "-f", "-", stdin=json.dumps(manifest)
    )
    listed = json.loads(kubectl(cluster, "get", "fl", "-o", "json"))
    assert [i["metadata"]["name"] for i in listed["items"]] == ["one"]
    assert "flunders" in kubectl(cluster, "api-resources", "--api-group", GROUP)
    assert "sample-api" in kubectl(cluster, "get", "apiservices", f"{VERSION}.{GROUP}")
    assert "reference" in kubectl(cluster, "explain", "flunder.spec")
    made = rest.get(f"{FLUNDERS}/one")
    rest.put(f"{FLUNDERS}/one", {**made, "spec": {"reference": "y"}})
    assert rest.get(f"{FLUNDERS}/one")["spec"]["reference"] == "y"
    rest.fails(404, "NotFound", "GET", f"{FLUNDERS}/two")
    assert "deleted" in kubectl(cluster, "delete", "flunder", "one")
    rest.wait_gone(f"{FLUNDERS}/one")


def test_discovery_of_all_forms_has_it_in_its_place(rest, sample):
    groups = [g["name"] for g in rest.get("/apis")["groups"]]
    # Below what is built in, above custom kinds.
    assert groups.index(GROUP) > groups.index("discovery.k8s.io")
    assert rest.get(f"/apis/{GROUP}")["preferredVersion"]["version"] == VERSION
    assert [r["name"] for r in rest.get(ROOT)["resources"]] == ["flunders", "flunders/echo"]
    entry = discovered(rest)["versions"][0]
    assert (entry["freshness"], entry["resources"][0]["resource"]) == ("Current", "flunders")
    assert f"/apis/{GROUP}/{VERSION}" in rest.get("/")["paths"]


def test_openapi_has_its_part(rest, sample):
    index = rest.get("/openapi/v3")["paths"]
    url = index[ROOT[1:]]["serverRelativeURL"]
    assert url.endswith("hash=F00")
    document = rest.ok("GET", url)
    assert "com.example.wardle.v1alpha1.Flunder" in document["components"]["schemas"]
    merged = rest.get("/openapi/v2")
    assert "com.example.wardle.v1alpha1.Flunder" in merged["definitions"]
    assert f"{ROOT}/namespaces/{{namespace}}/flunders/{{name}}" in merged["paths"]
    # Nothing beside its own group-version.
    assert "get" in merged["paths"]["/version/"]
    assert "/beside/" not in merged["paths"]
    assert "unused" not in merged["definitions"]


def test_callers_are_named_by_us_alone(rest, sample):
    headers = {
        "X-Remote-User": "eve",
        "X-Remote-Group": "system:masters",
        "X-Remote-Extra-Sneaky": "yes",
        "Impersonate-User": "jané",
        "Impersonate-Group": "crew",
        "Impersonate-Extra-Team%2Fcolour": "blue",
    }
    headers = {k: v.encode() if not v.isascii() else v for k, v in headers.items()}
    status = rest.fails(403, "Forbidden", "GET", FLUNDERS, headers=headers)
    assert "jan" in status["message"]
    bind(
        rest,
        "crew",
        {"kind": "Group", "name": "crew", "apiGroup": "rbac.authorization.k8s.io"},
        cluster_role="cluster-admin",
    )
    sample.seen.clear()
    rest.ok("GET", FLUNDERS, headers=headers)
    _, _, user, groups, extra = sample.seen[-1]
    assert user.encode("latin-1").decode() == "jané"
    assert groups == ("crew", "system:authenticated")
    assert extra == {"x-remote-extra-team%2fcolour": "blue"}
    rest.delete(f"{RBAC}/clusterrolebindings/crew")


def test_watches_pass_through(rest, sample):
    with rest.watch(FLUNDERS) as watch:
        rest.post(FLUNDERS, {"metadata": {"name": "seen"}})
        assert watch.until("ADDED", lambda t: t["metadata"]["name"] == "seen")
        rest.delete(f"{FLUNDERS}/seen")
        watch.until("DELETED")


def test_upgrades_pass_through(cluster, rest, sample):
    async def exchange():
        client = cluster.http_client()
        transport = client.transport
        headers, stream = await transport.upgrade(
            f"{FLUNDERS}/any/echo", headers={"Upgrade": "echo"}
        )
        async with asyncio.timeout(20):
            await stream.write(b"there and ")
            await stream.write(b"back")
            got = b""
            while len(got) < 14:
                got += await stream.read()
        stream.close()
        await transport.close()
        return headers["upgrade"], got

    assert asyncio.run(exchange()) == ("echo", b"there and back")


def test_a_namespace_goes_with_what_other_servers_hold_in_it(rest, sample):
    rest.post("/api/v1/namespaces", {"metadata": {"name": "doomed"}})
    for name in ("a", "b"):
        rest.post(f"{ROOT}/namespaces/doomed/flunders", {"metadata": {"name": name}})
    rest.post(FLUNDERS, {"metadata": {"name": "kept"}})
    rest.delete("/api/v1/namespaces/doomed")
    rest.wait_gone("/api/v1/namespaces/doomed", 40)
    assert [key for key in sample.flunders if key[0] == "doomed"] == []
    assert ("default", "kept") in sample.flunders
    rest.delete(f"{FLUNDERS}/kept")


def test_redirects_are_not_followed_nor_passed_on(rest, sample):
    answer = rest.answer("GET", f"{FLUNDERS}/any/away", redirect=False)
    assert answer.status == 502
    assert "attempted to redirect" in answer.tree
    assert "location" not in answer.headers


def test_components_of_this_process_reach_it_too(cluster, rest, sample):
    client = cluster.local_client()
    answer = cluster.run(client.transport.request("GET", FLUNDERS))
    assert answer.status == 200
    assert sample.seen[-1][2] == "kubernetes-admin"


def test_the_sample_server_believes_nobody_else(sample):
    """What would make the tests above pass with a server that checks nothing."""
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE", timeout=20)
    url = f"https://127.0.0.1:{sample.port}{FLUNDERS}"
    assert pool.request("GET", url).status == 401
    headers = {"X-Remote-User": "eve", "X-Remote-Group": "system:masters"}
    assert pool.request("GET", url, headers=headers).status == 401


def test_the_servers_certificate_has_to_hold(rest, sample):
    other = base64.b64encode(
        rest.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")[
            "data"
        ]["client-ca-file"].encode()
    ).decode()
    rest.patch(REGISTERED, {"spec": {"caBundle": other}})

    def available():
        return condition(rest.get(REGISTERED), "Available")

    wait_until(lambda: available()["reason"] == "FailedDiscoveryCheck", 30)
    assert "certificate signed by unknown authority" in available()["message"]
    assert available()["message"].startswith("failing or missing response from https://localhost:")
    assert rest.answer("GET", FLUNDERS).status == 503
    rest.patch(REGISTERED, {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}})
    wait_until(lambda: available()["status"] == "True", 60)
    assert rest.answer("GET", FLUNDERS).status == 200
    rest.patch(REGISTERED, {"spec": {"caBundle": sample.ca_bundle, "insecureSkipTLSVerify": False}})
    wait_until(lambda: available()["status"] == "True", 60)
    wait_until(lambda: rest.answer("GET", FLUNDERS).status == 200, 60)


def test_a_server_with_older_discovery_is_described_too(cluster, rest, sample):
    sample.aggregated_discovery = False
    rest.patch(REGISTERED, {"spec": {"versionPriority": 201}})  # looked at anew

    def older():
        found = discovered(rest)
        resource = found["versions"][0]["resources"][0] if found else {}
        return resource.get("subresources")

    parts = wait_until(older, 30)
    assert parts[0]["subresource"] == "echo"
    assert parts[0]["responseKind"] == {"group": GROUP, "version": VERSION, "kind": "Flunder"}


def test_a_server_that_is_gone_is_told_and_its_group_goes_with_its_registration(rest, sample):
    sample.stop()
    answer = rest.answer("GET", FLUNDERS)
    assert answer.status == 503
    # Looked at soon, because its service says so.
    rest.patch(
        f"/api/v1/namespaces/{NAMESPACE}/services/{NAME}", {"metadata": {"labels": {"x": "y"}}}
    )
    wait_until(lambda: condition(rest.get(REGISTERED), "Available")["status"] == "False", 60)
    found = condition(rest.get(REGISTERED), "Available")
    assert found["reason"] == "FailedDiscoveryCheck"
    assert "connection refused" in found["message"]
    entry = discovered(rest)["versions"][0]
    assert (entry["freshness"], len(entry["resources"])) == ("Stale", 1)
    metrics = rest.call("GET", "/metrics").data.decode()
    assert f'aggregator_unavailable_apiservice{{name="{VERSION}.{GROUP}"}} 1' in metrics
    rest.delete(REGISTERED)
    rest.wait_gone(REGISTERED)
    wait_until(lambda: GROUP not in [g["name"] for g in rest.get("/apis")["groups"]], 30)
    assert rest.answer("GET", FLUNDERS).status == 404


# -- proxies in front of this server ----------------------------------------------------


def ask(cluster, certificate, **headers):
    pki = cluster._certificates.folder
    pool = urllib3.PoolManager(
        cert_reqs="CERT_NONE",
        cert_file=str(pki / f"{certificate}.crt"),
        key_file=str(pki / f"{certificate}.key"),
    )
    url = cluster.url + "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = json.dumps({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})
    sent = {"content-type": "application/json", **headers}
    answer = pool.request("POST", url, body=body, headers=sent)
    tree = json.loads(answer.data)
    return answer.status, tree.get("status", {}).get("userInfo") if answer.status == 201 else tree


def test_a_front_proxy_may_speak_for_others(cluster):
    headers = {
        "X-Remote-User": "ann",
        "X-Remote-Uid": "u-1",
        "X-Remote-Group": "dev",
        "X-Remote-Extra-Team": "blue",
    }
    status, user = ask(cluster, "front-proxy-client", **headers)
    assert status == 201
    assert user == {
        "username": "ann",
        "uid": "u-1",
        "groups": ["dev", "system:authenticated"],
        "extra": {"team": ["blue"]},
    }


def test_its_certificate_alone_is_nobodys(cluster):
    assert ask(cluster, "front-proxy-client")[0] == 401


def test_nobody_elses_headers_are_believed(cluster):
    status, user = ask(
        cluster, "admin", **{"X-Remote-User": "eve", "X-Remote-Group": "system:masters"}
    )
    assert (status, user["username"]) == (201, "kubernetes-admin")
    assert "system:masters" not in user["groups"]
