"""exec and port-forward: our client, kubectl and the Python client against our server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import struct
import termios
from pathlib import Path

import kubernetes
import pytest
import websocket as third_party
from kubernetes.stream import portforward, stream
from tests.unit.http.fake_api import FakeApi, connect, fake_api

from kutter.http import ServerTls, client_context
from kutter.http.client import HttpClient
from kutter.http.portforward import dial_port_forward
from kutter.http.remotecommand import outcome_status
from kutter.http.remotecommand_client import RemoteCommandError, dial_remote_command
from kutter.http.websocket import request_headers

EXEC = "/api/v1/namespaces/default/pods/web/exec"
FORWARD = "/api/v1/namespaces/default/pods/web/portforward"
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


def dialer(client: HttpClient, url: str):
    async def upgrade(headers):
        answer = await client.upgrade(url, headers=headers)
        if answer.stream is None:
            raise ConnectionRefusedError(f"{answer.status}: {answer.body.decode()}")
        return answer.headers, answer.stream

    return upgrade


async def collect(command) -> tuple[bytes, bytes]:
    out = {"stdout": b"", "stderr": b""}
    async for name, data in command.output():
        out[name] += data
    return out["stdout"], out["stderr"]


@pytest.mark.parametrize("behind_proxy", [False, True])
async def test_our_client_runs_commands(behind_proxy: bool) -> None:
    client = HttpClient()
    async with fake_api(behind_proxy=behind_proxy) as api:
        query = "stdin=true&stdout=true&stderr=true&command=sh&command=-c&command="
        upgrade = dialer(client, f"{api.url}{EXEC}?{query}cat;echo%20no%20>%262;exit%207")
        command = await dial_remote_command(upgrade)
        payload = os.urandom(1_000_000)

        async def feed() -> None:
            await command.write_stdin(payload)
            assert await command.close_stdin()

        (stdout, stderr), _ = await asyncio.gather(collect(command), feed())
        assert (stdout, stderr, command.exit_code) == (payload, b"no\n", 7)

        query = "stdout=true&command=/does/not/exist"
        command = await dial_remote_command(dialer(client, f"{api.url}{EXEC}?{query}"))
        with pytest.raises(RemoteCommandError, match="error executing command in container"):
            await collect(command)

        with pytest.raises(ConnectionRefusedError, match="400: you must specify at least 1"):
            await dial_remote_command(dialer(client, f"{api.url}{EXEC}?command=x"))

        query = "stdout=true&tty=true&command=echo&command=hi"
        command = await dial_remote_command(dialer(client, f"{api.url}{EXEC}?{query}"))
        await command.resize(132, 43)
        assert (await collect(command))[0] == b"hi\n"
        assert (command.exit_code, api.sizes) == (0, [(132, 43)])
    await client.close()


async def test_caller_that_hangs_up_ends_the_session() -> None:
    client = HttpClient()
    async with fake_api() as api:
        query = "stdin=true&stdout=true&command=cat"
        command = await dial_remote_command(dialer(client, f"{api.url}{EXEC}?{query}"))
        await command.write_stdin(b"x")
        await command.close()
        # stdin ends with its caller, so cat ends, and fake_api's close finds nothing running.
    await client.close()


@pytest.mark.parametrize("behind_proxy", [False, True])
async def test_our_client_forwards_ports(behind_proxy: bool) -> None:
    client = HttpClient()
    async with fake_api(behind_proxy=behind_proxy) as api:
        done: list[BaseException | None] = []

        async with await dial_port_forward(dialer(client, f"{api.url}{FORWARD}")) as forwarder:

            async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                raise AssertionError

            from kutter.http.stream import TransportStream

            loop = asyncio.get_running_loop()
            accepted: asyncio.Queue[TransportStream] = asyncio.Queue()

            def accept() -> TransportStream:
                made = TransportStream()
                accepted.put_nowait(made)
                return made

            local = await loop.create_server(accept, "127.0.0.1", 0)
            port = local.sockets[0].getsockname()[1]

            async def use(payload: bytes, target: int) -> bytes:
                mine = await connect(port)
                carrying = asyncio.create_task(forwarder.forward(await accepted.get(), target))
                await mine.write(payload)
                await mine.write_eof()
                parts = []
                while data := await mine.read():
                    parts.append(data)
                mine.close()
                try:
                    await carrying
                    done.append(None)
                except RemoteCommandError as error:
                    done.append(error)
                return b"".join(parts)

            payload = os.urandom(500_000)
            assert await use(payload, api.echo_port) == b"hello;" + payload + b";bye"
            assert done == [None]
            await use(b"", 1)
            assert re.match("error forwarding port 1 to pod: ", str(done[1]))
            local.close()
    await client.close()


def python_client(api: FakeApi) -> kubernetes.client.CoreV1Api:
    configuration = kubernetes.client.Configuration(host=api.url)
    return kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(configuration))


async def test_the_python_client_runs_commands() -> None:
    def talk(api: FakeApi) -> None:
        core = python_client(api)
        command = ["sh", "-c", "echo out; echo err >&2; read line; echo got $line; exit 3"]
        session = stream(
            core.connect_get_namespaced_pod_exec,
            "web",
            "default",
            command=command,
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        session.write_stdin("line\n")
        session.run_forever(timeout=10)
        assert session.read_stdout() == "out\ngot line\n"
        assert session.read_stderr() == "err\n"
        assert session.returncode == 3

    async with fake_api() as api:
        await asyncio.to_thread(talk, api)


async def test_the_python_client_forwards_ports() -> None:
    def talk(api: FakeApi) -> None:
        core = python_client(api)
        forward = portforward(
            core.connect_get_namespaced_pod_portforward,
            "web",
            "default",
            ports=f"{api.echo_port}",
        )
        peer = forward.socket(api.echo_port)
        peer.settimeout(5)
        peer.sendall(b"ping")
        got = b""
        while len(got) < 10:
            got += peer.recv(100)
        assert got == b"hello;ping"
        assert forward.error(api.echo_port) is None
        peer.close()

    async with fake_api() as api:
        await asyncio.to_thread(talk, api)


async def kubectl(
    config: Path, *arguments: str, stdin: bytes = b"", **environ: str
) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        KUBECTL,
        f"--kubeconfig={config}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(config.parent), **environ},
    )
    out, err = await process.communicate(stdin)
    return process.returncode, out, err


@needs_kubectl
@pytest.mark.parametrize("websockets", ["true", "false"])
@pytest.mark.parametrize("behind_proxy", [False, True])
async def test_kubectl_exec(tmp_path: Path, websockets: str, behind_proxy: bool) -> None:
    environ = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    async with fake_api(behind_proxy=behind_proxy) as api:
        config = api.write_kubeconfig(tmp_path / "config")
        script = "cat; echo err >&2; exit 5"
        payload = b"input\n" * 100_000
        arguments = ("exec", "-i", "web", "--", "sh", "-c", script)
        code, out, err = await kubectl(config, *arguments, stdin=payload, **environ)
        assert (code, out) == (5, payload), err
        assert b"err\n" in err
        assert b"command terminated with exit code 5" in err
        code, out, err = await kubectl(config, "exec", "web", "--", "echo", "hi", **environ)
        assert (code, out, err) == (0, b"hi\n", b"")
        code, out, err = await kubectl(config, "exec", "web", "--", "/no/such", **environ)
        assert code == 1
        assert b"error executing command in container" in err
        upgrades = {r.headers.get("upgrade", "") for r in api.requests} - {""}
    assert upgrades == ({"websocket"} if websockets == "true" else {"SPDY/3.1"})


@needs_kubectl
async def test_kubectl_copies_files(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_000_000))
    async with fake_api() as api:
        config = api.write_kubeconfig(tmp_path / "config")
        code, _, err = await kubectl(config, "cp", str(source), f"default/web:{target}")
        assert code == 0, err
        assert target.read_bytes() == source.read_bytes()
        back = tmp_path / "back"
        code, _, err = await kubectl(config, "cp", f"default/web:{target}", str(back))
        assert code == 0, err
        assert back.read_bytes() == source.read_bytes()


@needs_kubectl
@pytest.mark.parametrize("websockets", ["true", "false"])
@pytest.mark.parametrize("behind_proxy", [False, True])
async def test_kubectl_port_forward(
    tmp_path: Path, pki, websockets: str, behind_proxy: bool
) -> None:
    environ = {"KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets}
    options = {}
    if behind_proxy:  # as in a cluster: TLS all the way
        options["tls"] = ServerTls(pki.path("server.crt"), pki.path("server.key"))
        options["agent_tls"] = client_context(ca_file=pki.path("ca.crt"))
    async with fake_api(behind_proxy=behind_proxy, **options) as api:
        trusted = {"certificate-authority": str(pki.path("ca.crt"))} if behind_proxy else {}
        config = api.write_kubeconfig(tmp_path / "config", trusted)
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            f"--kubeconfig={config}",
            *("port-forward", "--address=127.0.0.1", "pod/web", f":{api.echo_port}", ":1"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environ},
        )
        try:
            ports = []
            async with asyncio.timeout(20):
                for _ in range(2):
                    line = await process.stdout.readline()
                    ports.append(int(re.search(rb"127.0.0.1:(\d+) ->", line)[1]))

                async def use(payload: bytes) -> None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
                    writer.write(payload)
                    writer.write_eof()
                    assert await reader.read() == b"hello;" + payload + b";bye"
                    writer.close()

                await asyncio.gather(*[use(os.urandom(50_000 * n)) for n in range(6)])
                reader, writer = await asyncio.open_connection("127.0.0.1", ports[1])
                assert await reader.read() == b""
                writer.close()
                assert b"error forwarding port 1 to pod" in await process.stderr.readline()
        finally:
            # kubectl may end by itself after a port that failed.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        upgrades = {r.headers.get("upgrade", "") for r in api.requests} - {""}
    assert upgrades == ({"websocket"} if websockets == "true" else {"SPDY/3.1"})


def test_outcomes_are_upstreams() -> None:
    assert outcome_status(0, "") == {"metadata": {}, "status": "Success"}
    failed = outcome_status(3, "")
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
    assert outcome_status(0, "broken")["code"] == 500


@needs_kubectl
@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_kubectl_over_tls_on_a_terminal(tmp_path: Path, pki, websockets: str) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets,
    }
    tls = ServerTls(pki.path("server.crt"), pki.path("server.key"))
    agent_tls = client_context(ca_file=pki.path("ca.crt"))
    async with fake_api(behind_proxy=True, tls=tls, agent_tls=agent_tls) as api:
        trusted = {"certificate-authority": str(pki.path("ca.crt"))}
        config = api.write_kubeconfig(tmp_path / "config", trusted)
        ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (41, 123))
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            *(f"--kubeconfig={config}", "exec", "-it", "web", "--", "sh", "-c", "echo on a tty"),
            stdin=theirs,
            stdout=theirs,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
        os.close(theirs)
        _, err = await process.communicate()
        shown = os.read(ours, 4096)
        os.close(ours)
        assert process.returncode == 0, err
        assert b"on a tty" in shown
        assert api.sizes == [(123, 41)]
        big = ("exec", "-i", "web", "--", "cat")
        payload = os.urandom(2_000_000)
        code, out, err = await kubectl(
            config, *big, stdin=payload, KUBECTL_REMOTE_COMMAND_WEBSOCKETS=websockets
        )
        assert (code, out == payload) == (0, True), err


@pytest.mark.parametrize(
    "protocol", ["v4.base64.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io", ""]
)
async def test_older_websocket_protocols(protocol: str) -> None:
    def talk(api: FakeApi) -> None:
        query = "stdin=true&stdout=true&command=sh&command=-c&command=read+x;echo+$x;exit+4"
        peer = third_party.create_connection(
            f"ws://127.0.0.1:{api.port}{EXEC}?{query}",
            subprotocols=[protocol] if protocol else None,
            timeout=5,
        )
        assert peer.getsubprotocol() == (protocol or None)
        encoded = "base64" in protocol

        def receive() -> tuple[int, bytes]:
            data = peer.recv()
            if encoded:
                return int(data[0]), base64.b64decode(data[1:])
            return data[0], data[1:]

        assert receive() == (1, b"")
        if encoded:
            peer.send("0" + base64.b64encode(b"line\n").decode())
        else:
            peer.send_binary(b"\x00line\n")
        assert receive() == (1, b"line\n")
        channel, outcome = receive()
        assert channel == 3
        if protocol.startswith("v4."):
            assert json.loads(outcome)["details"]["causes"][0]["message"] == "4"
        else:
            assert outcome == b"command terminated with non-zero exit code: exit status 4"
        opcode, _ = peer.recv_data()
        assert opcode == third_party.ABNF.OPCODE_CLOSE
        peer.close()

    async with fake_api() as api:
        await asyncio.to_thread(talk, api)


async def test_older_websocket_port_forward() -> None:
    def talk(api: FakeApi) -> None:
        peer = third_party.create_connection(
            f"ws://127.0.0.1:{api.port}{FORWARD}?port={api.echo_port}&port=1",
            subprotocols=["v4.base64.channel.k8s.io"],
            timeout=5,
        )
        got = dict.fromkeys(range(4), b"")

        def receive() -> None:
            data = peer.recv()
            got[int(data[0])] += base64.b64decode(data[1:])

        while len(got[0]) < 8 or not got[3][2:]:
            receive()
        port = struct.pack("<H", api.echo_port)
        assert got[0] == port + b"hello;"
        assert got[1] == port
        assert got[3].startswith(b"\x01\x00error forwarding port 1 to pod: ")
        peer.send("0" + base64.b64encode(b"ping").decode())
        while not got[0].endswith(b"ping"):
            receive()
        peer.close()

    async with fake_api() as api:
        await asyncio.to_thread(talk, api)


async def test_unknown_protocols_are_refused() -> None:
    client = HttpClient()
    async with fake_api() as api:
        url = f"{api.url}{EXEC}?stdout=true&command=true"
        headers, _ = request_headers(["v9.channel.k8s.io"])
        assert (await client.upgrade(url, headers=headers)).status == 403
        spdy = {"Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v9.channel.k8s.io"}
        refused = await client.upgrade(url, method="POST", headers=spdy)
        assert refused.status == 403
        accepted = [v for n, v in refused.header_list if n == "x-accepted-stream-protocol-versions"]
        assert accepted[0] == "v4.channel.k8s.io"
        assert (await client.request("POST", url)).status == 400
        assert (await client.request("POST", f"{api.url}{FORWARD}")).status == 400
    await client.close()
