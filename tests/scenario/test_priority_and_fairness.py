"""Priority and fairness through the public API: objects, headers, refusals, limits, debugging."""

from __future__ import annotations

import asyncio
import re

import pytest
from tests.apiserver_harness import AllowAll, Api, header, start_server, tree
from tests.conformance_kit import Rest, condition, wait_until

from kutter.apiserver.authn.identity import User
from kutter.apiserver.fairness.defaults import (
    MANDATORY_LEVELS,
    MANDATORY_SCHEMAS,
    SUGGESTED_LEVELS,
    SUGGESTED_SCHEMAS,
)
from kutter.apiserver.ports import Decision
from kutter.testing.cluster import LocalCluster

ROOT = "/apis/flowcontrol.apiserver.k8s.io/v1"
SCHEMAS, LEVELS = f"{ROOT}/flowschemas", f"{ROOT}/prioritylevelconfigurations"
AUTO = "apf.kubernetes.io/autoupdate-spec"
DEBUG = "/debug/api_priority_and_fairness"


def names(trees):
    return {tree["metadata"]["name"] for tree in trees}


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(controllers=False, scheduler=False) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    made = Rest(cluster.kubernetes_client())
    wait_until(lambda: all(condition(t, "Dangling") for t in made.get(SCHEMAS)["items"]), 30)
    wait_until(lambda: len(made.get(SCHEMAS)["items"]) >= len(names(SUGGESTED_SCHEMAS)) + 2, 30)
    return made


def test_every_cluster_has_the_defaults(rest):
    schemas = {t["metadata"]["name"]: t for t in rest.get(SCHEMAS)["items"]}
    levels = {t["metadata"]["name"]: t for t in rest.get(LEVELS)["items"]}
    assert set(schemas) >= names((*MANDATORY_SCHEMAS, *SUGGESTED_SCHEMAS))
    assert set(levels) >= names((*MANDATORY_LEVELS, *SUGGESTED_LEVELS))
    assert levels["workload-low"]["spec"]["limited"] == {
        "nominalConcurrencyShares": 100,
        "lendablePercent": 90,
        "limitResponse": {
            "type": "Queue",
            "queuing": {"queues": 128, "handSize": 6, "queueLengthLimit": 50},
        },
    }
    assert schemas["probes"]["metadata"]["annotations"] == {AUTO: "true"}
    found = condition(schemas["probes"], "Dangling")
    assert found["lastTransitionTime"]
    assert (found["status"], found["reason"], found["message"]) == (
        "False",
        "Found",
        (
            'This FlowSchema references the PriorityLevelConfiguration object named "exempt"'
            " and it exists"
        ),
    )


def test_a_table_lists_schemas_in_the_order_they_are_asked(rest):
    accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    rows = rest.ok("GET", SCHEMAS, headers=accept)["rows"]
    order = [(row["cells"][2], row["cells"][0]) for row in rows]
    assert order == sorted(order)
    assert order[0][1] == "exempt"


@pytest.mark.parametrize(
    "path", [f"{SCHEMAS}/catch-all", f"{LEVELS}/catch-all", f"{SCHEMAS}/probes"]
)
def test_a_deleted_default_comes_back(rest, path):
    uid = rest.get(path)["metadata"]["uid"]
    rest.delete(path)
    wait_until(lambda: not rest.gone(path) and rest.get(path)["metadata"]["uid"] != uid, 30)


def test_mandatory_ones_are_fixed(rest):
    body = {"spec": {"matchingPrecedence": 77}}
    status = rest.fails(
        422,
        "Invalid",
        "PATCH",
        f"{SCHEMAS}/catch-all",
        body,
        headers={"content-type": "application/merge-patch+json"},
    )
    assert "spec of 'catch-all' must equal the fixed value" in status["message"]


def test_suggested_ones_are_kept_until_told_otherwise(rest):
    path = f"{SCHEMAS}/global-default"
    rest.patch(path, {"spec": {"matchingPrecedence": 9800}})
    wait_until(lambda: rest.get(path)["spec"]["matchingPrecedence"] == 9900, 30)
    rest.patch(path, {"metadata": {"annotations": {AUTO: "false"}}})
    rest.patch(path, {"spec": {"matchingPrecedence": 9800}})
    # Something else that has to be put right shows that the first was looked at.
    rest.patch(f"{SCHEMAS}/service-accounts", {"spec": {"matchingPrecedence": 8999}})
    again = f"{SCHEMAS}/service-accounts"
    wait_until(lambda: rest.get(again)["spec"]["matchingPrecedence"] == 9000, 30)
    assert rest.get(path)["spec"]["matchingPrecedence"] == 9800
    rest.patch(path, {"metadata": {"annotations": {AUTO: "true"}}})
    wait_until(lambda: rest.get(path)["spec"]["matchingPrecedence"] == 9900, 30)


def schema(name, level, precedence=50, user="somebody"):
    rule = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
        "clusterScope": True,
    }
    return {
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": level},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": user}}],
                    "resourceRules": [rule],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }
            ],
        },
    }


def level(name, shares=5, response=None):
    limited = {"nominalConcurrencyShares": shares, "limitResponse": response or {"type": "Reject"}}
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}


def test_a_schema_without_its_level_dangles_until_there_is_one(rest):
    rest.post(SCHEMAS, schema("lost", "to-come"))
    found = wait_until(lambda: condition(rest.get(f"{SCHEMAS}/lost"), "Dangling"), 30)
    assert (found["status"], found["reason"]) == ("True", "NotFound")
    assert found["message"].endswith('named "to-come" but there is no such object')
    rest.post(LEVELS, level("to-come"))
    wait_until(lambda: condition(rest.get(f"{SCHEMAS}/lost"), "Dangling")["status"] == "False", 30)
    rest.delete(f"{LEVELS}/to-come")
    wait_until(lambda: condition(rest.get(f"{SCHEMAS}/lost"), "Dangling")["status"] == "True", 30)
    rest.delete(f"{SCHEMAS}/lost")


def test_answers_tell_the_schema_and_level_by_uid(rest):
    made = rest.post(LEVELS, level("mine"))["metadata"]["uid"]
    own = rest.post(SCHEMAS, schema("mine", "mine", user="kubernetes-admin"))["metadata"]["uid"]

    def told():
        headers = rest.answer("GET", "/api/v1/pods").headers
        return (
            headers["X-Kubernetes-PF-FlowSchema-UID"],
            headers["X-Kubernetes-PF-PriorityLevel-UID"],
        )

    wait_until(lambda: told() == (own, made), 30)
    # Of refusals too.
    refused = rest.answer("GET", "/api/v1/namespaces/none/pods/none")
    assert refused.status == 404
    assert refused.headers["X-Kubernetes-PF-FlowSchema-UID"] == own
    rest.delete(f"{SCHEMAS}/mine")
    rest.delete(f"{LEVELS}/mine")
    wait_until(lambda: told()[0] not in ("", own), 30)


@pytest.mark.parametrize(
    ("path", "tree", "message"),
    [
        (SCHEMAS, schema("x", "y", precedence=1), "only the schema named 'exempt' may have"),
        (SCHEMAS, schema("x", "y", precedence=10001), "must not be greater than 10000"),
        (SCHEMAS, schema("x", "y", user=""), "user.name: Required value"),
        (LEVELS, {**level("x"), "spec": {"type": "Exempt"}}, "if and only if `name` is 'exempt'"),
        (LEVELS, level("x", shares=-1), "must be a non-negative integer"),
        (LEVELS, level("x", response={"type": "Queue"}), "queuing: Required value"),
        (
            LEVELS,
            level(
                "x",
                response={"type": "Queue", "queuing": {"queues": 4, "handSize": 5}},
            ),
            "should not be greater than queues (4)",
        ),
        (
            LEVELS,
            level(
                "x",
                response={"type": "Queue", "queuing": {"queues": 512, "handSize": 8}},
            ),
            "required entropy bits of deckSize 512 and handSize 8",
        ),
    ],
)
def test_configurations_that_cannot_work_are_refused(rest, path, tree, message):
    status = rest.fails(422, "Invalid", "POST", path, tree)
    assert message in status["message"]


# -- requests that have to wait ---------------------------------------------------

ANN = User("ann", groups=("system:authenticated",))
BOB = User("bob", groups=("system:authenticated",))
PODS = "/api/v1/pods"


class Slow(AllowAll):
    """Whatever ``ann`` asks waits to be let go."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.waiting = 0

    async def authenticate(self, request):
        return {"ann": ANN, "bob": BOB}.get(
            request.headers.get("who", ""), await super().authenticate(request)
        )

    async def authorize(self, attributes):
        if attributes.user.name == "ann":
            self.waiting += 1
            await self.gate.wait()
        return Decision(allowed=True)


async def until(check):
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.001)


@pytest.fixture
async def busy():
    ports = Slow()
    server = await start_server(authorizer=ports, authenticator=ports, seats=4)
    queued = {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 2}}
    configured = [
        {**level("small", shares=10**9, response=queued)},
    ]
    for made in configured:
        made["metadata"]["uid"] = "level-uid"
    both = [schema("ann", "small", user="ann"), schema("bob", "small", user="bob")]
    for made in both:
        made["metadata"]["uid"] = f"{made['metadata']['name']}-uid"
    server.fairness.configure(configured, both)
    api = Api(server)
    calls = [asyncio.ensure_future(api.call("GET", PODS, headers={"who": "ann"})) for _ in range(4)]
    await until(lambda: ports.waiting == 4)
    yield api, ports
    ports.gate.set()
    answers = await asyncio.gather(*calls)
    assert [answer.status for answer in answers] == [200] * 4
    assert server.fairness.levels["small"].taken == 0
    await server.stop()


async def test_too_many_wait_in_line_and_more_are_refused(busy):
    api, ports = busy
    waiting = [
        asyncio.ensure_future(api.call("GET", PODS, headers={"who": "bob"})) for _ in range(2)
    ]
    await until(lambda: api.server.fairness.levels["small"].waiting == 2)
    refused = await api.call("GET", PODS, headers={"who": "bob"})
    assert refused.status == 429
    assert header(refused, "Retry-After") == ["1"]
    assert header(refused, "X-Kubernetes-PF-FlowSchema-UID") == ["bob-uid"]
    status = tree(refused)
    assert status["reason"] == "TooManyRequests"
    assert status["message"] == "Too many requests, please try again later."
    assert status["details"] == {"retryAfterSeconds": 1}
    # The administrator is served whatever happens.
    assert (await api.call("GET", PODS)).status == 200
    text = (
        await api.call("GET", f"{DEBUG}/dump_requests", query={"includeRequestDetails": "1"})
    ).body
    lines = [re.split(r",\s+", line) for line in text.decode().splitlines()]
    assert lines[0][0] == "PriorityLevelName"
    assert [(row[0], row[1], row[4], row[10], row[16]) for row in lines[1:]] == [
        ("small", "bob", "bob", "bob", "pods")
    ] * 2
    levels = (await api.call("GET", f"{DEBUG}/dump_priority_levels")).body.decode().splitlines()
    row = next(line for line in levels if line.startswith("small"))
    assert re.split(r",\s+", row)[:6] == ["small", "1", "false", "false", "2", "4"]
    queues = (await api.call("GET", f"{DEBUG}/dump_queues")).body.decode().splitlines()
    assert re.split(r",\s+", next(x for x in queues if x.startswith("small")))[:3] == [
        "small",
        "0",
        "2",
    ]
    metrics = (await api.call("GET", "/metrics")).body.decode()
    for line in (
        'apiserver_flowcontrol_rejected_requests_total{priority_level="small",flow_schema="bob",reason="queue-full"} 1',
        'apiserver_flowcontrol_current_inqueue_requests{priority_level="small"} 2',
        'apiserver_flowcontrol_current_executing_seats{priority_level="small"} 4',
        'apiserver_flowcontrol_nominal_limit_seats{priority_level="small"} 4',
    ):
        assert line in metrics
    ports.gate.set()
    answers = await asyncio.gather(*waiting)
    assert [answer.status for answer in answers] == [200, 200]


async def test_whoever_waits_too_long_is_told_to_try_again(busy):
    api, _ = busy
    api.server.fairness.wait_limit_s = 0.01
    refused = await api.call("GET", PODS, headers={"who": "bob"})
    assert (refused.status, tree(refused)["reason"]) == (429, "TooManyRequests")


async def test_a_caller_that_goes_leaves_the_line(busy):
    api, _ = busy
    call = asyncio.ensure_future(api.call("GET", PODS, headers={"who": "bob"}))
    await until(lambda: api.server.fairness.levels["small"].waiting == 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert api.server.fairness.levels["small"].waiting == 0


async def test_a_flood_of_one_caller_does_not_keep_others_waiting():
    """A hundred times as many requests as seats, and somebody who asks one by one meanwhile."""

    class Busy(Slow):
        async def authorize(self, attributes):
            await asyncio.sleep(0.002)
            return Decision(allowed=True)

    ports = Busy()
    server = await start_server(authorizer=ports, authenticator=ports, seats=4)
    queued = {
        "type": "Queue",
        "queuing": {"queues": 64, "handSize": 4, "queueLengthLimit": 400},
    }
    both = [schema(name, "small", user=name) for name in ("ann", "bob")]
    server.fairness.configure([level("small", shares=10**9, response=queued)], both)
    api = Api(server)
    flood = [
        asyncio.ensure_future(api.call("GET", PODS, headers={"who": "ann"})) for _ in range(400)
    ]
    await until(lambda: server.fairness.levels["small"].waiting >= 300)
    for _ in range(10):
        assert (await api.call("GET", PODS, headers={"who": "bob"})).status == 200
    # In order of arrival all of the flood would have come first.
    still = sum(1 for call in flood if not call.done())
    assert still >= 200
    answers = await asyncio.gather(*flood)
    assert {answer.status for answer in answers} == {200}
    await server.stop()


def seats_of(metrics, name):
    kind = 'apiserver_flowcontrol_%s_limit_seats{priority_level="%s"} '
    rows = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line and line[0] != "#")
    return tuple(float(rows[(kind % (which, name)).strip()]) for which in ("nominal", "current"))


@pytest.mark.parametrize(("limit", "borrows"), [(None, True), (0, False)])
async def test_seats_nobody_uses_are_borrowed_unless_that_is_forbidden(monkeypatch, limit, borrows):
    monkeypatch.setattr("kutter.apiserver.fairness.fairness.ADJUSTMENT_PERIOD_S", 0.05)
    ports = Slow()
    server = await start_server(authorizer=ports, authenticator=ports, seats=20)
    queued = {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 50}}
    poor, rich = level("poor", shares=10**8, response=queued), level("rich", shares=10**8)
    rich["spec"]["limited"]["lendablePercent"] = 80
    if limit is not None:
        poor["spec"]["limited"]["borrowingLimitPercent"] = limit
    server.fairness.configure(
        [poor, rich], [schema("ann", "poor", user="ann"), schema("bob", "rich", user="bob")]
    )
    api = Api(server)
    calls = [
        asyncio.ensure_future(api.call("GET", PODS, headers={"who": "ann"})) for _ in range(16)
    ]
    await until(lambda: ports.waiting >= 10)

    async def told(name):
        return seats_of((await api.call("GET", "/metrics")).body.decode(), name)

    if borrows:
        await until(lambda: ports.waiting == 16)
        nominal, current = await told("poor")
        assert (nominal, current) >= (10, 16)
        lent_from, left = await told("rich")
        assert 0 < left < lent_from
    else:
        for _ in range(5):
            server.fairness.adjust()
            await asyncio.sleep(0)
        assert ports.waiting == 10
        assert await told("poor") == (10, 10)
    # Whoever lent still has what it kept for itself.
    assert (await api.call("GET", PODS, headers={"who": "bob"})).status == 200
    ports.gate.set()
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}
    await server.stop()


async def test_a_watch_keeps_its_seat_only_until_it_has_begun():
    server = await start_server(authenticator=Slow(), seats=10)
    api = Api(server)
    watches = []
    for _ in range(30):
        response = await api.call("GET", PODS, query={"watch": "1"}, headers={"who": "bob"})
        assert response.status == 200
        watches.append(response.stream)
    assert server.fairness.levels["catch-all"].taken == 0
    for stream in watches:
        await stream.aclose()
    await server.stop()


async def test_long_lists_and_watched_writes_are_wide():
    server = await start_server(seats=600)
    api = Api(server)
    path = "/api/v1/namespaces/default/configmaps"
    for number in range(250):
        await api.ok("POST", path, {"metadata": {"name": f"c{number}"}})
    width = server.fairness.width_of
    from kutter.apiserver.request_info import parse_request_info

    def of(method, target, **query):
        return width(parse_request_info(method, target, query), query, 10)

    assert of("GET", path) == 3
    assert of("GET", path, fieldSelector="metadata.name=c1") == 1
    assert of("GET", f"{path}/c1") == 1
    assert of("GET", path, watch="1") == 3
    assert of("GET", path, watch="1", resourceVersion="7") == 1
    assert of("GET", "/apis/example.com/v1/widgets") == 1
    watches = [await api.watch(path, resourceVersion="0") for _ in range(25)]
    assert of("POST", path) == 3
    assert of("POST", "/api/v1/namespaces/default/secrets") == 1
    for watch in watches:
        await watch.close()
    assert of("POST", path) == 1
    await server.stop()


# -- time ---------------------------------------------------------------------------


async def test_a_timeout_that_is_none_is_refused():
    server = await start_server()
    api = Api(server)
    status = await api.fails(400, "BadRequest", "GET", PODS, query={"timeout": "soon"})
    assert status["message"] == (
        'invalid timeout specified in the request URL - time: invalid duration "soon"'
    )
    for good in ("0", "0s", "10m", "1h5m", "250ms", ""):
        await api.ok("GET", PODS, query={"timeout": good})
    await server.stop()


async def test_a_request_that_takes_too_long_is_answered_504(monkeypatch):
    server = await start_server(request_timeout_s=0.05)
    api = Api(server)

    async def stuck(*_, **__):
        await asyncio.Event().wait()

    served = server.served_for(server.catalog.find("", "v1", "pods"))
    monkeypatch.setattr(served.storage, "create", stuck)
    body = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    status = await api.fails(504, "Timeout", "POST", "/api/v1/namespaces/default/pods", body)
    assert status["message"] == (
        "Timeout: request did not complete within requested timeout - context deadline exceeded"
    )
    await server.stop()
