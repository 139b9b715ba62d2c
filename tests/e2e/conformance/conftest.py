"""Images the conformance tests need beside those of every cluster."""

from __future__ import annotations

import pytest
from tests.e2e.cluster import Cluster

from kutter.testing.images import Entry, build_busybox_image

_SAYS = b'#!/bin/sh\necho entry "$@"\n'
# The first answers the pod's name, the second what a request was made of (and logs it).
_HOSTNAME = b"#!/bin/sh\necho Content-Type: text/plain; echo; hostname\n"
_ECHO = (
    b"#!/bin/sh\necho Content-Type: text/plain; echo\n"
    b'echo "asked $QUERY_STRING" >&2; echo "$REQUEST_METHOD $QUERY_STRING"\n'
    b'[ -z "$CONTENT_LENGTH" ] || head -c $CONTENT_LENGTH\n'
)


@pytest.fixture(scope="session")
def conformance_images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("conformance-images")
    says = build_busybox_image(
        folder / "says.tar",
        "says:1",
        {"bin/says": Entry(content=_SAYS, mode=0o755)},
        entrypoint=("/bin/says",),
        cmd=("default", "arguments"),
    )
    net = build_busybox_image(
        folder / "net.tar",
        "net:1",
        {
            "www/cgi-bin/hostname": Entry(content=_HOSTNAME, mode=0o755),
            "www/cgi-bin/echo": Entry(content=_ECHO, mode=0o755),
            "www/index.html": "index\n",
            "www/folder/index.html": "in a folder\n",
        },
        cmd=("httpd", "-f", "-p", "8080", "-h", "/www"),
    )
    for image in (says, net):
        cluster.import_image(image.path)
