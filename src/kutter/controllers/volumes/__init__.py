"""Claims and the volumes they are bound to."""
