"""Aggregation: group-versions served by other API servers in the cluster."""
