from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from kutter.base.rng import Rng


def reader(**account: Any) -> FakeReader:
    made = FakeReader()
    made.put("serviceaccounts", {"metadata": {"name": "default", "namespace": "blue"}, **account})
    return made


def plugin() -> ServiceAccount:
    return ServiceAccount(Rng(1))


async def test_a_pod_gets_account_token_ca_and_namespace() -> None:
    asked = request(
        "pods", pod(initContainers=[{"name": "i", "image": "i"}]),
        reader(imagePullSecrets=[{"name": "registry"}]),
    )  # fmt: skip
    spec = (await admit(plugin(), asked))["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert len(volume["name"]) == len("kube-api-access-") + 5
    sources = volume["projected"]["sources"]
    assert sources[0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert sources[1]["configMap"]["name"] == "kube-root-ca.crt"
    assert sources[2]["downwardAPI"]["items"][0]["path"] == "namespace"
    assert volume["projected"]["defaultMode"] == 420
    mount = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert spec["initContainers"][0]["volumeMounts"] == [mount]


async def test_doing_it_twice_changes_nothing() -> None:
    first = await admit(plugin(), request("pods", pod(), reader()))
    volumes = [dict(v) for v in first["spec"]["volumes"]]
    second = await admit(plugin(), request("pods", first, reader()))
    assert second["spec"]["volumes"] == volumes
    assert len(second["spec"]["containers"][0]["volumeMounts"]) == 1


async def test_own_mount_at_the_place_wins() -> None:
    mine = {"name": "mine", "mountPath": MOUNT_PATH}
    given = pod(containers=[{"name": "c", "volumeMounts": [mine]}])
    spec = (await admit(plugin(), request("pods", given, reader())))["spec"]
    assert spec["containers"][0]["volumeMounts"] == [mine]
    assert "volumes" not in spec


async def test_automount_can_be_declined_and_the_pod_has_the_last_word() -> None:
    no = reader(automountServiceAccountToken=False)
    spec = (await admit(plugin(), request("pods", pod(), no)))["spec"]
    assert "volumes" not in spec
    given = pod(automountServiceAccountToken=True)
    assert (await admit(plugin(), request("pods", given, no)))["spec"]["volumes"]
    given = pod(automountServiceAccountToken=False)
    assert "volumes" not in (await admit(plugin(), request("pods", given, reader())))["spec"]


async def test_unknown_account() -> None:
    error = await refused(plugin(), request("pods", pod(serviceAccountName="x"), reader()))
    assert (error.code, error.message) == (
        403,
        (
            'pods "p" is forbidden: error looking up service account blue/x: '
            'serviceaccount "x" not found'
        ),
    )


async def test_mirror_pods_use_no_account() -> None:
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    spec = (await admit(plugin(), request("pods", mirror, FakeReader())))["spec"]
    assert "serviceAccountName" not in spec
    mirror["spec"]["serviceAccountName"] = "default"
    error = await refused(plugin(), request("pods", mirror, reader()))
    assert error.message.endswith("a mirror pod may not reference service accounts")


class Hurrying:
    """A clock whose waits make something happen."""

    def __init__(self, happens: Any = None) -> None:
        self.slept = 0.0
        self._happens = happens

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        if self._happens is not None:
            self._happens()


async def test_a_pod_of_a_new_namespace_waits_for_its_account() -> None:
    empty = FakeReader()
    account = {"metadata": {"name": "default", "namespace": "blue"}}
    clock: Any = Hurrying(lambda: empty.put("serviceaccounts", account))
    await admit(ServiceAccount(Rng(1), clock), request("pods", pod(), empty))
    assert clock.slept == 0.1
    clock = Hurrying()
    error = await refused(ServiceAccount(Rng(1), clock), request("pods", pod(), FakeReader()))
    assert 'serviceaccount "default" not found' in error.message
    assert 0.8 < clock.slept < 1.0


def enforcing() -> FakeReader:
    made = FakeReader()
    note = {"kubernetes.io/enforce-mountable-secrets": "true"}
    metadata = {"name": "default", "namespace": "blue", "annotations": note}
    account = {"metadata": metadata, "secrets": [{"name": "mine"}]}
    made.put("serviceaccounts", {**account, "imagePullSecrets": [{"name": "registry"}]})
    return made


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "other"}}]},
            'volume with secret.secretName="other" is not allowed',
        ),
        (
            {
                "containers": [
                    {
                        "name": "c",
                        "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "x"}}}],
                    }
                ]
            },
            'container c with envVar E referencing secret.secretName="x" is not allowed',
        ),
        (
            {"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "x"}}]}]},
            'init container i with envFrom referencing secret.secretName="x" is not allowed',
        ),
        (
            {"imagePullSecrets": [{"name": "x"}]},
            'imagePullSecrets[0].name="x" is not allowed',
        ),
    ],
)
async def test_secrets_an_account_does_not_name(spec: dict[str, Any], fault: str) -> None:
    error = await refused(plugin(), request("pods", pod(**spec), enforcing()))
    assert fault in error.message
    assert "because service account default does not reference that" in error.message


async def test_secrets_an_account_names() -> None:
    volume = {"name": "v", "secret": {"secretName": "mine"}}
    await admit(plugin(), request("pods", pod(volumes=[volume]), enforcing()))
