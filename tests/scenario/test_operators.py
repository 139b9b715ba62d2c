"""Two operators manage a kind with a conversion webhook through create, upgrade and delete.

Over TLS, with upstream's kubectl and the official client, against a cluster in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.conversion_kit import CRD, GROUP, PLURAL, Converter, backend, definition
from tests.kubectl_kit import Kubectl, kubectl_for
from tests.operators import KopfOperator, PlainOperator, eventually

from kutter.testing.cluster import LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(scheduler=False) as running:
        yield running


@pytest.fixture
def kubectl(cluster: LocalCluster, tmp_path: Any) -> Kubectl:
    return kubectl_for(cluster, tmp_path)


@pytest.mark.parametrize("operator_class", [KopfOperator, PlainOperator])
def test_an_operator_sees_its_kind_through_create_upgrade_and_delete(
    cluster: LocalCluster, kubectl: Kubectl, operator_class: Any
) -> None:
    from kubernetes import client

    api = cluster.kubernetes_client()
    custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
    converter = Converter()

    def one(name: str, version: str = "v1") -> Any:
        return custom.get_namespaced_custom_object(GROUP, version, "default", PLURAL, name)

    def ready(name: str) -> bool:
        tree = one(name)
        finalizers = tree["metadata"].get("finalizers") or ()
        return bool((tree.get("status") or {}).get("ready")) and operator.finalizer in finalizers

    def host(name: str) -> str:
        found = core.list_namespaced_config_map("default").items
        return next((m.data["host"] for m in found if m.metadata.name == name), "")

    with converter.webhook:
        config = converter.webhook.client_config("/convert")
        # Create: users write the old version, which is stored; the operator knows the new one.
        kubectl("apply", "-f", "-", body=definition(config, "v1beta1", "v1", stored="v1beta1"))
        kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{CRD}")
        with operator_class(cluster) as operator:
            kubectl("apply", "-f", "-", body=backend("a", "v1beta1", "one.example.com:80"))
            kubectl("apply", "-f", "-", body=backend("b", "v1", "two.example.com:80"))
            for name, wanted in (("a", "one.example.com"), ("b", "two.example.com")):
                eventually(lambda name=name: ready(name))
                eventually(lambda name=name, wanted=wanted: host(name) == wanted)
            # Told of in the version the user wrote, too.
            assert one("a", "v1beta1")["status"]["ready"] is True
            assert "unchanged" in kubectl(
                "apply", "-f", "-", body=backend("a", "v1beta1", "one.example.com:80")
            )
            kubectl("apply", "-f", "-", body=backend("a", "v1beta1", "uno.example.com:80"))
            eventually(lambda: host("a") == "uno.example.com")

            # Upgrade: the new version becomes the stored one, objects are migrated by rewriting.
            kubectl("apply", "-f", "-", body=definition(config, "v1beta1", "v1", stored="v1"))
            stored = ("get", f"crd/{CRD}", "-o", "jsonpath={.status.storedVersions}")
            assert kubectl(*stored) == '["v1beta1","v1"]'
            for name in ("a", "b"):
                _migrate(custom, name)
            status = '{"status":{"storedVersions":["v1"]}}'
            kubectl("patch", f"crd/{CRD}", "--subresource=status", "--type=merge", "-p", status)
            kubectl("apply", "-f", "-", body=definition(config, "v1", stored="v1"))
            assert kubectl(*stored) == '["v1"]'
            eventually(lambda: _not_served(custom, "v1beta1"))
            calls = len(converter.webhook.calls)
            assert {one(name)["spec"]["host"] for name in ("a", "b")} == {
                "uno.example.com",
                "two.example.com",
            }
            change = '{"spec":{"host":"due.example.com"}}'
            kubectl("patch", f"{PLURAL}/b", "--type=merge", "-p", change)
            eventually(lambda: host("b") == "due.example.com")
            kubectl("apply", "-f", "-", body=backend("c", "v1", "three.example.com:80"))
            eventually(lambda: ready("c") and host("c") == "three.example.com")
            assert len(converter.webhook.calls) == calls, "nothing is left to convert"

            # Delete: one object, then all the others, each cleaned up after by the operator.
            kubectl("delete", f"{PLURAL}/a", "--timeout=60s")
            eventually(lambda: not host("a"))
            kubectl("delete", PLURAL, "--all", "--timeout=60s")
            assert sorted(operator.deleted) == ["a", "b", "c"]
            eventually(lambda: not host("b") and not host("c"))
        # Operators are taken away before their kind (kopf ends with an error when it goes first).
        kubectl("delete", f"crd/{CRD}", "--timeout=60s")


def _migrate(custom: Any, name: str) -> None:
    """Write an object as it is; again when its operator wrote in between."""
    from kubernetes import client

    place = (GROUP, "v1", "default", PLURAL, name)

    def written() -> bool:
        tree = custom.get_namespaced_custom_object(*place)
        try:
            custom.replace_namespaced_custom_object(*place, tree)
        except client.ApiException as error:
            if error.status != 409:
                raise
            return False
        return True

    eventually(written)


def _not_served(custom: Any, version: str) -> bool:
    from kubernetes import client

    try:
        custom.list_namespaced_custom_object(GROUP, version, "default", PLURAL)
    except client.ApiException as error:
        return error.status == 404
    return False
