"""componentstatuses: how the parts of the control plane are, asked at the time of the request.

Between the named checks of :class:`kutter.apiserver.health.Health` and get and list. Nothing is
stored, so there are no versions and no watches. Deprecated upstream since v1.19, still served.
Upstream: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/component-status-v1/
"""

from __future__ import annotations

from kutter.api.errors import not_found
from kutter.apiserver.answers import answer
from kutter.apiserver.cache import Entry, encode_tail, head_of
from kutter.apiserver.context import Call
from kutter.apiserver.encoders import ListMeta
from kutter.apiserver.health import Check
from kutter.apiserver.kinds.strategy import Strategy
from kutter.apiserver.ports import Tree
from kutter.apiserver.selection import parse_selection
from kutter.http.messages import Response


async def component_statuses(call: Call) -> Response:
    """GET one or all. Raises 404."""
    components = call.server.health.components
    info = call.info
    accepted = call.negotiate()
    encoder = call.served.encoder_for(accepted, call.query.get("includeObject", ""))
    if len(info.parts) > 1:  # a name in the query is a selector
        check = components.get(info.name)
        if check is None:
            # In the singular, as upstream says it.
            raise not_found("componentstatus", info.name)
        return await answer(call, encoder.encode(_entry(call, info.name, check)), accepted)
    selection = parse_selection(
        Strategy(call.served.resource), "", info.label_selector, info.field_selector
    )
    entries = [_entry(call, name, check) for name, check in sorted(components.items())]
    found = [entry for entry in entries if not selection.selects or selection.matches(entry)]
    return await answer(call, encoder.encode_list(found, ListMeta(0)), accepted)


def _entry(call: Call, name: str, check: Check) -> Entry:
    why_not = check()
    healthy: Tree = {"type": "Healthy", "status": "False" if why_not else "True"}
    healthy |= {"error": why_not} if why_not else {"message": "ok"}
    tree: Tree = {"metadata": {"name": name}, "conditions": [healthy]}
    return Entry(head_of(call.served.resource), encode_tail(tree, 0), "", name, 0)
