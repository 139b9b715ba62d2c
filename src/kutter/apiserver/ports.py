"""The seams of the API server: what the core calls and other packages provide.

Between the pipeline (``pipeline.py``, ``storage.py``) and those who decide: authentication,
authorization, admission, per-kind strategies, printing and subresource handlers. The core
depends on these protocols only; ``server.py`` is handed the implementations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from kutter.api.resources import Resource
from kutter.apiserver.authn.identity import User
from kutter.http.messages import Request, Response

if TYPE_CHECKING:
    from kutter.apiserver.context import Call

Tree = dict[str, Any]
Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
Annotate = Callable[[str, str], None]
"""Adds an annotation to the request's audit event; the first value of a key stays."""


class Attributes(msgspec.Struct, frozen=True):
    """What authorization decides on. ``verb`` is the API verb, or the lower-case method for
    paths that are no resource.
    """

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    is_resource: bool = False
    field_selector: str = ""
    label_selector: str = ""


class Decision(msgspec.Struct, frozen=True):
    """An authorizer's answer; ``reason`` ends up in the 403's message.

    Not ``allowed`` means that others may be asked; ``denied`` that nobody else is.
    """

    allowed: bool
    reason: str = ""
    denied: bool = False


class Authenticator(Protocol):
    """Establishes who calls."""

    async def authenticate(self, request: Request) -> User | None:
        """The caller; the anonymous user where no credentials are fine; None for "no".

        Raises :func:`kutter.api.errors.unauthorized` for credentials that do not hold. Never
        called for the local transport (``request.local_user``).
        """
        ...


class Authorizer(Protocol):
    """Decides whether a caller may."""

    async def authorize(self, attributes: Attributes) -> Decision:
        """Never raises for a plain "no"."""
        ...


class Reservation(Protocol):
    """Something taken for one write, to be told how the write ended."""

    async def settle(self, stored: bool | None) -> None:
        """Called once: True when the object is stored, False when it is not, None when nobody
        knows.
        """
        ...


class Shown(msgspec.Struct, frozen=True):
    """How a subresource's own kind (Scale, Binding) looks to webhooks and policies.

    ``render`` makes it of the object; ``absorb`` writes a changed one back into the object.
    ``creates``: what storage does as an update is a creation to whoever asks for it.
    """

    render: Callable[[Tree], Tree]
    absorb: Callable[[Tree, Tree], None]
    creates: bool = False


class AdmissionRequest(msgspec.Struct):
    """One operation on its way into the store.

    ``object`` (new state; None for DELETE) may be mutated in the mutate step; ``old`` is the
    state before (None for CREATE) and read-only. For CONNECT ``object`` is the options as a
    tree. ``kind`` is the kind of ``object`` (a subresource's kind may differ from the
    resource's). ``options`` is the Create/Update/Patch/DeleteOptions as a tree. ``warnings``
    may be appended to. ``annotate`` is None when nobody audits the request. ``reservation`` is
    set by the plugin that takes something for the write (the last one of the chain, so that
    nobody refuses afterwards).

    ``resource`` is of the version ``object`` and ``old`` are in, ``requested`` the one the client
    asked for (None: the same). A mutating plugin that sets ``reinvoke`` has the chain's mutating
    step done once more, with ``round`` 1; ``memory`` is what plugins keep between the two.
    Who does something that has to be done for each request (counts it) says ``once``.
    """

    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    object: Tree | None
    old: Tree | None
    user: User
    reader: Reader
    now: datetime
    dry_run: bool = False
    kind: str = ""
    options: Tree = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)
    annotate: Annotate | None = None
    reservation: Reservation | None = None
    requested: Resource | None = None
    shown: Shown | None = None
    reinvoke: bool = False
    round: int = 0
    once: bool = False
    memory: dict[str, Any] | None = None


class Admission(Protocol):
    """The admission chain. Raises ApiError to refuse."""

    async def mutate(self, request: AdmissionRequest) -> None:
        """Change ``request.object`` in place. Called after defaulting, before the strategy."""
        ...

    async def validate(self, request: AdmissionRequest) -> None:
        """Refuse or let pass; changes nothing. Called after validation, right before storing.

        An update that lost a race is tried again, so both steps may be called repeatedly.
        """
        ...

    def permit(self, resource: Resource, operation: Operation) -> object | None:
        """What stays the same object as long as equal requests of this kind, that read the same,
        come to the same; None when that cannot be said.
        """
        ...

    def reads_bound_pods(self) -> bool:
        """Whether anybody who is asked about a binding may look at more of the pod, or change
        more of it, than its metadata: as of now, configurations change.
        """
        ...

    def spares_spec(self, resource: Resource, subresource: str) -> bool:
        """Whether no mutation of an update writes into ``spec`` of the object, so that it may be
        the very one of the object before.
        """
        ...


class Snapshot(Protocol):
    """One object as the read cache holds it."""

    namespace: str
    name: str
    revision: int
    tail: bytes
    """Its JSON but for the head (kind and apiVersion): for a look without decoding."""

    @property
    def tree(self) -> Tree:
        """The object, decoded anew on each call: the caller may change it."""
        ...


class Change(msgspec.Struct, frozen=True):
    """One change seen by a cache. For ``DELETED`` ``current`` is the last state."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    current: Snapshot
    previous: Snapshot | None


ChangeSink = Callable[[list[Change]], None]


class Reader(Protocol):
    """Reads from the read cache: as new as the last acknowledged write, never blocking.

    ``group_resource`` is ``pods`` or ``roles.rbac.authorization.k8s.io``.
    """

    def get(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        """One object, decoded anew, or None."""
        ...

    def look(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        """As ``get``, for who changes nothing: all lookers share one decoded tree."""
        ...

    def exists(self, group_resource: str, namespace: str, name: str) -> bool:
        """Whether it is there, without decoding it."""
        ...

    def labels(self, group_resource: str, namespace: str, name: str) -> Mapping[str, str] | None:
        """An object's labels, decoded once for all who ask; None when it is not there."""
        ...

    def list(self, group_resource: str, namespace: str = "") -> Iterable[Tree]:
        """All objects (of a namespace), decoded one by one."""
        ...

    def revision(self, group_resource: str) -> int:
        """The revision of the resource's newest change: unequal means look again."""
        ...

    def on_change(self, group_resource: str, sink: ChangeSink) -> None:
        """Call ``sink`` synchronously with every change from now on; it must not raise."""
        ...


class TablePrinter(Protocol):
    """Columns and cells of ``kubectl get`` for one kind.

    ``order`` sorts the rows of a list; None: they are in the order of the list.
    """

    order: Callable[[Tree], Any] | None

    @property
    def columns(self) -> list[Tree]:
        """``metav1.TableColumnDefinition`` trees: name, type, format, description, priority."""
        ...

    def cells(self, tree: Tree, now: datetime) -> list[Any]:
        """One row's cells, JSON values, in the order of ``columns``."""
        ...

    def conditions(self, tree: Tree) -> list[Tree]:
        """``metav1.TableRowCondition`` trees of the row, usually none."""
        ...


PrinterFor = Callable[[Resource], TablePrinter | None]
"""None: the core prints Name and Created At."""


class CallHandler(Protocol):
    """Handles one subresource (``pods/log``) or one resource without storage
    (``tokenreviews``). ``call.info.verb`` says what is asked.
    """

    def __call__(self, call: Call) -> Awaitable[Response]: ...
