"""The Common Expression Language as Kubernetes speaks it: compile once, evaluate in microseconds.

Pure: a text and trees in, a value out. See docs/adr/0015-cel.md.
"""
