"""sig-api-machinery: Watchers, API chunking, Table transformation."""

import threading
import time

from tests.conformance_kit import config_map, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def test_should_observe_add_update_and_delete_watch_notifications_on_configmaps(rest, namespace):
    path, key = maps(namespace), "watch-this-configmap"
    a = rest.watch(path, labelSelector=f"{key}=multiple-watchers-A")
    b = rest.watch(path, labelSelector=f"{key}=multiple-watchers-B")
    both = rest.watch(path, labelSelector=f"{key} in (multiple-watchers-A,multiple-watchers-B)")
    with a, b, both:
        rest.post(path, config_map("first", labels={key: "multiple-watchers-A"}))
        rest.patch(f"{path}/first", {"data": {"mutation": "1"}})
        rest.patch(f"{path}/first", {"data": {"mutation": "2"}})
        rest.delete(f"{path}/first")
        rest.post(path, config_map("second", labels={key: "multiple-watchers-B"}))
        rest.delete(f"{path}/second")

        def seen(watch, count):
            events = [watch.next() for _ in range(count)]
            return [
                (k, t["metadata"]["name"], t.get("data", {}).get("mutation")) for k, t in events
            ]

        first = [
            ("ADDED", "first", None),
            ("MODIFIED", "first", "1"),
            ("MODIFIED", "first", "2"),
            ("DELETED", "first", "2"),
        ]
        second = [("ADDED", "second", None), ("DELETED", "second", None)]
        assert seen(a, 4) == first
        assert seen(b, 2) == second
        assert seen(both, 6) == first + second


def test_should_be_able_to_start_watching_from_a_specific_resource_version(rest, namespace):
    path = maps(namespace)
    rest.post(path, config_map("versioned"))
    first = rest.patch(f"{path}/versioned", {"data": {"mutation": "1"}})
    rest.patch(f"{path}/versioned", {"data": {"mutation": "2"}})
    deleted = rest.delete(f"{path}/versioned")
    assert deleted["status"] == "Success"
    version = first["metadata"]["resourceVersion"]
    query = {"resourceVersion": version, "fieldSelector": "metadata.name=versioned"}
    with rest.watch(path, **query) as events:
        kind, tree = events.next()
        assert (kind, tree["data"]["mutation"]) == ("MODIFIED", "2")
        kind, gone = events.next()
        assert kind == "DELETED"
        assert int(gone["metadata"]["resourceVersion"]) > int(tree["metadata"]["resourceVersion"])


def test_should_be_able_to_restart_watching_from_the_last_version_observed(rest, namespace):
    path, query = maps(namespace), {"labelSelector": "restart=yes"}
    with rest.watch(path, **query) as events:
        rest.post(path, config_map("restarted", labels={"restart": "yes"}))
        rest.patch(f"{path}/restarted", {"data": {"mutation": "1"}})
        assert events.next()[0] == "ADDED"
        kind, last = events.next()
        assert kind == "MODIFIED"
    rest.patch(f"{path}/restarted", {"data": {"mutation": "2"}})
    rest.delete(f"{path}/restarted")
    with rest.watch(path, resourceVersion=last["metadata"]["resourceVersion"], **query) as events:
        kind, tree = events.next()
        assert (kind, tree["data"]["mutation"]) == ("MODIFIED", "2")
        assert events.next()[0] == "DELETED"


def test_should_observe_an_object_deletion_if_it_stops_meeting_the_selector(rest, namespace):
    path = maps(namespace)
    with rest.watch(path, labelSelector="watch=me") as events:
        rest.post(path, config_map("relabelled", labels={"watch": "me"}))
        rest.patch(f"{path}/relabelled", {"data": {"mutation": "1"}})
        rest.patch(f"{path}/relabelled", {"metadata": {"labels": {"watch": "another"}}})
        rest.patch(f"{path}/relabelled", {"data": {"mutation": "2"}})
        rest.patch(f"{path}/relabelled", {"metadata": {"labels": {"watch": "me"}}})
        rest.patch(f"{path}/relabelled", {"data": {"mutation": "3"}})
        rest.delete(f"{path}/relabelled")
        seen = [events.next() for _ in range(6)]
    assert [(k, (t.get("data") or {}).get("mutation")) for k, t in seen] == [
        ("ADDED", None),
        ("MODIFIED", "1"),
        ("DELETED", "1"),
        ("ADDED", "2"),
        ("MODIFIED", "3"),
        ("DELETED", "3"),
    ]


def test_should_receive_events_on_concurrent_watches_in_same_order(rest, namespace):
    path = maps(namespace)
    version = rest.get(path)["metadata"]["resourceVersion"]
    done = threading.Event()

    def produce():
        for number in range(40):
            rest.post(path, config_map(f"cm-{number}"))
            rest.patch(f"{path}/cm-{number}", {"data": {"n": str(number)}})
            if number % 2:
                rest.delete(f"{path}/cm-{number}")
        done.set()

    producer = threading.Thread(target=produce)
    producer.start()
    expected = None
    starts = [version]
    orders = {}
    for index in range(12):
        with rest.watch(path, resourceVersion=starts[index]) as events:
            versions = [events.next()[1]["metadata"]["resourceVersion"] for _ in range(20)]
        orders[starts[index]] = versions
        expected = expected or versions
        starts.append(versions[index % 5])
    producer.join()
    assert done.is_set()
    with rest.watch(path, resourceVersion=version) as events:
        whole = [events.next()[1]["metadata"]["resourceVersion"] for _ in range(100)]
    assert [int(v) for v in whole] == sorted(int(v) for v in whole)
    for start, versions in orders.items():
        begin = 0 if start == version else whole.index(start) + 1
        assert versions == whole[begin : begin + 20]


def test_should_return_chunks_of_results_for_list_calls(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/podtemplates"
    total = 40
    for number in range(total):
        name = f"template-{number:04}"
        spec = {"containers": [{"name": "test", "image": "test2"}]}
        rest.post(path, {"metadata": {"name": name}, "template": {"spec": spec}})
    for limit in (7, 16, 40, 41):
        token, found, versions = "", [], set()
        while True:
            page = rest.get(path, limit=limit, **({"continue": token} if token else {}))
            meta = page["metadata"]
            found += [t["metadata"]["name"] for t in page["items"]]
            versions.add(meta["resourceVersion"])
            token = meta.get("continue", "")
            if not token:
                assert "remainingItemCount" not in meta
                break
            assert len(page["items"]) == limit
            assert meta["remainingItemCount"] == total - len(found)
        assert found == [f"template-{n:04}" for n in range(total)]
        assert len(versions) == 1
    whole = rest.get(path, limit=total + 1)
    assert len(whole["items"]) == total
    selected = rest.get(path, limit=5, fieldSelector="metadata.name!=template-0000")["metadata"]
    assert "remainingItemCount" not in selected


def test_should_support_continue_listing_from_the_last_key_after_compaction(
    cluster, rest, namespace
):
    path = maps(namespace)
    for number in range(12):
        rest.post(path, config_map(f"c-{number:02}"))
    first = rest.get(path, limit=5)
    rest.delete(f"{path}/c-11")
    rest.post(path, config_map("c-99"))
    cluster.run(cluster.plane.store.compact(cluster.plane.store.revision))
    query = {"limit": 5, "continue": first["metadata"]["continue"]}
    status = rest.fails(410, "Expired", "GET", path, query=query)
    assert "The provided continue parameter is too old" in status["message"]
    token = status["metadata"]["continue"]
    assert token
    rest_of = rest.get(path, limit=5, **{"continue": token})
    assert rest_of["items"][0]["metadata"]["name"] == "c-05"
    assert rest_of["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    last = rest.get(path, limit=50, **{"continue": rest_of["metadata"]["continue"]})
    assert last["items"][-1]["metadata"]["name"] == "kube-root-ca.crt"
    assert "c-99" in [i["metadata"]["name"] for i in last["items"]]


def test_should_return_pod_details_and_chunks_of_table_results(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    rest.post(path, pod("pod-1"))
    table = rest.ok("GET", f"{path}/pod-1", headers={"accept": TABLE})
    assert table["kind"] == "Table"
    assert len(table["columnDefinitions"]) > 2
    assert table["columnDefinitions"][0]["name"] == "Name"
    assert len(table["rows"]) == 1
    assert table["rows"][0]["cells"][0] == "pod-1"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["rows"][0]["object"]["metadata"]["name"] == "pod-1"
    path = f"/api/v1/namespaces/{namespace}/podtemplates"
    for number in range(5):
        spec = {"containers": [{"name": "test", "image": "test2"}]}
        rest.post(path, {"metadata": {"name": f"t-{number}"}, "template": {"spec": spec}})
    page = rest.ok("GET", path, headers={"accept": TABLE}, query={"limit": 3})
    assert [r["cells"][0] for r in page["rows"]] == ["t-0", "t-1", "t-2"]
    assert page["metadata"]["remainingItemCount"] == 2
    query = {"limit": 3, "continue": page["metadata"]["continue"]}
    page = rest.ok("GET", path, headers={"accept": TABLE}, query=query)
    assert [r["cells"][0] for r in page["rows"]] == ["t-3", "t-4"]
    nodes = rest.ok("GET", "/api/v1/nodes", headers={"accept": TABLE})
    assert [c["name"] for c in nodes["columnDefinitions"]][:3] == ["Name", "Status", "Roles"]


def test_should_return_a_406_for_a_backend_which_does_not_implement_metadata(rest):
    review = {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}},
    }
    rest.fails(
        406,
        "NotAcceptable",
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        review,
        headers={"accept": TABLE},
    )


def test_a_watch_ends_after_its_timeout(rest, namespace):
    started = time.monotonic()
    with rest.watch(maps(namespace), timeoutSeconds=1, resourceVersion="0") as events:
        kinds = {kind for kind, _ in events.rest()}
    assert kinds <= {"ADDED", "MODIFIED"}
    assert time.monotonic() - started >= 0.9


def test_only_the_first_table_of_a_watch_tells_its_columns(rest, namespace):
    path = maps(namespace)
    rest.post(path, config_map("a"))
    rest.post(path, config_map("b"))
    headers = {"accept": TABLE}

    def summary(tree):
        columns, rows = tree["columnDefinitions"], tree["rows"]
        return columns and [c["name"] for c in columns], [row["cells"][:1] for row in rows]

    def summaries(**query):
        with rest.watch(path, headers=headers, timeoutSeconds=1, **query) as events:
            return [summary(tree) for _, tree in events.rest()]

    names = ["Name", "Data", "Age"]
    found = summaries(fieldSelector="metadata.name!=kube-root-ca.crt")
    assert found == [(names, [["a"]]), (None, [["b"]])]
    # Watches share the frames of a change, but for the first.
    version = rest.get(path)["metadata"]["resourceVersion"]
    with (
        rest.watch(path, headers=headers, resourceVersion=version) as one,
        rest.watch(path, headers=headers, resourceVersion=version) as two,
    ):
        for name in ("c", "d"):
            rest.post(path, config_map(name))
        for events in (one, two):
            assert summary(events.next()[1]) == (names, [["c"]])
            assert summary(events.next()[1]) == (None, [["d"]])
    state = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    empty = summaries(labelSelector="none=such", **state)
    assert empty[0] == (names, [[]])
    whole = summaries(fieldSelector="metadata.name=a", **state)
    assert whole[:2] == [(names, [["a"]]), (None, [[]])]
