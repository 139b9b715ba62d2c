import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from kutter.apiserver.configuration_file import ConfigurationError
from kutter.base.tasks import Scope
from kutter.cluster.api_options import ApiServerOptions
from kutter.cluster.control_plane import ControlPlane, ControlPlaneOptions
from kutter.http.messages import Request
from kutter.store.memory import MemoryStore


def plane(**api: str) -> ControlPlane:
    key = generate_private_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    options = ControlPlaneOptions(token_key_pem=pem, api=ApiServerOptions(**api))
    return ControlPlane(MemoryStore(), options)


async def test_flags_choose_admission_plugins() -> None:
    made = plane(
        enable_admission_plugins="AlwaysPullImages", disable_admission_plugins="PodSecurity"
    )
    names = {plugin.name for plugin in made.security.admission.plugins}
    assert "AlwaysPullImages" in names
    assert "PodSecurity" not in names
    with pytest.raises(ConfigurationError, match="PodPreset is unknown"):
        plane(enable_admission_plugins="PodPreset")


def test_a_name_that_is_no_plugin_is_refused_before_anything_starts() -> None:
    ApiServerOptions(disable_admission_plugins="MutatingAdmissionWebhook,ResourceQuota").check_api()
    with pytest.raises(ValueError, match="PodPreset is unknown"):
        ApiServerOptions(enable_admission_plugins="PodPreset").check_api()
    with pytest.raises(ValueError, match="cannot be read"):
        ApiServerOptions(admission_control_config_file="/nowhere").check_api()


async def test_what_is_set_of_callers_and_audit_is_in_force(tmp_path: Path) -> None:
    plain = plane()
    assert plain._identity is None
    assert plain.api.auditor is None
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    log = str(tmp_path / "audit.log")
    audited = plane(audit_policy_file=str(policy), audit_log_path=log)
    assert audited.api.auditor is not None
    assert [sink.name for sink in audited.api.auditor.sinks] == ["log"]
    denying = plane(authorization_mode="AlwaysDeny")
    assert denying._identity is not None
    assert [type(one).__name__ for one in denying.security.authorizer.authorizers] == ["Always"]
    with pytest.raises(ConfigurationError, match="go together"):
        plane(oidc_issuer_url="https://issuer")


async def test_health_checks_have_upstreams_names_and_tell_what_ended() -> None:
    made = plane()
    health = made.api.health

    def failing(endpoint: str) -> set[str]:
        response = health.answer(
            Request("GET", f"/{endpoint}", raw_query="verbose"), f"/{endpoint}"
        )
        assert response is not None
        lines = response.body.decode().splitlines()
        return {line[3:].split()[0] for line in lines if line.startswith("[-]")}

    assert "poststarthook/rbac/bootstrap-roles" in failing("livez")
    assert "autoregister-completion" in failing("readyz")
    async with Scope("plane") as scope:
        await made.start(scope)
        async with asyncio.timeout(30):
            while failing("readyz"):
                await asyncio.sleep(0.01)
        for endpoint in ("healthz", "livez"):
            assert failing(endpoint) == set()
    assert "poststarthook/start-apiextensions-controllers" in failing("livez")
    assert "poststarthook/rbac/bootstrap-roles" not in failing("livez")
    await made.stop()
