"""Vectorised scheduler: queue, snapshot, cycle, plugins."""
