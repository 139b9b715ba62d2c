"""The name server on loopback, with upstream servers that behave and that do not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path

import pytest

from kutter.network.dns import codec
from kutter.network.dns.cache import AnswerCache
from kutter.network.dns.codec import (
    SRV,
    A,
    Message,
    Question,
    Record,
    SoaData,
    options_record,
    parse_message,
    render_message,
)
from kutter.network.dns.server import ClusterDns
from kutter.network.dns.upstream import Upstream, parse_resolv_conf
from kutter.network.interface import DnsService, NetworkConfig

WEB = DnsService("default", "web", ("10.43.1.1",))
OUTSIDE = DnsService("default", "outside", external_name="api.example.com")
BIG = DnsService("default", "big", endpoints=tuple(("", f"10.42.{n}.7", True) for n in range(200)))


class FakeUpstream(asyncio.DatagramProtocol):
    """Answers by ``reply(query) -> messages``; counts questions."""

    def __init__(self, reply) -> None:
        self.reply = reply
        self.seen: list[Message] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, peer) -> None:
        query = parse_message(data)
        self.seen.append(query)
        for answer in self.reply(query):
            self.transport.sendto(render_message(answer), peer)


def found(query: Message, address: str = "198.51.100.1", ttl_s: int = 60) -> Message:
    record = Record(query.questions[0].name, A, ttl_s, address)
    return Message(query.id, 0x8180, query.questions, (record,))


@pytest.fixture
async def start():
    closing = []

    async def upstream(reply):
        loop = asyncio.get_running_loop()
        transport, fake = await loop.create_datagram_endpoint(
            lambda: FakeUpstream(reply), local_addr=("127.0.0.1", 0)
        )
        closing.append(transport.close)
        return fake, transport.get_extra_info("sockname")[:2]

    servers = []

    async def server(upstreams=(), services=(WEB, OUTSIDE, BIG)) -> int:
        made = ClusterDns(NetworkConfig(), Upstream(servers=list(upstreams)))
        made._upstream.exclude = lambda addresses: None  # everyone here is on 127.0.0.1
        made.set_services(services)
        await made.start(["127.0.0.1"], 0)
        servers.append(made)
        return made.ports[0]

    server.upstream = upstream
    yield server
    for made in servers:
        await made.close()
    for close in closing:
        close()


async def raw_ask(port: int, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        await loop.sock_connect(own, ("127.0.0.1", port))
        await loop.sock_sendall(own, data)
        return await asyncio.wait_for(loop.sock_recv(own, 65535), 30)


def query(name: str, kind: int = A, *, edns: bool = False, identity: int = 77) -> bytes:
    extra = (options_record(),) if edns else ()
    return render_message(Message(identity, 0x100, (Question(name, kind),), additionals=extra))


async def ask(port: int, name: str, kind: int = A, *, edns: bool = False) -> Message:
    return parse_message(await raw_ask(port, query(name, kind, edns=edns)))


async def ask_tcp(port: int, *queries: bytes) -> list[Message]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(struct.pack("!H", len(q)) + q for q in queries))
    answers = []
    for _ in queries:
        length = struct.unpack("!H", await reader.readexactly(2))[0]
        answers.append(parse_message(await reader.readexactly(length)))
    writer.close()
    return answers


async def test_zone_over_udp_keeps_the_case_of_the_question(start) -> None:
    port = await start()
    for _ in range(2):  # the second from what was kept
        answer = await ask(port, "WeB.default.svc.Cluster.local")
        assert answer.questions[0].name == "WeB.default.svc.Cluster.local"
        assert answer.answers[0].name == "WeB.default.svc.Cluster.local"
        assert answer.answers[0].data == "10.43.1.1"
        assert answer.flags == 0x8580
        assert not answer.additionals
    with_options = await ask(port, "web.default.svc.cluster.local", edns=True)
    assert [record.type for record in with_options.additionals] == [codec.OPT]


async def test_negative_answers_carry_the_soa(start) -> None:
    port = await start()
    nothing = await ask(port, "web.default.svc.cluster.local", codec.AAAA)
    assert (nothing.rcode, nothing.answers) == (codec.OK, ())
    absent = await ask(port, "no.default.svc.cluster.local")
    assert absent.rcode == codec.NO_SUCH_NAME
    for answer in (nothing, absent):
        assert isinstance(answer.authorities[0].data, SoaData)


async def test_services_change(start) -> None:
    made = ClusterDns(NetworkConfig(), Upstream(servers=[]))
    await made.start(["127.0.0.1"], 0)
    port = made.ports[0]
    assert (await ask(port, "web.default.svc.cluster.local")).rcode == codec.NO_SUCH_NAME
    made.set_services([WEB])
    assert (await ask(port, "web.default.svc.cluster.local")).answers
    made.set_services([])
    assert (await ask(port, "web.default.svc.cluster.local")).rcode == codec.NO_SUCH_NAME
    await made.close()
    await made.close()


async def test_many_answers_turn_and_truncate(start) -> None:
    port = await start()
    name = "big.default.svc.cluster.local"
    first, second = [await ask(port, name) for _ in range(2)]
    assert first.flags & codec.TRUNCATED
    assert 20 < len(first.answers) < 40
    assert first.answers[0] != second.answers[0]
    wider = await ask(port, name, edns=True)
    assert len(wider.answers) > len(first.answers)
    whole, srv = await ask_tcp(port, query(name), query("web.default.svc.cluster.local", SRV))
    assert len({record.data for record in whole.answers}) == 200
    assert not whole.flags & codec.TRUNCATED
    assert srv.rcode == codec.OK


async def test_forwards_caches_and_counts_down(start) -> None:
    fake, address = await start.upstream(lambda q: [found(q)])
    port = await start([address])
    for name in ("example.com", "EXAMPLE.com"):
        answer = await ask(port, name)
        assert answer.id == 77
        assert answer.questions[0].name == name
        assert answer.answers[0].data == "198.51.100.1"
    assert len(fake.seen) == 1


async def test_equal_questions_share_one_exchange(start) -> None:
    waiting = asyncio.Event()
    held: list[Message] = []

    def hold(q):
        held.append(q)
        waiting.set()
        return []

    fake, address = await start.upstream(hold)
    port = await start([address])
    asking = [asyncio.create_task(ask(port, "slow.example")) for _ in range(20)]
    await waiting.wait()
    fake.reply = lambda q: [found(q)]
    answers = await asyncio.gather(*asking)
    assert all(answer.answers for answer in answers)
    assert len(fake.seen) <= 2  # one, and one again after its timeout


async def test_wrong_answers_do_not_count(start) -> None:
    def forge(q):
        other = Message(q.id, 0x8180, (Question("other.example", A),), found(q).answers)
        bad = found(q, "203.0.113.66")
        return [
            Message(q.id ^ 1, bad.flags, bad.questions, bad.answers),
            other,
            Message(q.id, 0x0100, bad.questions, bad.answers),
            found(q),
        ]

    _, address = await start.upstream(forge)
    port = await start([address])
    assert (await ask(port, "example.com")).answers[0].data == "198.51.100.1"


async def test_next_server_when_one_refuses_or_fails(start) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
    ill, ill_address = await start.upstream(lambda q: [Message(q.id, 0x8182, q.questions)])
    good, good_address = await start.upstream(lambda q: [found(q)])
    port = await start([nobody, ill_address, good_address])
    assert (await ask(port, "one.example")).answers
    assert (await ask(port, "two.example")).answers
    assert (len(ill.seen), len(good.seen)) == (1, 2)  # the good one is asked first from then on


async def test_nobody_answers(start) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
    assert (await ask(await start([nobody]), "example.com")).rcode == codec.SERVER_FAILURE
    assert (await ask(await start([]), "example.com")).rcode == codec.REFUSED


async def test_truncated_upstream_is_asked_over_tcp(start) -> None:
    big = tuple(Record("big.example", A, 60, f"198.51.100.{n}") for n in range(200))

    async def serve(reader, writer):
        length = struct.unpack("!H", await reader.readexactly(2))[0]
        q = parse_message(await reader.readexactly(length))
        data = render_message(Message(q.id, 0x8180, q.questions, big))
        writer.write(struct.pack("!H", len(data)) + data)
        await writer.drain()
        writer.close()

    listener = None
    while listener is None:
        # A port that is free for datagrams may be taken for streams.
        _, address = await start.upstream(lambda q: [Message(q.id, 0x8380, q.questions)])
        with contextlib.suppress(OSError):
            listener = await asyncio.start_server(serve, *address)
    port = await start([address])
    (whole,) = await ask_tcp(port, query("big.example"))
    assert len(whole.answers) == 200
    short = await ask(port, "big.example")
    assert short.flags & codec.TRUNCATED
    listener.close()


async def test_external_name_is_resolved_outside(start) -> None:
    fake, address = await start.upstream(lambda q: [found(q)])
    port = await start([address])
    answer = await ask(port, "outside.default.svc.cluster.local")
    assert [record.data for record in answer.answers] == ["api.example.com", "198.51.100.1"]
    assert fake.seen[0].questions[0].name == "api.example.com"
    alone = await ask(await start([]), "outside.default.svc.cluster.local")
    assert [record.data for record in alone.answers] == ["api.example.com"]


async def test_odd_queries(start) -> None:
    port = await start()
    good = query("web.default.svc.cluster.local")
    status = parse_message(await raw_ask(port, good[:2] + b"\x10" + good[3:]))
    assert status.rcode == codec.NOT_IMPLEMENTED
    two = parse_message(await raw_ask(port, good[:4] + b"\0\2" + good[6:]))
    assert two.rcode == codec.FORMAT_ERROR
    chaos = parse_message(await raw_ask(port, good[:-2] + b"\0\3"))
    assert chaos.rcode == codec.REFUSED
    transfer = parse_message(await raw_ask(port, good[:-4] + b"\0\xfc\0\1"))
    assert transfer.rcode == codec.REFUSED


async def test_address_in_use_is_said_plainly(start) -> None:
    port = await start()
    other = ClusterDns(NetworkConfig(), Upstream(servers=[]))
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}"):
        await other.start(["127.0.0.1"], port)


def test_resolv_conf_without_ourselves(tmp_path: Path) -> None:
    text = "# c\nsearch a b\nnameserver 10.43.0.10\nnameserver 192.0.2.53\nnameserver fe80::1\n"
    expected = [("192.0.2.53", 53), ("fe80::1", 53)]
    assert parse_resolv_conf(text, exclude=["10.43.0.10"]) == expected
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    upstream = Upstream(resolv_conf=path)
    upstream.exclude(["10.43.0.10"])
    assert upstream.servers() == expected
    assert Upstream(resolv_conf=tmp_path / "absent").servers() == []


class ManualClock:
    time_s = 100.0

    def monotonic(self) -> float:
        return self.time_s


def test_cache_counts_ttls_down_and_forgets() -> None:
    clock = ManualClock()
    cache = AnswerCache(clock, size=2)  # type: ignore[arg-type]
    q = parse_message(query("example.com"))
    cache.put("a", render_message(found(q, ttl_s=60)))
    clock.time_s += 20
    kept = cache.get("a")
    assert kept is not None
    assert parse_message(kept).answers[0].ttl_s == 40
    clock.time_s += 41
    assert cache.get("a") is None
    cache.put("failure", render_message(Message(1, 0x8182, q.questions)))
    assert cache.get("failure") is None
    soa = Record("com", codec.SOA, 900, SoaData("a", "b", 1, 2, 3, 4, 10))
    cache.put("no", render_message(Message(1, 0x8183, q.questions, (), (soa,))))
    clock.time_s += 9
    assert cache.get("no") is not None
    clock.time_s += 2
    assert cache.get("no") is None
    for key in "xyz":
        cache.put(key, render_message(found(q)))
    assert len(cache) == 2
    assert cache.get("x") is None
