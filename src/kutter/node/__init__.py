"""The node agent: pods on one machine."""
