"""Resources: what can be asked for, under which path, with which verbs.

A :class:`Resource` is the static description of one served resource. Built-in ones come from
:mod:`kutter.api.catalog`; custom ones will be made from their definitions in the same form.
"""

from __future__ import annotations

from dataclasses import dataclass, field


# No Structs: commands read these in, and start faster without msgspec.
@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one group-version.

    ``verbs`` are discovery's verbs. ``subresources`` maps a subresource's name (``status``,
    ``scale``, ``log`` ...) to its own description. ``storage_prefix`` is the start of its keys
    in the store, without a slash at the end; group-versions of one kind share it. ``virtual``
    resources are answered, never stored (reviews, bindings, component statuses). ``stored_as``
    names the group-version upstream stores it in where that is another than its own; discovery's
    hash tells. ``custom`` ones come from a definition.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: dict[str, Subresource] = field(default_factory=dict)
    list_kind: str = ""
    storage_prefix: str = ""
    virtual: bool = False
    stored_as: str = ""
    custom: bool = False

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """``pods`` or ``deployments.apps``: how errors and RBAC name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def base_path(self) -> str:
        """``/api/v1`` or ``/apis/apps/v1``."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The request path of a collection, an object or a subresource of it."""
        parts = [self.base_path]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Subresource:
    """A subresource. ``kind`` may belong to another group-version (``Scale``)."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str | None = None
    version: str | None = None
