"""The rules as text: golden file, and what each feature adds.

Refresh the golden file with ``KUTTER_REFRESH_GOLDEN=1``.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

from kutter.network.interface import NetworkConfig, ServicePort
from kutter.network.services.render import render_services
from kutter.network.services.rules import udp_answers
from kutter.network.services.ruleset import render_change, render_full

GOLDEN = Path(__file__).parents[2] / "golden" / "network" / "services.nft"
CONFIG = NetworkConfig(node_addresses=("192.0.2.1",))
PLAIN = ServicePort(
    "default", "web", "http", "TCP", 80, ("10.43.1.1",), endpoints=(("10.42.0.5", 8080, True),)
)
NAMES = ServicePort(
    "kube-system",
    "names",
    "",
    "UDP",
    53,
    ("10.43.1.2",),
    node_port=30053,
    endpoints=(("10.42.0.6", 53, True), ("10.42.1.6", 53, False)),
)
EDGE = ServicePort(
    "prod",
    "edge",
    "https",
    "TCP",
    443,
    ("10.43.1.3",),
    node_port=30443,
    external_ips=("198.51.100.7",),
    load_balancer_ips=("192.0.2.1",),
    load_balancer_source_ranges=("198.18.0.0/15",),
    affinity_timeout_s=10800,
    external_traffic_local=True,
    endpoints=(("10.42.0.7", 8443, True), ("10.42.1.7", 8443, False)),
)
EMPTY = ServicePort("prod", "empty", "", "SCTP", 99, ("10.43.1.4",), node_port=30099)
FAR = replace(
    PLAIN,
    name="far",
    cluster_ips=("10.43.1.5", "fd00::5"),
    internal_traffic_local=True,
    endpoints=(("10.42.1.8", 80, False),),
)
ALL = [PLAIN, NAMES, EDGE, EMPTY, FAR]


def test_golden() -> None:
    text = render_full(render_services(ALL, CONFIG))
    if os.environ.get("KUTTER_REFRESH_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_order_of_input_does_not_matter() -> None:
    shuffled = ALL[:]
    random.Random(3).shuffle(shuffled)
    assert render_full(render_services(shuffled, CONFIG)) == render_full(
        render_services(ALL, CONFIG)
    )


def test_equal_tables_need_no_script() -> None:
    assert render_change(render_services(ALL, CONFIG), render_services(ALL[::-1], CONFIG)) == ""


def test_one_changed_service_touches_only_its_chain() -> None:
    more = replace(PLAIN, endpoints=(*PLAIN.endpoints, ("10.42.0.9", 8080, False)))
    old, new = (render_services([*ALL[1:], port], CONFIG) for port in (PLAIN, more))
    lines = render_change(old, new).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("flush chain inet kutter-services service-")
    assert "numgen random mod 2 map { 0 : 10.42.0.5 . 8080, 1 : 10.42.0.9 . 8080 }" in lines[1]


def test_one_address_claimed_twice_goes_to_the_first() -> None:
    other = replace(PLAIN, name="zweb", endpoints=(("10.42.0.99", 1, True),))
    rules = render_services([other, PLAIN], CONFIG)
    assert "default/web" in rules.maps["frontends"]["10.43.1.1 . tcp . 80"]


def test_our_name_server_is_not_refused() -> None:
    dns = ServicePort("kube-system", "kube-dns", "dns", "UDP", 53, (CONFIG.cluster_dns,))
    assert not render_services([dns], CONFIG).maps["refused"]
    served = replace(dns, endpoints=(("10.42.0.53", 53, True),))
    assert render_services([served], CONFIG).maps["frontends"]  # a name server in pods wins


def test_source_ranges_of_the_other_family_close_the_door() -> None:
    rules = render_services([replace(EDGE, load_balancer_source_ranges=("fd00::/8",))], CONFIG)
    (name,) = (name for name in rules.chains if name.startswith("firewall-"))
    assert rules.chains[name] == ("drop",)


def test_names_fit_the_kernel() -> None:
    long = replace(PLAIN, namespace="n" * 63, name="s" * 63, port_name="p" * 15)
    longer = replace(long, port_name="q" * 15)
    rules = render_services([long, longer], CONFIG)
    assert max(map(len, rules.chains)) < 128
    assert sum(name.startswith("service-") for name in rules.chains) == 2


def test_udp_answers() -> None:
    assert udp_answers(ALL) == {
        ("10.43.1.2", 53): frozenset({("10.42.0.6", 53), ("10.42.1.6", 53)}),
        ("", 30053): frozenset({("10.42.0.6", 53), ("10.42.1.6", 53)}),
    }


def test_nothing_odd_reaches_the_script() -> None:
    odd = replace(
        EDGE,
        name="x; flush ruleset",
        endpoints=(("10.0.0.1; flush ruleset", 80, True), ("10.42.0.7", 80, True)),
        external_ips=("1.2.3.4 }; flush ruleset",),
        load_balancer_source_ranges=("0.0.0.0/0; flush ruleset", " 10.1.2.3/8 "),
    )
    text = render_full(render_services([odd, replace(PLAIN, protocol="X; drop")], CONFIG))
    assert "flush" not in text.replace("flush-ruleset", "")
    assert ";" not in text.replace(" ; ", "").split("add rule", 1)[1]
    assert "ip saddr 10.0.0.0/8 return" in text
