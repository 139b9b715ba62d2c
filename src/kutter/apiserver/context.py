"""One request on its way: what the pipeline knows about it, handed to verbs and handlers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from kutter.api.resources import Resource
from kutter.apiserver.authn.identity import User
from kutter.apiserver.request_info import RequestInfo
from kutter.http.messages import Request

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer


@dataclass(slots=True)
class Call:
    """A request that passed authorization and found its resource.

    ``warnings`` become ``Warning: 299`` headers. ``query`` holds the first value of each
    parameter. ``resource`` is the resource of the requested group-version; for a legacy
    version that is converted, ``stored`` differs from it.
    """

    server: ApiServer
    request: Request
    info: RequestInfo
    user: User
    now: datetime
    resource: Resource
    query: dict[str, str]
    audit_id: str = ""
    warnings: list[str] = field(default_factory=list)
