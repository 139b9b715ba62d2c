"""Encryption at rest: what is written to the store, and nothing else, is ciphertext."""
