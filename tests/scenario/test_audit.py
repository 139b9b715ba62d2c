"""What the audit tells of requests: through the server itself, and through a whole cluster."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import urllib3
import yaml
from tests.apiserver_harness import AllowAll, Api, config_map, pod, start_server
from tests.conformance_kit import Rest, wait_until

from kutter.apiserver.audit.auditor import Auditor
from kutter.apiserver.audit.policy import parse_policy
from kutter.apiserver.authn.identity import User
from kutter.apiserver.ports import Decision
from kutter.cluster.api_options import ApiServerOptions
from kutter.cluster.config import ConfigError, load_config
from kutter.http.messages import Response
from kutter.http.server import serve

ANN = User("ann", groups=("system:masters", "system:authenticated"))
BOB = User("bob", uid="7", groups=("dev", "system:authenticated"), extra={"team": ("blue",)})
PODS = "/api/v1/namespaces/default/pods"
SOURCES = Path(__file__).resolve().parents[2] / "src"
MICRO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


class Kept:
    """A sink that keeps events."""

    name = "kept"

    def __init__(self):
        self.events = []

    def take(self, event):
        self.events.append(orjson.loads(event))

    async def run(self):
        return

    async def close(self):
        return

    def stages(self):
        return [event["stage"] for event in self.events]

    def last(self, stage="ResponseComplete"):
        return [event for event in self.events if event["stage"] == stage][-1]


@pytest.fixture
async def audited():
    servers = []

    async def make(*rules, ports=None, **policy):
        server = await start_server(**({"authorizer": ports} if ports else {}))
        servers.append(server)
        tree = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **policy}
        kept = Kept()
        server.auditor = Auditor(parse_policy(tree))
        server.auditor.add(kept)
        return Api(server), kept

    yield make
    for server in servers:
        await server.stop()


async def test_an_event_has_upstreams_form(audited):
    api, kept = await audited({"level": "RequestResponse"})
    headers = {"user-agent": "test/1", "x-forwarded-for": "192.0.2.7, junk", "audit-id": "abc"}
    await api.ok("POST", PODS, pod("a"), query={"fieldManager": "me"}, headers=headers, user=BOB)
    received, complete = kept.events
    assert list(received) == [
        "kind",
        "apiVersion",
        "level",
        "auditID",
        "stage",
        "requestURI",
        "verb",
        "user",
        "sourceIPs",
        "userAgent",
        "objectRef",
        "requestReceivedTimestamp",
        "stageTimestamp",
    ]
    assert (received["kind"], received["apiVersion"]) == ("Event", "audit.k8s.io/v1")
    assert (received["level"], received["stage"]) == ("RequestResponse", "RequestReceived")
    assert received["auditID"] == complete["auditID"] == "abc"
    assert received["requestURI"] == f"{PODS}?fieldManager=me"
    assert received["user"] == {
        "username": "bob",
        "uid": "7",
        "groups": ["dev", "system:authenticated"],
        "extra": {"team": ["blue"]},
    }
    assert received["sourceIPs"] == ["192.0.2.7", "127.0.0.1"]
    assert received["userAgent"] == "test/1"
    assert received["objectRef"] == {
        "resource": "pods",
        "namespace": "default",
        "apiVersion": "v1",
    }
    assert MICRO.match(received["requestReceivedTimestamp"])
    assert MICRO.match(complete["stageTimestamp"])
    assert complete["objectRef"]["name"] == "a"
    assert complete["responseStatus"] == {"metadata": {}, "code": 201}
    assert complete["requestObject"]["spec"]["containers"][0]["name"] == "c"
    assert "uid" not in complete["requestObject"]["metadata"]
    assert complete["responseObject"]["metadata"]["uid"]
    assert complete["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "",
    }


@pytest.mark.parametrize(
    ("level", "request_kept", "response_kept"),
    [("Metadata", False, False), ("Request", True, False), ("RequestResponse", True, True)],
)
async def test_levels(audited, level, request_kept, response_kept):
    api, kept = await audited({"level": level})
    await api.ok("POST", PODS, pod("a"))
    event = kept.last()
    assert ("requestObject" in event, "responseObject" in event) == (request_kept, response_kept)
    assert event["objectRef"]["name"] == "a"
    patch = {"metadata": {"labels": {"a": "b"}}}
    merge = {"content-type": "application/merge-patch+json"}
    await api.ok("PATCH", f"{PODS}/a", patch, headers=merge)
    assert kept.last().get("requestObject") == (patch if request_kept else None)
    await api.ok("GET", PODS)
    assert ("responseObject" in kept.last()) is response_kept


async def test_nothing_is_told_of_what_no_rule_wants(audited):
    api, kept = await audited(
        {"level": "None", "users": ["admin"]}, {"level": "Metadata", "verbs": ["create"]}
    )
    await api.ok("POST", PODS, pod("a"))
    await api.ok("GET", PODS, user=BOB)
    assert kept.events == []
    await api.ok("POST", PODS, pod("b"), user=BOB)
    assert kept.stages() == ["RequestReceived", "ResponseComplete"]


async def test_stages_can_be_omitted(audited):
    api, kept = await audited({"level": "Metadata"}, omitStages=["RequestReceived"])
    await api.ok("GET", PODS)
    assert kept.stages() == ["ResponseComplete"]


async def test_managed_fields_can_be_omitted(audited):
    api, kept = await audited(
        {"level": "RequestResponse", "omitManagedFields": False, "verbs": ["get"]},
        {"level": "RequestResponse"},
        omitManagedFields=True,
    )
    made = await api.ok("POST", PODS, pod("a"))
    assert made["metadata"]["managedFields"]
    assert "managedFields" not in kept.last()["responseObject"]["metadata"]
    await api.ok("PUT", f"{PODS}/a", made)
    assert "managedFields" not in kept.last()["requestObject"]["metadata"]
    await api.ok("GET", PODS)
    assert "managedFields" not in kept.last()["responseObject"]["items"][0]["metadata"]
    await api.ok("GET", f"{PODS}/a")
    assert kept.last()["responseObject"]["metadata"]["managedFields"]


async def test_a_refusal_is_told_as_it_was_answered(audited):
    class Nobody(AllowAll):
        async def authorize(self, attributes):
            return Decision(attributes.verb != "delete", "no deleting today")

    api, kept = await audited({"level": "Metadata"}, ports=Nobody())
    answered = await api.fails(403, "Forbidden", "DELETE", f"{PODS}/a")
    event = kept.last()
    assert event["responseStatus"]["message"] == answered["message"]
    assert event["responseStatus"]["reason"] == "Forbidden"
    assert (event["responseStatus"]["status"], event["responseStatus"]["code"]) == ("Failure", 403)
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert event["annotations"]["authorization.k8s.io/reason"] == "no deleting today"
    await api.fails(404, "NotFound", "GET", f"{PODS}/none")
    assert kept.last()["responseStatus"]["reason"] == "NotFound"


async def test_a_watch_is_told_at_its_begin_and_end(audited):
    api, kept = await audited({"level": "RequestResponse"})
    await api.ok("POST", PODS, pod("a"))
    kept.events.clear()
    watching = await api.watch(PODS, resourceVersion="0")
    await watching.next()
    assert kept.stages() == ["RequestReceived", "ResponseStarted"]
    assert kept.events[-1]["responseStatus"] == {"metadata": {}, "code": 200}
    await watching.close()
    assert kept.stages() == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert "responseObject" not in kept.last()


async def test_an_upgraded_connection_is_told_at_its_begin_and_end(audited):
    api, kept = await audited({"level": "Metadata"})
    ended = []

    async def talk(stream):
        ended.append(stream)

    async def answer(call):
        return Response(101, [("Upgrade", "websocket")], upgrade=talk)

    api.server._handlers["", "pods", "exec"] = answer
    for let_go in (False, True):
        kept.events.clear()
        response = await api.call("GET", f"{PODS}/a/exec", query={"command": "ls"})
        assert kept.stages() == ["RequestReceived", "ResponseStarted"]
        assert kept.events[-1]["responseStatus"]["code"] == 101
        assert kept.events[-1]["objectRef"]["subresource"] == "exec"
        if let_go:
            await response.upgrade.aclose()
        else:
            await response.upgrade("the stream")
        assert kept.stages() == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert ended == ["the stream"]


async def test_a_log_is_long_running_even_if_it_is_short(audited):
    api, kept = await audited({"level": "RequestResponse"})

    async def answer(call):
        return Response(200, [("Content-Type", "text/plain")], b"a line")

    api.server._handlers["", "pods", "log"] = answer
    await api.call("GET", f"{PODS}/a/log")
    assert kept.stages() == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert "responseObject" not in kept.last()


async def test_a_bug_of_ours_is_told_as_panic(audited, monkeypatch):
    api, kept = await audited({"level": "Metadata"})

    def broken(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.server, "served_for", broken)
    await api.fails(500, "InternalError", "GET", PODS)
    assert kept.stages() == ["RequestReceived", "Panic"]
    status = kept.last("Panic")["responseStatus"]
    assert (status["code"], status["reason"]) == (500, "InternalError")
    assert "secret detail" not in json.dumps(kept.events)


async def test_a_caller_that_goes_early_ends_the_record(audited, monkeypatch):
    api, kept = await audited({"level": "Metadata"})
    reached = asyncio.Event()

    async def slow(*_):
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(api.server.authorizer, "authorize", slow)
    call = asyncio.ensure_future(api.call("GET", PODS))
    await reached.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert kept.stages() == ["RequestReceived", "ResponseComplete"]
    assert kept.last()["responseStatus"]["message"] == "Connection closed early"


async def test_confidential_bodies_are_never_told(audited):
    api, kept = await audited({"level": "RequestResponse"})
    hidden = "Zm9yIG15IGV5ZXM="
    secret = {"metadata": {"name": "s"}, "data": {"x": hidden}}
    await api.ok("POST", "/api/v1/namespaces/default/secrets", secret)
    await api.ok("GET", "/api/v1/secrets")
    patch = {"content-type": "application/merge-patch+json"}
    await api.ok(
        "PATCH", "/api/v1/namespaces/default/secrets/s", {"data": {"y": hidden}}, headers=patch
    )
    await api.ok(
        "POST", "/api/v1/namespaces/default/configmaps", config_map("c", data={"x": hidden})
    )
    assert len(kept.events) == 8
    assert hidden not in json.dumps(kept.events)
    assert {event["level"] for event in kept.events} == {"Metadata"}


async def test_a_sink_that_fails_fails_no_request(audited):
    api, kept = await audited({"level": "Metadata"})

    class Full(Kept):
        def take(self, event):
            raise OSError(28, "No space left on device")

    api.server.auditor.sinks.insert(0, Full())
    await api.ok("POST", PODS, pod("a"))
    assert kept.stages() == ["RequestReceived", "ResponseComplete"]


# -- a whole cluster ------------------------------------------------------------


class Collector:
    """An endpoint for audit events."""

    def __init__(self):
        self.items = []

    async def handle(self, request):
        self.items += orjson.loads(request.body)["items"]
        return Response(200)


POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:kube-scheduler", "system:apiserver"]},
        {"level": "RequestResponse", "resources": [{"group": "*"}]},
        {"level": "Metadata"},
    ],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from kutter.testing.cluster import LocalCluster

    folder = tmp_path_factory.mktemp("audit")
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    collector = Collector()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(serve(collector.handle))
    import threading

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    config = {
        "kind": "Config",
        "apiVersion": "v1",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}/audit"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "webhook.yaml").write_text(yaml.safe_dump(config))
    options = ApiServerOptions(
        audit_policy_file=str(folder / "policy.yaml"),
        audit_log_path=str(folder / "audit.log"),
        audit_webhook_config_file=str(folder / "webhook.yaml"),
        audit_webhook_batch_max_wait="100ms",
    )
    with LocalCluster(api=options, controllers=False, scheduler=False) as made:
        made.folder = folder
        made.collector = collector
        yield made
    asyncio.run_coroutine_threadsafe(server.close(grace_s=0), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)


def events_of(cluster, **wanted):
    lines = (cluster.folder / "audit.log").read_bytes().splitlines()
    events = [orjson.loads(line) for line in lines]
    return [e for e in events if all(e.get(k) == v for k, v in wanted.items())]


def test_file_and_endpoint_get_the_same_events(cluster):
    rest = Rest(cluster.kubernetes_client())
    path = "/api/v1/namespaces/default/services"
    rest.post(path, {"metadata": {"name": "told"}, "spec": {"ports": [{"port": 80}]}})
    written = events_of(cluster, requestURI=path, verb="create")
    assert len(written) == 1
    assert written[0]["sourceIPs"] == ["127.0.0.1"]
    assert written[0]["user"]["username"] == "kubernetes-admin"
    reason = written[0]["annotations"]["authorization.k8s.io/reason"]
    assert reason == (
        'RBAC: allowed by ClusterRoleBinding "kutter:cluster-admins" of ClusterRole'
        ' "cluster-admin" to Group "kutter:cluster-admins"'
    )
    identity = written[0]["auditID"]
    sent = wait_until(lambda: [e for e in cluster.collector.items if e["auditID"] == identity], 30)
    assert {"kind": "Event", "apiVersion": "audit.k8s.io/v1", **sent[0]} == written[0]


def test_impersonation_and_refusal_are_told(cluster):
    rest = Rest(cluster.kubernetes_client())
    headers = {"impersonate-user": "eve", "impersonate-group": "sneaky"}
    rest.fails(403, "Forbidden", "GET", "/api/v1/nodes", headers=headers)
    event = events_of(cluster, requestURI="/api/v1/nodes")[-1]
    assert event["user"]["username"] == "kubernetes-admin"
    assert event["impersonatedUser"]["username"] == "eve"
    assert event["impersonatedUser"]["groups"] == ["sneaky", "system:authenticated"]
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"


def test_what_pod_security_finds_is_told(cluster):
    rest = Rest(cluster.kubernetes_client())
    prefix = "pod-security.kubernetes.io/"
    labels = {f"{prefix}audit": "restricted", f"{prefix}enforce": "privileged"}
    rest.post("/api/v1/namespaces", {"metadata": {"name": "watched", "labels": labels}})
    account = {"metadata": {"name": "default"}}
    rest.answer("POST", "/api/v1/namespaces/watched/serviceaccounts", account)
    path = "/api/v1/namespaces/watched/pods"
    plain = {"metadata": {"name": "plain"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    found = rest.answer("POST", path, plain, query={"dryRun": "All"})
    assert found.status == 201, found.tree
    assert "warning" not in found.headers
    notes = events_of(cluster, requestURI=f"{path}?dryRun=All")[-1]["annotations"]
    assert notes[f"{prefix}enforce-policy"] == "privileged:latest"
    assert notes[f"{prefix}audit-violations"].startswith(
        'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
    )


def test_failed_authentication_is_told_without_the_token(cluster):
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
    headers = {"authorization": "Bearer not-a-token-but-secret"}
    answer = pool.request("GET", cluster.url + "/api/v1/pods?a=b", headers=headers)
    assert answer.status == 401
    event = events_of(cluster, requestURI="/api/v1/pods?a=b")[-1]
    assert (event["stage"], event["user"]) == ("ResponseStarted", {})
    assert event["responseStatus"]["code"] == 401
    assert event["responseStatus"]["message"] == "Authentication failed, attempted: bearer"
    assert b"not-a-token" not in (cluster.folder / "audit.log").read_bytes()


def test_issued_tokens_are_never_told(cluster):
    rest = Rest(cluster.kubernetes_client())
    path = "/api/v1/namespaces/default/serviceaccounts"
    rest.post(path, {"metadata": {"name": "robot"}})
    made = rest.post(f"{path}/robot/token", {"spec": {}})
    review = {"spec": {"token": made["status"]["token"]}}
    rest.post("/apis/authentication.k8s.io/v1/tokenreviews", review)
    text = (cluster.folder / "audit.log").read_text()
    assert len(events_of(cluster, requestURI=f"{path}/robot/token")) == 1
    assert made["status"]["token"] not in text


def test_metrics_count_events(cluster):
    text = Rest(cluster.kubernetes_client()).call("GET", "/metrics").data.decode()
    counts = dict(re.findall(r"^(apiserver_audit_\S+) (\S+)$", text, re.MULTILINE))
    assert int(counts["apiserver_audit_event_total"]) > 0
    assert int(counts['apiserver_audit_level_total{level="RequestResponse"}']) > 0


def test_kubectl_is_told_by_its_user_agent(cluster):
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig_path), "get", "pods"]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    agents = [e.get("userAgent", "") for e in events_of(cluster, verb="list")]
    assert any(agent.startswith("kubectl/") for agent in agents)


# -- settings that cannot work -------------------------------------------------------


def test_a_server_does_not_start_without_the_audit_it_was_told_to_keep(tmp_path):
    (tmp_path / "policy.yaml").write_text("kind: Policy\napiVersion: audit.k8s.io/v1\nrules: []\n")
    command = [sys.executable, "-m", "kutter", "server", "--address=127.0.0.1", "--api-port=1"]
    command += [f"--{name}-dir={tmp_path / name}" for name in ("state", "run", "log")]
    command += [f"--audit-policy-file={tmp_path / 'policy.yaml'}", "--audit-log-path=-"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert "loading audit policy file" in done.stderr
    assert "loaded illegal policy with 0 rules" in done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"audit_log_maxage": -1}, "--audit-log-maxage is -1"),
        ({"audit_webhook_batch_max_size": 0}, "--audit-webhook-batch-max-size is 0"),
        ({"audit_webhook_batch_max_wait": "soon"}, 'invalid duration "soon"'),
        ({"audit_webhook_batch_throttle_enable": "maybe"}, "is true or false"),
        ({"request_timeout": "0s"}, "--request-timeout is 0s"),
        (
            {"max_requests_inflight": 0, "max_mutating_requests_inflight": 0},
            "nothing could be served",
        ),
    ],
)
def test_settings_that_cannot_work_are_told_by_their_flags(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config({"state_dir": "/nonexistent", **settings}, environment={})


def test_files_are_found_from_wherever_the_server_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = load_config(
        {"state_dir": "/nonexistent", "audit_log_path": "audit.log", "audit_policy_file": "p.yaml"},
        environment={},
    )
    assert config.audit_log_path == str(tmp_path / "audit.log")
    assert config.audit_policy_file == str(tmp_path / "p.yaml")
    assert load_config({"audit_log_path": "-"}, environment={}).audit_log_path == "-"
