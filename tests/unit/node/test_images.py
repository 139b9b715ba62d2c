"""Pull policies, credentials, shared pulls and back-off."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import orjson
import pytest
from tests.unit.node.conftest import container_tree, pod_tree

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod, Secret
from kutter.node.images import (
    ImageProblem,
    ImagePuller,
    Wanted,
    credentials,
    parse_docker_config,
    pull_policy,
    registry_of,
)
from kutter.runtime.cri import Auth, ImageAuthError
from kutter.testing.fake_runtime import FakeImages


def pod(uid: str = "u", **container: Any) -> Pod:
    tree = pod_tree(containers=[container_tree(**container)])
    tree["metadata"]["uid"] = uid
    return convert(Pod, tree)


def wanted(the_pod: Pod) -> Wanted:
    spec = the_pod.spec.containers[0]
    return Wanted(spec.image, spec.image_pull_policy)


async def ensure(puller: ImagePuller, the_pod: Pod, secrets: tuple[Secret, ...] = ()) -> list[str]:
    told: list[str] = []
    await puller.ensure(
        the_pod,
        wanted(the_pod),
        secrets,
        lambda _, reason, text: told.append(f"{reason}: {text}"),
    )
    return told


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("nginx@sha256:00", "IfNotPresent"),
    ],
)
def test_default_policy(image: str, policy: str) -> None:
    assert pull_policy(Wanted(image)) == policy


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("nginx", "docker.io"),
        ("library/nginx", "docker.io"),
        ("quay.io/x/y:1", "quay.io"),
        ("localhost/x", "localhost"),
        ("host:5000/x", "host:5000"),
    ],
)
def test_registry(image: str, registry: str) -> None:
    assert registry_of(image) == registry


async def test_present_image_is_not_pulled_unless_always() -> None:
    store = FakeImages(present=["a"], registry=["a"])
    puller = ImagePuller(store)
    assert await ensure(puller, pod(image="a")) == [
        'Pulled: Container image "a" already present on machine and can be accessed by the pod'
    ]
    assert store.pulls == []
    told = await ensure(puller, pod(image="a", imagePullPolicy="Always"))
    assert told[0] == 'Pulling: Pulling image "a"'
    assert told[1].startswith('Pulled: Successfully pulled image "a" in ')
    assert told[1].endswith("Image size: 1000 bytes.")


async def test_never_and_absent() -> None:
    with pytest.raises(ImageProblem) as caught:
        await ensure(ImagePuller(FakeImages()), pod(image="a", imagePullPolicy="Never"))
    assert caught.value.problem.reason == "ErrImageNeverPull"


async def test_failed_pull_backs_off_per_pod() -> None:
    store = FakeImages()
    puller = ImagePuller(store)
    for reason in ("ErrImagePull", "ImagePullBackOff", "ImagePullBackOff"):
        with pytest.raises(ImageProblem) as caught:
            await ensure(puller, pod(image="gone"))
        assert caught.value.problem.reason == reason
    assert caught.value.problem.message.startswith('Back-off pulling image "gone": ErrImagePull: ')
    assert len(store.pulls) == 1
    with pytest.raises(ImageProblem):
        await ensure(puller, pod("other", image="gone"))
    assert len(store.pulls) == 2


async def test_two_pods_share_one_pull_and_one_may_leave() -> None:
    store = FakeImages(registry=["a"])
    gate = asyncio.Event()
    real = store.pull

    async def slow(reference: str, auth: Auth | None = None, progress: Any = None) -> Any:
        await gate.wait()
        return await real(reference, auth)

    store.pull = slow  # type: ignore[method-assign]
    puller = ImagePuller(store)
    first = asyncio.ensure_future(ensure(puller, pod("u1", image="a")))
    second = asyncio.ensure_future(ensure(puller, pod("u2", image="a")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert len(await second) == 2
    assert len(store.pulls) == 1


def config_secret(auths: dict[str, Any]) -> Secret:
    data = base64.b64encode(orjson.dumps({"auths": auths})).decode()
    return convert(Secret, {"data": {".dockerconfigjson": data}})


def test_credentials_most_specific_first() -> None:
    auth = base64.b64encode(b"me:pa:ss").decode()
    secret = config_secret(
        {
            "https://quay.io": {"auth": auth},
            "quay.io/team": {"username": "t", "password": "p"},
            "other.io": {"username": "no", "password": "no"},
        }
    )
    found = credentials("quay.io/team/app:1", [secret], {"quay.io": Auth("node", "n")})
    assert found == [Auth("t", "p"), Auth("me", "pa:ss"), Auth("node", "n")]
    assert credentials("quay.io.evil.com/x", [secret], {}) == []
    hub = config_secret({"https://index.docker.io/v1/": {"username": "h", "password": "p"}})
    assert credentials("nginx", [hub], {}) == [Auth("h", "p")]


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"auths": {"x": 1}}', b'{"auths": null}'])
def test_broken_config_is_no_credentials(data: bytes) -> None:
    assert parse_docker_config(data) == {}


async def test_secret_reaches_the_store_and_no_event() -> None:
    store = FakeImages(registry=[])
    told: list[str] = []
    the_pod = pod(image="quay.io/x")

    async def refuse(reference: str, auth: Auth | None = None, progress: Any = None) -> Any:
        store.pulls.append((reference, auth))
        raise ImageAuthError("unauthorized")

    store.pull = refuse  # type: ignore[method-assign]
    secret = config_secret({"quay.io": {"username": "me", "password": "hunter2"}})
    with pytest.raises(ImageProblem):
        await ImagePuller(store).ensure(
            the_pod,
            wanted(the_pod),
            [secret],
            lambda *parts: told.append(" ".join(parts)),
        )
    assert store.pulls[0] == ("quay.io/x", Auth("me", "hunter2"))
    assert "hunter2" not in "".join(told)
