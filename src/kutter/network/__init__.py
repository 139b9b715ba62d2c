"""Addresses, services, DNS: rules are pure, the kernel does the work."""
