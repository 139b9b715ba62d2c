"""Settings: frozen, each with a default, inherited ones among them."""

from __future__ import annotations

import pytest

from kutter.cluster.api_options import ApiServerOptions
from kutter.cluster.config import ClusterConfig


def test_every_setting_has_its_default() -> None:
    values = ClusterConfig().values()
    assert values["api_port"] == 6443
    assert values["event_ttl"] == "1h0m0s"
    assert values.keys() > ApiServerOptions().values().keys()
    assert values == ClusterConfig.defaults()


def test_what_is_given_or_replaced_is_all_that_differs() -> None:
    config = ClusterConfig(api_port=7443).replace(node_name="a")
    assert (config.api_port, config.node_name, config.kubelet_port) == (7443, "a", 10250)
    assert config == ClusterConfig(node_name="a", api_port=7443)
    assert hash(config) == hash(ClusterConfig(node_name="a", api_port=7443))
    assert config != ClusterConfig()
    # Said to be what it is anyway: the same settings.
    assert ClusterConfig(api_port=6443) == ClusterConfig()


def test_they_are_frozen_and_known_by_name() -> None:
    config = ClusterConfig()
    with pytest.raises(AttributeError, match="frozen"):
        config.api_port = 1  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del config.api_port
    with pytest.raises(TypeError, match="api_prot"):
        ClusterConfig(api_prot=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="api_prot"):
        config.replace(api_prot=1)


def test_whether_something_is_set() -> None:
    options = ApiServerOptions(oidc_client_id="a", audit_log_maxage=0)
    assert options.differs("oidc_")
    assert options.differs("audit_", "oidc_")
    assert not options.differs("audit_", "authorization_")
