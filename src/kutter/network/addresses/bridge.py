"""The bridge pods hang on, and the kernel switches around it.

The bridge has the gateway's address, its own fixed hardware address, and the cluster's DNS
address with host scope (so that it is local everywhere and never chosen as a source). Pods hold
/32 addresses and reach even each other through the gateway: every packet passes the node's IP
layer, whether bridged packets are shown to the packet filter or not.

Changed switches: ``ip_forward`` (kept at purge when it was on before, put back otherwise) and
those of the bridge alone, which go with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from kutter.linux.links import (
    SCOPE_HOST,
    SCOPE_LINK,
    Link,
    add_address,
    add_bridge,
    add_route,
    delete_address,
    find_link,
    find_uplink,
    list_addresses,
    set_link,
)
from kutter.linux.netlink import NetlinkSocket
from kutter.network.interface import NetworkConfig

_SYSCTL = Path("/proc/sys/net/ipv4")
_DEFAULT_MTU = 1500
_FORWARD = _SYSCTL / "ip_forward"


def stable_mac(seed: str) -> str:
    """A locally administered hardware address that is always the same for ``seed``."""
    digest = hashlib.blake2b(seed.encode(), digest_size=5).digest()
    return (b"\x0e" + digest).hex(":")


def ensure_bridge(kernel: NetlinkSocket, config: NetworkConfig, gateway: str, prefix: int) -> Link:
    """Make the bridge what it should be, whatever is there. Raises OSError."""
    name = config.bridge
    uplink = find_uplink(kernel)
    mtu = config.mtu or (uplink.mtu if uplink else _DEFAULT_MTU)
    link = find_link(kernel, name)
    if link is None:
        add_bridge(kernel, name, mac=stable_mac(f"{name} {config.pod_cidr}"), mtu=mtu)
        link = find_link(kernel, name)
        assert link is not None
    elif not link.up or link.mtu != mtu:
        set_link(kernel, link.index, mtu=mtu)
        link = replace(link, up=True, mtu=mtu)
    wanted = {(gateway, prefix), (config.cluster_dns, 32)}
    held = {(a, p) for index, a, p in list_addresses(kernel) if index == link.index}
    for address, length in held - wanted:
        delete_address(kernel, link.index, address, length)
    add_address(kernel, link.index, gateway, prefix)
    add_address(kernel, link.index, config.cluster_dns, 32, scope=SCOPE_HOST)
    # A node without a default route reaches cluster addresses too, and no packet to one that
    # nobody serves ever leaves by the uplink.
    add_route(kernel, link.index, config.service_cidr, scope=SCOPE_LINK)
    _write_switches(name)
    return link


def _write_switches(bridge: str) -> None:
    own = _SYSCTL / "conf" / bridge
    # 127.0.0.1:<node port> is answered by a pod: its packets cross the bridge.
    (own / "route_localnet").write_text("1")
    (own / "send_redirects").write_text("0")
    (own / "rp_filter").write_text("0")
    ipv6 = Path("/proc/sys/net/ipv6/conf") / bridge / "accept_ra"
    if ipv6.exists():
        ipv6.write_text("0")


def enable_forwarding(folder: Path) -> None:
    """Switch routing on, remembering in ``folder`` that it was off."""
    if _FORWARD.read_text().strip() == "0":
        (folder / "ip_forward.before").write_text("0")
        _FORWARD.write_text("1")


def restore_forwarding(folder: Path) -> None:
    """Undo :func:`enable_forwarding`; safe without it."""
    before = folder / "ip_forward.before"
    if before.exists():
        _FORWARD.write_text("0")
        before.unlink()
