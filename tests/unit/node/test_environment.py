"""Variables as upstream documents them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.node.conftest import container_tree, pod_tree

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import ConfigMap, Pod, Secret, Service
from kutter.node.environment import (
    PodContext,
    UnresolvedError,
    compute_command,
    compute_environment,
    expand,
    expand_strict,
    field_value,
    go_quote,
    service_variables,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(A)-$(B)", "1-2"),
        ("$A", "$A"),
        ("$", "$"),
        ("a$", "a$"),
        ("$(", "$("),
        ("$()", "$()"),
        ("$(A", "$(A"),
        ("$$$$(A)", "$$(A)"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@settings(deadline=None)
@given(st.text(alphabet="ab $()", max_size=20))
@example("$($$)")
@example("$(($$)")
def test_text_without_known_names_only_loses_escapes(text: str) -> None:
    """What is between the brackets of an unknown name stays as it is, escapes included."""
    kept = re.sub(r"\$\$|\$\([^)]*\)", lambda found: "$" if found[0] == "$$" else found[0], text)
    assert expand(text, {}) == kept


def test_strict_expansion_refuses_unknown_names() -> None:
    with pytest.raises(UnresolvedError):
        expand_strict("$(NOPE)/x", {})


def _context(pod: Pod, **more: Any) -> PodContext:
    configs = {"settings": convert(ConfigMap, {"data": {"mode": "fast", "size": "9"}})}
    secrets = {"keys": convert(Secret, {"data": {"key": "czNjcmV0"}})}
    return PodContext(
        pod,
        config_map=configs.get,
        secret=secrets.get,
        pod_ips=("10.0.0.5",),
        host_ips=("192.0.2.1",),
        allocatable={"cpu": Fraction(4)},
        **more,
    )


def _pod(**container: Any) -> Pod:
    return convert(Pod, pod_tree(containers=[container_tree(**container)]))


def test_order_of_sources() -> None:
    pod = _pod(
        envFrom=[
            {"configMapRef": {"name": "settings"}},
            {"prefix": "K_", "secretRef": {"name": "keys"}},
        ],
        env=[
            {"name": "mode", "value": "own"},
            {"name": "LINE", "value": "$(mode) $(size) $(K_key) $(LATER)"},
            {"name": "LATER", "value": "x"},
        ],
    )
    found = compute_environment(_context(pod), pod.spec.containers[0])
    assert found["mode"] == "own"
    assert found["LINE"] == "own 9 s3cret $(LATER)"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        (
            {"configMapKeyRef": {"name": "settings", "key": "k"}},
            "couldn't find key k in ConfigMap default/settings",
        ),
        ({"secretKeyRef": {"name": "no", "key": "k"}}, 'secret "no" not found'),
        (
            {"secretKeyRef": {"name": "keys", "key": "k"}},
            "couldn't find key k in Secret default/keys",
        ),
    ],
)
def test_missing_references(source: dict[str, Any], message: str) -> None:
    pod = _pod(env=[{"name": "X", "valueFrom": source}])
    with pytest.raises(UnresolvedError) as caught:
        compute_environment(_context(pod), pod.spec.containers[0])
    assert str(caught.value) == message
    kind = next(iter(source))
    optional = {kind: {**source[kind], "optional": True}}
    pod = _pod(env=[{"name": "X", "valueFrom": optional}])
    assert compute_environment(_context(pod), pod.spec.containers[0]) == {}


def test_downward_fields_and_resources() -> None:
    pod = _pod(
        resources={"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}},
        env=[
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
            {
                "name": "MEM",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
            },
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {
                "name": "MILLI",
                "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}},
            },
        ],
    )
    found = compute_environment(_context(pod), pod.spec.containers[0])
    assert found == {
        "NAME": "web",
        "APP": "web",
        "IP": "10.0.0.5",
        "HOST": "192.0.2.1",
        "MEM": "64",
        "CPU": "4",
        "MILLI": "250",
    }


def test_unknown_field_path_is_refused() -> None:
    pod = _pod(env=[{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}])
    with pytest.raises(UnresolvedError):
        compute_environment(_context(pod), pod.spec.containers[0])
    source = pod.spec.containers[0].env[0].value_from
    assert source is not None
    assert source.field_ref is not None
    with pytest.raises(UnresolvedError):
        field_value(_context(pod), source.field_ref)


def _service(name: str, namespace: str, ip: str = "10.43.0.9") -> Service:
    ports = [
        {"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    return convert(
        Service,
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": ports},
        },
    )


def test_service_variables() -> None:
    services = [
        _service("my-db", "default"),
        _service("kubernetes", "default", "10.43.0.1"),
        _service("other", "elsewhere"),
        _service("headless", "default", "None"),
    ]
    found = service_variables(services, "default", links=True)
    assert found["MY_DB_SERVICE_HOST"] == "10.43.0.9"
    assert found["MY_DB_SERVICE_PORT"] == "80"
    assert found["MY_DB_SERVICE_PORT_DNS"] == "53"
    assert found["MY_DB_PORT"] == "tcp://10.43.0.9:80"
    assert found["MY_DB_PORT_53_UDP_PROTO"] == "udp"
    assert found["KUBERNETES_SERVICE_HOST"] == "10.43.0.1"
    assert not any(name.startswith(("OTHER", "HEADLESS")) for name in found)
    alone = service_variables(services, "default", links=False)
    assert {name.partition("_")[0] for name in alone} == {"KUBERNETES"}


def test_command_is_expanded() -> None:
    pod = _pod(command=["run", "$(A)"], args=["$(B)", "$$(A)"])
    found = compute_command(pod.spec.containers[0], {"A": "1"})
    assert found == (("run", "1"), ("$(B)", "$(A)"))


def test_quoting_as_in_go() -> None:
    assert go_quote('a"b\\c\n\té\x01') == '"a\\"b\\\\c\\n\\té\\x01"'
