from pathlib import Path

import pytest

from kutter.apiserver.admission.configuration import AdmissionOptions, read_admission_options
from kutter.apiserver.admission.registry import DEFAULT_OFF, all_plugins, default_plugins
from kutter.apiserver.configuration_file import ConfigurationError
from kutter.apiserver.ports import Attributes, Decision

FILE = """
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults:
      enforce: baseline
      enforce-version: v1.30
    exemptions:
      usernames: [ann]
      runtimeClasses: [vm]
      namespaces: [kube-system]
- name: ResourceQuota
  path: quota.yaml
- name: EventRateLimit
  configuration:
    apiVersion: eventratelimit.admission.k8s.io/v1alpha1
    kind: Configuration
    limits:
    - {type: Server, qps: 10, burst: 50}
"""
QUOTA = """
apiVersion: apiserver.config.k8s.io/v1
kind: ResourceQuotaConfiguration
limitedResources:
- resource: pods
  matchScopes:
  - {scopeName: PriorityClass, operator: In, values: [system-node-critical]}
"""


class Anybody:
    async def authorize(self, attributes: Attributes) -> Decision:
        return Decision(allowed=True)


def test_the_file_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "admission.yaml"
    path.write_text(FILE)
    (tmp_path / "quota.yaml").write_text(QUOTA)
    options = read_admission_options("", "", str(path))
    security = options.pod_security
    assert str(security.defaults.enforce) == "baseline:v1.30"
    assert str(security.defaults.warn) == "privileged:latest"
    assert security.usernames == {"ann"}
    assert security.namespaces == {"kube-system"}
    assert security.runtime_classes == {"vm"}
    assert options.limited[0].match_scopes[0].values == ("system-node-critical",)
    assert options.event_limits[0].burst == 50


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("enforce: baseline", "enforce: strict", "must be one of privileged"),
        ("enforce-version: v1.30", "enforce-version: '1.30'", 'must be "latest" or "v1.x"'),
        ("usernames:", "userNames:", "unknown field"),
        ("name: ResourceQuota", "name: LimitRanger", "takes no configuration"),
        ("path: quota.yaml", "path: missing.yaml", "cannot be read"),
        ("type: Server", "type: Pod", "must be one of Server"),
        ("burst: 50", "burst: 5", "burst not below qps"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "admission.yaml"
    path.write_text(FILE.replace(old, new))
    (tmp_path / "quota.yaml").write_text(QUOTA)
    with pytest.raises(ConfigurationError, match=said):
        read_admission_options("", "", str(path))


def names(options: AdmissionOptions) -> list[str]:
    return [plugin.name for plugin in default_plugins(authorizer=Anybody(), options=options)]


def test_plugins_are_turned_on_and_off() -> None:
    usual = names(AdmissionOptions())
    assert not DEFAULT_OFF & set(usual)
    assert usual[-1] == "ResourceQuota"
    options = read_admission_options("AlwaysPullImages, EventRateLimit", "PodSecurity", "")
    changed = set(names(options))
    assert changed == set(usual) - {"PodSecurity"} | {"AlwaysPullImages", "EventRateLimit"}
    with pytest.raises(ConfigurationError, match="overlapped"):
        read_admission_options("PodSecurity", "PodSecurity", "")
    with pytest.raises(ConfigurationError, match="admission plugin PodPreset is unknown"):
        names(read_admission_options("PodPreset", "", ""))


def test_what_is_off_exists() -> None:
    assert {plugin.name for plugin in all_plugins(authorizer=Anybody())} >= DEFAULT_OFF
