"""Laws of the API's language, for any input."""

import copy
import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from kutter.api.patch import (
    apply_json_patch,
    apply_merge_patch,
    apply_strategic_patch,
    plan_apply,
    plan_change,
)
from kutter.api.quantity import Quantity, parse
from kutter.api.schema import schema_for
from kutter.api.schema.duplicates import count_keys, find_duplicates
from kutter.api.schema.node import Findings
from kutter.api.selectors import (
    Requirement,
    Selector,
    escape_field_value,
    parse_fields,
    parse_labels,
)
from kutter.api.types.base import strip_nulls

POD = schema_for("", "v1", "Pod")

keys = st.sampled_from("abcde")
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("xy", max_size=2)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
trees = st.dictionaries(keys, values, max_size=4)


def without_nulls(value):
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return value


@given(trees, trees)
def test_a_planned_merge_patch_turns_one_tree_into_the_other(before, after):
    before, after = without_nulls(before), without_nulls(after)
    patch = plan_change(None, before, after)
    assert apply_merge_patch(before, patch) == after
    assert plan_change(None, after, after) == {}


@given(trees, trees)
def test_merge_patches_are_idempotent_and_change_no_input(target, patch):
    kept = copy.deepcopy((target, patch))
    once = apply_merge_patch(target, patch)
    assert apply_merge_patch(once, patch) == once
    assert (target, patch) == kept


def paths(value, prefix=""):
    found = [prefix]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, f"{prefix}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, f"{prefix}/{index}")
    return found


@given(trees, values, st.data())
def test_json_patch_replaces_tests_and_takes_back(document, value, data):
    path = data.draw(st.sampled_from(paths(document)))
    kept = copy.deepcopy(document)
    patched = apply_json_patch(
        document,
        [
            {"op": "replace", "path": path, "value": value},
            {"op": "test", "path": path, "value": value},
        ],
    )
    assert document == kept
    old = kept
    for key in path.split("/")[1:]:
        old = old[int(key)] if isinstance(old, list) else old[key]
    back = apply_json_patch(patched, [{"op": "replace", "path": path, "value": old}])
    assert back == kept


names = st.lists(st.sampled_from("abcd"), unique=True, max_size=4)
envs = st.lists(
    st.builds(lambda n, v: {"name": n, "value": v}, st.sampled_from("xyz"), st.sampled_from("12")),
    unique_by=lambda e: e["name"],
    max_size=3,
)


@st.composite
def pods(draw):
    containers = []
    for name in draw(names):
        container = {"name": name}
        if draw(st.booleans()):
            container["image"] = draw(st.sampled_from(["1", "2"]))
        if env := draw(envs):
            container["env"] = env
        if draw(st.booleans()):
            container["args"] = draw(st.lists(st.sampled_from("pq"), max_size=2))
        containers.append(container)
    tree = {
        "metadata": {
            "labels": draw(st.dictionaries(keys, st.sampled_from("12"), max_size=3)),
            "finalizers": draw(names),
        },
        "spec": {"containers": containers},
    }
    for field in ("hostname", "subdomain"):
        if draw(st.booleans()):
            tree["spec"][field] = draw(st.sampled_from("12"))
    return tree


def tidy(tree):
    """Compare as the server would store: without empty lists and maps."""
    tree = copy.deepcopy(tree)
    POD.clean(tree)
    tree["spec"].setdefault("containers", [])
    return tree


@given(pods(), pods())
def test_a_planned_strategic_patch_turns_one_pod_into_the_other(before, after):
    patch = plan_change(POD.node, before, after)
    assert tidy(apply_strategic_patch(POD.node, before, patch)) == tidy(after)
    assert plan_change(POD.node, after, after) == {}


def by_name(items):
    return {item["name"]: item for item in items}


def check_applied(original, modified, current, applied):
    """Ours is there, what we dropped is gone, what is somebody else's stays."""
    for field in ("hostname", "subdomain"):
        want = modified["spec"].get(field)
        if want is None and field not in original["spec"]:
            want = current["spec"].get(field)
        assert applied["spec"].get(field) == want
    for old, new, live, got in (
        [tree["metadata"]["labels"] for tree in (original, modified, current, applied)],
        [
            {name: name for name in tree["metadata"]["finalizers"]}
            for tree in (original, modified, current, applied)
        ],
    ):
        assert got == {k: v for k, v in live.items() if k not in old} | new
    old, new, live, got = (
        by_name(tree["spec"]["containers"]) for tree in (original, modified, current, applied)
    )
    assert got.keys() == (live.keys() - old.keys()) | new.keys()
    for name, container in new.items():
        for field in ("image", "args"):
            if field in container:
                assert got[name][field] == container[field]
        for entry in container.get("env", ()):
            assert entry in got[name]["env"]
    order = [c["name"] for c in applied["spec"]["containers"] if c["name"] in new]
    assert order == list(new)


@given(pods(), pods(), pods())
def test_apply_reconciles_three_states_and_then_rests(original, modified, current):
    kept = copy.deepcopy((original, modified, current))
    patch = plan_apply(POD.node, original, modified, current)
    applied = apply_strategic_patch(POD.node, current, patch)
    assert (original, modified, current) == kept
    check_applied(original, modified, current, applied)
    assert plan_apply(POD.node, modified, modified, applied) == {}


LARGEST = (2**63 - 1) * 10**9


@given(
    st.integers(-LARGEST, LARGEST), st.sampled_from(["DecimalSI", "BinarySI", "DecimalExponent"])
)
def test_quantities_survive_their_text(nanos, format):
    quantity = Quantity(nanos, format)
    assert parse(str(quantity)) == quantity
    assert str(parse(str(quantity))) == str(quantity)


@given(st.integers(0, 10**24), st.integers(0, 10**24))
def test_quantities_order_and_add_like_numbers(left, right):
    one, other = Quantity(left), Quantity(right)
    assert (one < other) is (left < right)
    assert (one + other) - other == one
    assert one.value >= left / 10**9
    assert (one.value - 1) * 10**9 < left or left == 0


label_values = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,5}[A-Za-z0-9])?)?", fullmatch=True)
requirements = st.one_of(
    st.builds(
        lambda k, o, v: Requirement(k, o, (v,)),
        keys,
        st.sampled_from(["=", "==", "!="]),
        label_values,
    ),
    st.builds(
        lambda k, o, v: Requirement(k, o, tuple(sorted(v))),
        keys,
        st.sampled_from(["in", "notin"]),
        st.sets(label_values, min_size=1, max_size=3),
    ),
    st.builds(lambda k, o: Requirement(k, o), keys, st.sampled_from(["exists", "!"])),
    st.builds(
        lambda k, o, v: Requirement(k, o, (str(v),)),
        keys,
        st.sampled_from(["gt", "lt"]),
        st.integers(0, 99),
    ),
)
labels = st.dictionaries(keys, label_values | st.integers(0, 99).map(str), max_size=5)


@given(st.lists(requirements, max_size=4), labels)
def test_label_selectors_survive_their_text(found, given_labels):
    selector = Selector(tuple(found))
    read = parse_labels(str(selector))
    assert read == selector
    expected = all(r.matches(given_labels) for r in found)
    assert selector.matches(given_labels) is expected
    assert read.matches(given_labels) is expected


@given(st.dictionaries(st.from_regex(r"[a-z]+(\.[a-z]+)?", fullmatch=True), st.text(max_size=8)))
def test_field_selectors_survive_any_value(fields):
    text = ",".join(f"{k}={escape_field_value(v)}" for k, v in fields.items())
    selector = parse_fields(text)
    assert {t.field: t.value for t in selector.terms} == fields
    assert selector.matches(lambda f: fields.get(f, ""))


@given(trees)
def test_stripped_nulls_are_all_that_goes(tree):
    def drop(value):
        if isinstance(value, dict):
            return {k: drop(v) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            return [drop(v) for v in value]
        return value

    assert orjson.loads(strip_nulls(orjson.dumps(tree))) == drop(tree)


@given(trees)
def test_no_duplicates_are_seen_where_there_are_none(tree):
    assert find_duplicates(json.dumps(tree).encode(), count_keys(tree)) == []
    assert find_duplicates(json.dumps(tree, indent=1).encode(), count_keys(tree)) == []


@given(trees)
def test_cleaning_twice_is_cleaning_once(tree):
    tree = {"metadata": {"annotations": {"a": "b"}}, "extra": tree}
    POD.clean(tree)
    once = copy.deepcopy(tree)
    POD.clean(tree)
    plain = {"spec": {"containers": None}, "status": {}}
    assert tree == once == {"metadata": {"annotations": {"a": "b"}}, **plain}


@given(trees, pods())
def test_a_walk_counts_every_key(tree, pod):
    pod["extra"] = tree
    pod["spec"]["nodeSelector"] = None
    keys = count_keys(pod)
    findings = Findings()
    POD.node.visit(pod, findings)
    assert findings.keys == keys
