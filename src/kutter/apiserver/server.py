"""Composes the API server (being built)."""

from __future__ import annotations


class ApiServer:
    """One API server over one store."""
