"""What is known of specifications that updates leave alone."""

from typing import Any

from kutter.apiserver.settled import SettledSpecs, beside_spec, copied


def pod(image: str, token: str = "abcde") -> dict[str, Any]:
    volume = {"name": f"kube-api-access-{token}", "projected": {"sources": []}}
    containers = [{"name": "web", "image": image}]
    return {
        "kind": "Pod",
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": containers, "volumes": [volume]},
        "status": {"phase": "Running"},
    }


def test_only_what_stayed_the_same_is_learnt() -> None:
    known = SettledSpecs()
    known.learn(pod("a"), pod("b"))
    # Another order is another text.
    turned = pod("a")
    turned["spec"] = dict(reversed(turned["spec"].items()))
    known.learn(pod("a"), turned)
    known.learn({"metadata": {}}, {"metadata": {}})
    assert len(known) == 0
    known.learn(pod("a"), copied(pod("a")))
    assert len(known) == 1
    assert known.key(pod("a")) is not None
    assert known.key(pod("b")) is None
    assert known.key({"metadata": {}}) is None


def test_the_name_of_the_tokens_volume_does_not_matter_and_keys_are_one_object() -> None:
    known = SettledSpecs()
    known.learn(pod("a", "abcde"), pod("a", "abcde"))
    assert known.key(pod("a", "fghij")) is known.key(pod("a", "klmno"))
    assert len(known.key(pod("a")) or b"") <= 32


def test_what_is_known_is_bounded() -> None:
    known = SettledSpecs(limit=3)
    for number in range(10):
        known.learn(pod(str(number)), pod(str(number)))
        assert 1 <= len(known) <= 3
        assert known.key(pod(str(number))) is not None


def test_beside_the_specification_everything_is_a_copy() -> None:
    old = pod("a")
    new = beside_spec(old)
    assert new == old
    assert list(new) == list(old)
    assert new["spec"] is old["spec"]
    assert new["metadata"] is not old["metadata"]
    assert new["metadata"]["labels"] is not old["metadata"]["labels"]
    assert new["status"] is not old["status"]
