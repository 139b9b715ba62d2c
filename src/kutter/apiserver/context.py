"""One request on its way: what the pipeline knows about it, handed to verbs and handlers."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from kutter.api.errors import path_not_found
from kutter.apiserver.authn.identity import User
from kutter.apiserver.negotiation import OF_KINDS, OF_LISTS, Accepted, negotiate
from kutter.apiserver.ports import Annotate
from kutter.apiserver.request_info import RequestInfo
from kutter.apiserver.writing import WriteContext, read_write_options
from kutter.http.messages import Request

if TYPE_CHECKING:
    from kutter.apiserver.audit.record import Record
    from kutter.apiserver.served import Served
    from kutter.apiserver.server import ApiServer


class Call(msgspec.Struct):
    """A request that passed authorization and found its resource.

    ``warnings`` become ``Warning: 299`` headers. ``query`` holds the first value of each
    parameter; ``request.params(name)`` gives all of them.
    """

    server: ApiServer
    request: Request
    info: RequestInfo
    user: User
    now: datetime
    query: dict[str, str]
    served: Served
    audit_id: str = ""
    warnings: list[str] = msgspec.field(default_factory=list)
    # What the audit keeps of this request; None when nobody audits it.
    record: Record | None = None

    @property
    def annotate(self) -> Annotate | None:
        """Adds an annotation to the audit event; None when there is none."""
        return self.record.annotate if self.record is not None else None

    @property
    def accept(self) -> str:
        return self.request.headers.get("accept", "")

    def negotiate(self, *, watch: bool = False, convertible: bool = True) -> Accepted:
        """The form of the answer. Raises 406."""
        only: tuple[str, ...] = ()
        if not self.served.resource.custom:
            only = OF_LISTS if self.info.verb in ("list", "watch") else OF_KINDS
        return negotiate(
            self.accept,
            watch=watch,
            convertible=convertible,
            protobuf=self.served.protobuf,
            only=only,
        )

    def write_context(
        self, options_kind: str, *, subresource: str = "", apply: bool = False
    ) -> WriteContext:
        """The context of a write by this caller, its options read from the query."""
        query = self.query
        dry_run = self.request.params("dryRun") if "dryRun" in query else []
        force = query.get("force", "") if options_kind == "PatchOptions" else ""
        options, dry = read_write_options(options_kind, query, dry_run, force=force, apply=apply)
        return WriteContext(
            user=self.user,
            now=self.now,
            options=options,
            warnings=self.warnings,
            dry_run=dry,
            subresource=subresource,
            annotate=self.annotate,
            requested=self.served.resource,
        )

    def served_of(self, group: str, plural: str) -> Served:
        """Another resource of this server, in its preferred version. Raises 404."""
        resource = self.server.catalog.find_group_resource(group, plural)
        if resource is None:
            raise path_not_found()
        return self.server.served_for(resource)
