"""Garbage collection by owner references: ``graph`` (pure) knows, ``collector`` acts."""
