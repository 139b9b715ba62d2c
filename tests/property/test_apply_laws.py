"""Laws of field ownership: of the sets, of merging, and of who owns what after which write."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.api.apply import OwnerKey, Updater, read_owners, write_owners
from kutter.api.apply.elements import ElementError
from kutter.api.apply.named import fields_of, with_structs
from kutter.api.apply.sets import (
    LEAF,
    SELF,
    contains,
    difference,
    from_paths,
    has,
    intersection,
    ordered,
    parse_set,
    paths,
    union,
    without_trees,
)
from kutter.api.apply.shapes import shape_of
from kutter.api.apply.walk import compare, new_fields
from kutter.api.schema import schema_for

ELEMENTS = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"name":"x"}', 'k:{"name":"y"}', "v:1", "i:0"])
PATHS = st.sets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=12)
POD = schema_for("", "v1", "Pod").node
SHAPE = shape_of(POD)


def members(fields):
    return set(paths(fields))


def normal(fields):
    """No node below the root is empty of members or lists only itself."""
    return parse_set(json.loads(json.dumps(fields))) == fields


@given(PATHS, PATHS)
def test_sets_are_sets(first, second):
    a, b = from_paths(first), from_paths(second)
    assert members(a) == first
    for combined, expected in (
        (union(a, b), first | second),
        (intersection(a, b), first & second),
        (difference(a, b), first - second),
    ):
        assert members(combined) == expected
        assert normal(combined)
        assert all(has(combined, path) for path in expected)


@given(PATHS, PATHS)
def test_removing_trees_takes_what_is_below_along(first, second):
    left = {p for p in first if not any(p[: i + 1] in second for i in range(len(p)))}
    assert members(without_trees(from_paths(first), from_paths(second))) == left


@given(PATHS, PATHS)
def test_algebra_changes_nothing_it_is_given(first, second):
    a, b = from_paths(first), from_paths(second)
    before = json.dumps([a, b])
    for operation in (union, intersection, difference, without_trees):
        operation(a, b)
    assert json.dumps([a, b]) == before


@given(PATHS, PATHS)
def test_a_set_contains_its_parts_and_nothing_else(first, second):
    assert contains(from_paths(first), from_paths(second)) == (second <= first)
    assert contains(from_paths(first | second), from_paths(second))


# -- configurations -----------------------------------------------------------

TEXT = st.sampled_from(["1", "2", "3"])
ENV = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "C"])}, optional={"value": TEXT}),
    min_size=1,
    max_size=3,
    unique_by=lambda item: item["name"],
)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["x", "y", "z"])},
        optional={
            "image": TEXT,
            "env": ENV,
            "command": st.lists(TEXT, min_size=1, max_size=2),
            "resources": st.fixed_dictionaries(
                {"limits": st.dictionaries(st.sampled_from(["cpu", "memory"]), TEXT, min_size=1)}
            ),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda item: item["name"],
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.sampled_from(["a", "b", "c"]), TEXT, min_size=1),
        "finalizers": st.lists(st.sampled_from(["f/1", "f/2"]), unique=True, min_size=1),
    },
)
SPEC = st.fixed_dictionaries(
    # A specification is never empty: as an empty value it would be owned as a whole.
    {"nodeName": TEXT},
    optional={
        "containers": CONTAINERS,
        "hostname": TEXT,
        "nodeSelector": st.dictionaries(st.sampled_from(["k", "l"]), TEXT, min_size=1),
    },
)
CONFIGS = st.builds(
    lambda metadata, spec: {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", **metadata},
        "spec": spec,
    },
    METADATA,
    SPEC,
)


ODD = st.sampled_from([None, {}, [], "", "1", 1, True, 1.0, [1, True, 1.0, None], [{}], {"x": {}}])
PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.sampled_from([80, 80.0, True, 81])},
        optional={"protocol": st.sampled_from([None, "TCP", "UDP"]), "name": ODD},
    ),
    max_size=3,
)
ODD_CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["x", "y"])},
        optional={"ports": PORTS, "resources": ODD, "command": ODD, "zzz": ODD},
    ),
    max_size=3,
)
ODD_CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.one_of(
            ODD, st.fixed_dictionaries({}, optional={"labels": ODD, "finalizers": ODD, "a": ODD})
        ),
        "spec": st.one_of(
            ODD,
            st.fixed_dictionaries(
                {}, optional={"containers": ODD_CONTAINERS, "securityContext": ODD, "b": ODD}
            ),
        ),
        "status": ODD,
        "c": ODD,
    },
)


def plain_fields(value, shape):
    """What :func:`fields_of` answers, by its definition: nothing planned, nothing remembered."""
    if value is None or shape.form == "leaf":
        return LEAF
    out = {}
    if type(value) is dict and shape.form in ("struct", "map", "deduced"):
        for key, item in value.items():
            below = shape.field(key)
            if below is None:
                continue
            found = plain_fields(item, below)
            if item == {} or not shape.declares(key):
                found = {SELF: LEAF, **found} if found else LEAF
            if found is not None:
                out["f:" + key] = found
    elif type(value) is list and shape.form in ("set", "keyed"):
        for item in value:
            name = shape.element(item)
            found = plain_fields(item, shape.item)
            out[name] = LEAF if not found or name in out else {SELF: LEAF, **found}
    else:
        return LEAF
    return ordered(out) if out else None


@given(ODD_CONFIGS)
@settings(max_examples=200)
def test_planned_fields_are_the_plain_ones(config):
    before = json.dumps(config)
    try:
        plain = plain_fields(config, SHAPE) or {}
    except ElementError:
        plain = None
    for structs in (False, True):
        try:
            found = json.dumps(fields_of(config, SHAPE, structs=structs))
        except ElementError:
            assert plain is None
            continue
        assert plain is not None
        assert found == json.dumps(with_structs(plain, SHAPE) if structs else plain)
    assert json.dumps(config) == before


def updater(ignored=None):
    return Updater("v1", POD, lambda version: None, ignored or {})


def cleaned(tree):
    """As the pipeline would store it: nulls and empty optional values are gone, zero values of
    plain fields are there.
    """
    schema_for("", "v1", "Pod").clean(tree := json.loads(json.dumps(tree)))
    return tree


def applied(owners, live, config, name="me", *, force=True):
    key = OwnerKey.applier(name)
    done = updater().apply(owners, live, config, key, "t", force=force)
    return done, cleaned(done.tree) if done.tree is not None else live


def owned(owners, key):
    return members(owners[key].fields) if key in owners else set()


@given(CONFIGS)
def test_applying_twice_changes_nothing_the_second_time(config):
    done, live = applied({}, {}, config)
    again, _ = applied(done.owners, live, cleaned(config), force=False)
    assert again.tree is None
    assert not again.conflicts


@given(CONFIGS, CONFIGS)
@settings(max_examples=100)
def test_what_is_named_is_there_and_what_nobody_else_owns_goes(first, second):
    first, second = cleaned(first), cleaned(second)
    done, live = applied({}, {}, first)
    done, live = applied(done.owners, live, second)
    there = members(fields_of(live, SHAPE))
    named = members(fields_of(second, SHAPE))
    # Only what one applier ever named is there, so the object is its last configuration.
    assert named <= there
    assert {p for p in there if p[0] == "f:spec"} == {p for p in named if p[0] == "f:spec"}


class Pruning(Updater):
    """Prunes whether or not there can be anything to prune."""

    def _names_all(self, fields, last, owners):
        return False


@given(
    st.one_of(CONFIGS, st.just({})),
    st.lists(st.tuples(CONFIGS, st.sampled_from(["me", "me", "they"])), min_size=2, max_size=5),
)
@settings(max_examples=150)
def test_pruning_takes_nothing_that_is_named_again(live, applies):
    live, owners = cleaned(live) if live else {}, {}
    plain = Pruning("v1", POD, lambda version: None, {})
    for config, name in applies:
        # Some of it once more, then all, then again: what is named grows and shrinks.
        part = {**config, "spec": {"nodeName": config["spec"]["nodeName"]}}
        for wanted in (part, config, config):
            key = OwnerKey.applier(name)
            expected = plain.apply(owners, live, wanted, key, "t", force=True)
            done = updater().apply(owners, live, wanted, key, "t", force=True)
            assert json.dumps(done.tree) == json.dumps(expected.tree)
            assert write_owners(done.owners) == write_owners(expected.owners)
            owners = done.owners
            live = cleaned(done.tree) if done.tree is not None else live


@given(CONFIGS, CONFIGS, CONFIGS)
@settings(max_examples=100)
def test_what_another_owns_stays(mine, theirs, mine_later):
    # A configuration says only what it says; zero values come when the object is stored.
    done, live = applied({}, {}, mine, "me")
    done, live = applied(done.owners, live, theirs, "they")
    kept = owned(done.owners, OwnerKey.applier("they"))
    done, live = applied(done.owners, live, mine_later, "me")
    there = members(new_fields(live, SHAPE))
    assert kept <= there
    # And nobody owns what is not there.
    for key in done.owners:
        assert owned(done.owners, key) <= there


@given(CONFIGS, CONFIGS)
@settings(max_examples=100)
def test_conflicts_are_the_owned_fields_that_would_change(first, second):
    first, second = cleaned(first), cleaned(second)
    done, live = applied({}, {}, first, "one")
    forced, merged = applied(done.owners, live, second, "two")
    changes = compare(live, merged, SHAPE)
    mine = OwnerKey.applier("one")
    expected = owned(done.owners, mine) & (members(changes.modified) | members(changes.added))
    asked, _ = applied(done.owners, live, second, "two", force=False)
    assert {conflict.path for conflict in asked.conflicts} == expected
    assert owned(forced.owners, mine) & expected == set()


@given(CONFIGS, CONFIGS)
@settings(max_examples=100)
def test_an_update_owns_what_it_changes_and_takes_it_from_others(first, second):
    old, new = cleaned(first), cleaned(second)
    creator, changer = OwnerKey.updater("creator", "v1"), OwnerKey.updater("changer", "v1")
    rules = updater()
    before = rules.create(old, creator, "t1")
    after = rules.update(before, old, new, changer, "t2")
    changes = compare(old, new, SHAPE)
    gained = members(changes.modified) | members(changes.added)
    assert owned(after, changer) == gained
    lost = gained | members(changes.removed)
    assert owned(after, creator) == owned(before, creator) - lost
    # Stored and read again it is the same, also where only bytes were looked at.
    stored = read_owners(write_owners(before))
    assert write_owners(rules.update(stored, old, new, changer, "t2")) == write_owners(after)


@given(CONFIGS, CONFIGS)
def test_comparing_tells_equal_from_different(first, second):
    old, new = cleaned(first), cleaned(second)
    changes = compare(old, new, SHAPE)
    back = compare(new, old, SHAPE)
    assert members(changes.added) == members(back.removed)
    assert members(changes.removed) == members(back.added)
    assert members(changes.modified) == members(back.modified)
    assert not compare(old, old, SHAPE)
    # New is what there was, less what went, and what came.
    everything = members(new_fields(old, SHAPE)) - members(changes.removed)
    assert members(changes.modified) <= everything
