"""One API server for all tests of this folder; each test has namespaces of its own names."""

from __future__ import annotations

import pytest
from tests.cli_harness import Cli, CliServer, running_server


@pytest.fixture(scope="session")
def shared_server():
    with running_server() as server:
        yield server


@pytest.fixture
def server(shared_server: CliServer, request) -> CliServer:
    return shared_server


@pytest.fixture
def cli(server: CliServer, tmp_path) -> Cli:
    return Cli(server, tmp_path)


@pytest.fixture
def namespace(cli: Cli, request) -> str:
    """A namespace of the test's own."""
    import re
    import zlib

    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{name}-{zlib.crc32(request.node.nodeid.encode()):x}"
    cli.ok("create", "namespace", name)
    return name
