"""Syscall façade: mounts, namespaces, cgroups, netlink, nft."""
