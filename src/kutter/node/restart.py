"""Whether a container that ended runs again: pod policy, container policy and its rules.

Pure. https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy and
KEP-5307 (container restart rules).
"""

from __future__ import annotations

from kutter.api.types.core_v1 import Pod
from kutter.node.facts import AnyContainerSpec


def effective_policy(pod: Pod, spec: AnyContainerSpec) -> str:
    """The container's own restart policy, else the pod's."""
    return getattr(spec, "restart_policy", "") or pod.spec.restart_policy or "Always"


def matched_rule(spec: AnyContainerSpec, exit_code: int) -> str:
    """The action of the first rule that fits the exit code; ``""`` when none does."""
    for rule in getattr(spec, "restart_policy_rules", None) or ():
        codes = rule.exit_codes
        if codes is None:
            continue
        inside = exit_code in codes.values
        if inside == (codes.operator == "In"):
            return rule.action or "Restart"
    return ""


def should_restart(pod: Pod, spec: AnyContainerSpec, exit_code: int) -> bool:
    """Whether a run that ended with ``exit_code`` is followed by another one."""
    if matched_rule(spec, exit_code):
        return True
    policy = effective_policy(pod, spec)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
