import pytest

from kutter.runtime.cri import InvalidImageNameError
from kutter.runtime.embedded.references import parse_reference

_DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.7.9", "docker.io/library/nginx:1.7.9"),
        ("user/app", "docker.io/user/app:latest"),
        ("index.docker.io/app", "docker.io/library/app:latest"),
        ("example.test/a/b:2", "example.test/a/b:2"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("[::1]:5000/app:x", "[::1]:5000/app:x"),
        (f"app@{_DIGEST}", f"docker.io/library/app@{_DIGEST}"),
        (f"app:1@{_DIGEST}", f"docker.io/library/app:1@{_DIGEST}"),
    ],
)
def test_completes_names_as_docker_does(text, full):
    assert str(parse_reference(text)) == full
    assert parse_reference(full) == parse_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        "A",
        "a//b",
        "/a",
        "a/",
        "a:b:c",
        "a@sha256:1",
        "a b",
        "a@",
        "-a",
        "http://x/y",
    ],
)
def test_refuses_what_is_no_reference(text):
    with pytest.raises(InvalidImageNameError):
        parse_reference(text)
