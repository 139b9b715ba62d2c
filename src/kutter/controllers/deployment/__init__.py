"""Deployment: rolling a template out over ReplicaSets.

``revisions`` names and numbers ReplicaSets, ``rollout`` decides sizes (pure), ``progress``
computes status and conditions (pure), ``controller`` reads, applies and reports.
"""
