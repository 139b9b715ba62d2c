"""Queries per second of the name server on one core, over loopback:

python bench/network_dns.py
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import time

import uvloop

from kutter.network.dns.codec import A, Message, Question, options_record, render_message
from kutter.network.dns.server import ClusterDns
from kutter.network.dns.upstream import Upstream
from kutter.network.interface import DnsService, NetworkConfig

_COUNT = 200_000
_WINDOW = 64


def serve(ready: multiprocessing.Queue) -> None:
    async def main() -> None:
        server = ClusterDns(NetworkConfig(), Upstream(servers=[]))
        server.set_services(
            [DnsService("default", f"web{n}", (f"10.43.1.{n}",)) for n in range(200)]
        )
        await server.start(["127.0.0.1"], 0)
        ready.put(server.ports[0])
        await asyncio.Event().wait()

    uvloop.run(main())


def main() -> None:
    ready: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(ready,), daemon=True)
    process.start()
    port = ready.get(timeout=10)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", port))
    queries = [
        render_message(
            Message(
                n,
                0x100,
                (Question(f"web{n}.default.svc.cluster.local", A),),
                additionals=(options_record(),),
            )
        )
        for n in range(200)
    ]
    started = time.perf_counter()
    for n in range(_WINDOW):
        client.send(queries[n % 200])
    for n in range(_COUNT):
        client.recv(2048)
        client.send(queries[n % 200])
    rate = _COUNT / (time.perf_counter() - started)
    sys.stdout.write(f"{rate:,.0f} queries/s\n")
    process.terminate()


if __name__ == "__main__":
    main()
