"""Composition roots: server, agent, all-in-one; configuration and certificates."""
