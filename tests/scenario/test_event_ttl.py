"""How long events are kept is a setting, named as upstream's flag."""

from __future__ import annotations

import pytest
from tests.conformance_kit import Rest, wait_until

from kutter.cluster.api_options import ApiServerOptions

EVENTS = "/api/v1/namespaces/default/events"


def test_events_go_after_the_time_that_was_set(kutter_cluster_factory):
    cluster = kutter_cluster_factory(
        nodes=0, controllers=False, scheduler=False, api=ApiServerOptions(event_ttl="1s")
    )
    client = cluster.kubernetes_client()
    rest = Rest(client)
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
        "reason": "Tested",
    }
    rest.post(EVENTS, event)
    wait_until(lambda: rest.gone(f"{EVENTS}/e"), 60)
    client.close()


@pytest.mark.parametrize("text", ["0s", "-1s", "soon"])
def test_a_time_that_is_none_is_refused(text: str):
    with pytest.raises(ValueError, match="--event-ttl"):
        ApiServerOptions(event_ttl=text).check_api()
