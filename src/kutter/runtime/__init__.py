"""Containers. No Pod type. cri.py is the contract."""
