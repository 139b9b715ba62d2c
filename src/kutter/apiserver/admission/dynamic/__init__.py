"""Admission told by objects: webhooks and policies, matched, versioned and called as upstream."""
