"""All controllers together."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from kutter.api.catalog import Catalog
from kutter.api.types.apps_v1 import ReplicaSet
from kutter.api.types.core_v1 import Pod, Secret
from kutter.client.client import Client
from kutter.controllers.registry import ControllerOptions, build_controllers
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory


def test_no_kind_is_watched_twice():
    """Who needs but metadata uses the informer of who needs the whole: each event is decoded once,
    each object held once.
    """
    client = cast("Client", None)
    informers = InformerFactory(client)
    options = ControllerOptions(cluster_cidr="10.0.0.0/16", root_ca="")
    build_controllers(
        lambda *_: client, informers, EventRecorder(client, "test"), Catalog(), options
    )
    views: list[Any] = [view for view, *narrowed in informers._informers if not any(narrowed)]
    watched = Counter(view.resource.group_resource for view in views)
    assert {name for name, times in watched.items() if times > 1} == set()
    assert {Pod, ReplicaSet} <= set(views)
    # And what nobody needs the whole of is watched for its metadata alone.
    assert Secret not in views
    assert watched["podtemplates"] == 1
