"""How long the kernel takes to hold N services of four endpoints. Run as root in a namespace:

unshare --net python bench/network_services.py
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace

from kutter.network.interface import NetworkConfig, ServicePort
from kutter.network.services.render import render_services
from kutter.network.services.rules import NftServiceRules


def services(count: int) -> list[ServicePort]:
    return [
        ServicePort(
            f"ns{number % 20}",
            f"service-{number}",
            "http",
            "TCP",
            80,
            (f"10.43.{number // 250 + 1}.{number % 250 + 1}",),
            node_port=30000 + number if number < 2500 else 0,
            endpoints=tuple(
                (f"10.42.{number // 60}.{(number % 60) * 4 + end + 2}", 8080, True)
                for end in range(4)
            ),
        )
        for number in range(count)
    ]


async def main() -> None:
    for count in (100, 1000, 5000):
        rules = NftServiceRules(NetworkConfig())
        ports = services(count)
        times = {}
        started = time.perf_counter()
        render_services(ports, NetworkConfig())
        times["render"] = time.perf_counter() - started
        started = time.perf_counter()
        await rules.apply(ports)
        times["full"] = time.perf_counter() - started
        started = time.perf_counter()
        await rules.apply(list(ports))
        times["unchanged"] = time.perf_counter() - started
        ports[7] = replace(ports[7], endpoints=ports[7].endpoints[:3])
        started = time.perf_counter()
        await rules.apply(ports)
        times["one changed"] = time.perf_counter() - started
        shown = ", ".join(f"{name} {taken * 1000:.1f} ms" for name, taken in times.items())
        sys.stdout.write(f"{count} services: {shown}\n")
        await rules.purge()


asyncio.run(main())
