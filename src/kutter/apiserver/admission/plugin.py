"""The shape of an admission plugin, and how one says no.

A plugin looks at one concern. It reads other objects only through ``request.reader`` and keeps no
state that the reader does not feed.
"""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import ApiError, forbidden
from kutter.apiserver.ports import AdmissionRequest, Operation


class Plugin:
    """The base: no opinion.

    ``mutate`` may change ``request.object``; ``validate`` changes nothing. Both raise ApiError to
    refuse. ``wants`` is asked once per resource and operation.
    """

    name: ClassVar[str]
    # Whether the outcome depends on the request and on what ``request.reader`` answers alone, and
    # nothing is left behind but what ``request.once`` tells of.
    repeatable: ClassVar[bool] = False
    # Whether of a pod that is being bound more is looked at than its metadata and its node, or more
    # changed than its metadata: if nobody wants it, the rest is not there to be seen.
    reads_bound_pods: ClassVar[bool] = True
    # Whether ``mutate`` writes nothing into ``spec`` of an object, but puts another in its place:
    # an update that leaves it alone shares it with the object before.
    spares_spec: ClassVar[bool] = False

    def wants(self, resource: str, operation: Operation) -> bool:
        """Whether to be called. ``resource`` is ``pods``, ``pods/eviction``, ``roles.rbac...``."""
        raise NotImplementedError

    async def mutate(self, request: AdmissionRequest) -> None:
        """See :class:`kutter.apiserver.ports.Admission`."""

    async def validate(self, request: AdmissionRequest) -> None:
        """See :class:`kutter.apiserver.ports.Admission`."""


def refusal(request: AdmissionRequest, detail: str) -> ApiError:
    """403 for the object of ``request``: ``pods "x" is forbidden: detail``."""
    return forbidden(request.resource.plural, object_name(request), detail, request.resource.group)


def object_name(request: AdmissionRequest) -> str:
    """The name of the object, or the beginning of a name that is yet to be generated."""
    if request.name:
        return request.name
    metadata = (request.object or {}).get("metadata") or {}
    return str(metadata.get("name") or metadata.get("generateName") or "")
