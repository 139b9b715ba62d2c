"""Audit: who did what, when, and how it was answered."""
