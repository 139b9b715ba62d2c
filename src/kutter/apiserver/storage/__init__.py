"""The semantics of writing objects: create, update and delete over the store."""

from kutter.apiserver.storage.resource import ObjectStorage

__all__ = ["ObjectStorage"]
