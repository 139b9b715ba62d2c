"""Every check by its texts, and which version of it counts when."""

import pytest

from kutter.apiserver.pod_security.policy import (
    LATEST,
    PREFIX,
    LevelVersion,
    Policy,
    evaluate,
    parse_version,
    policy_of,
    render,
)

FINE = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "a",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


def look(level, spec, minor=LATEST, annotations=None):
    metadata = {"name": "p", "annotations": annotations or {}}
    return render(evaluate(LevelVersion(level, minor), metadata, spec))


def containers(*contexts, **more):
    """A pod of containers a, b ... with these security contexts."""
    listed = [
        {"name": name, "securityContext": context}
        for name, context in zip("abcdefg", contexts, strict=False)
    ]
    return {"containers": listed, **more}


def test_what_restricted_says_of_a_pod_that_says_nothing():
    assert look("restricted", containers(None)) == (
        'allowPrivilegeEscalation != false (container "a" must set '
        "securityContext.allowPrivilegeEscalation=false), "
        'unrestricted capabilities (container "a" must set '
        'securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to '
        '"RuntimeDefault" or "Localhost")'
    )
    assert look("restricted", FINE) == ""
    assert look("baseline", containers(None)) == ""
    assert look("privileged", {"hostNetwork": True, "containers": []}) == ""


BASELINE = [
    (
        containers(None, hostNetwork=True, hostPID=True, hostIPC=True),
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    ),
    (
        containers({"privileged": True}, {"privileged": True}),
        'privileged (containers "a", "b" must not set securityContext.privileged=true)',
    ),
    (
        containers({"capabilities": {"add": ["NET_RAW", "SYS_ADMIN", "CHOWN"]}}),
        (
            'non-default capabilities (container "a" must not include "NET_RAW", "SYS_ADMIN" in '
            "securityContext.capabilities.add)"
        ),
    ),
    (
        containers(volumes=[{"name": "x", "hostPath": {"path": "/"}}, {"name": "y"}]),
        'hostPath volumes (volume "x")',
    ),
    (
        {"containers": [{"name": "a", "ports": [{"hostPort": 90}, {"hostPort": 0}]}]},
        'hostPort (container "a" uses hostPort 90)',
    ),
    (
        {
            "containers": [
                {"name": "a", "ports": [{"hostPort": 90}]},
                {"name": "b", "ports": [{"hostPort": 80}]},
            ]
        },
        'hostPort (containers "a", "b" use hostPorts 80, 90)',
    ),
    (
        containers(None, securityContext={"appArmorProfile": {"type": "Unconfined"}}),
        'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ),
    (
        containers({"seLinuxOptions": {"type": "spc_t", "user": "u"}}, {}),
        (
            'seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: '
            'type "spc_t"; user may not be set)'
        ),
    ),
    (
        containers({"procMount": "Unmasked"}),
        'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        containers(
            {"seccompProfile": {"type": "Unconfined"}},
            securityContext={"seccompProfile": {"type": "Unconfined"}},
        ),
        (
            'seccompProfile (pod and container "a" must not set '
            'securityContext.seccompProfile.type to "Unconfined")'
        ),
    ),
    (
        containers(None, securityContext={"sysctls": [{"name": "a.b"}, {"name": "c.d"}]}),
        "forbidden sysctls (a.b, c.d)",
    ),
    (
        containers({"windowsOptions": {"hostProcess": True}}),
        'hostProcess (container "a" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
    (
        {
            "containers": [
                {
                    "name": "a",
                    "livenessProbe": {"httpGet": {"host": "h"}},
                    "lifecycle": {"preStop": {"tcpSocket": {"host": "g"}}},
                }
            ]
        },
        'probe or lifecycle host (container "a" uses probe or lifecycle hosts "g", "h")',
    ),
]


@pytest.mark.parametrize(("spec", "text"), BASELINE, ids=[t.split(" (")[0] for _, t in BASELINE])
def test_baseline(spec, text):
    assert look("baseline", spec) == text
    # Also of init and ephemeral containers, and of a pod that is otherwise restricted.
    for field in ("initContainers", "ephemeralContainers"):
        moved = {**spec, field: spec["containers"], "containers": []}
        assert look("baseline", moved) == text


def test_annotations_of_old():
    app_armor = "container.apparmor.security.beta.kubernetes.io/"
    notes = {app_armor + "a": "runtime/default", app_armor + "b": "unconfined"}
    assert look("baseline", containers(None), annotations=notes) == (
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
        f'"{app_armor}b="unconfined"")'
    )
    seccomp = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    assert look("baseline", containers(None), 18, seccomp) == (
        "seccompProfile (forbidden annotation "
        'seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    )
    assert look("baseline", containers(None), 19, seccomp) == ""


RESTRICTED = [
    (
        {**FINE, "volumes": [{"name": "x", "hostPath": {}}, {"name": "y", "nfs": {}}]},
        'restricted volume types (volumes "x", "y" use restricted volume types "hostPath", "nfs")',
    ),
    (
        {**FINE, "volumes": [{"name": "x"}]},
        'restricted volume types (volume "x" uses restricted volume type "unknown")',
    ),
    (
        {**FINE, "securityContext": {**FINE["securityContext"], "runAsNonRoot": False}},
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
    ),
    (
        {**FINE, "securityContext": {**FINE["securityContext"], "runAsUser": 0}},
        "runAsUser=0 (pod must not set runAsUser=0)",
    ),
]


@pytest.mark.parametrize(("spec", "text"), RESTRICTED)
def test_restricted(spec, text):
    assert look("restricted", spec) == text


def test_capabilities_that_are_kept_and_added():
    context = {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CHOWN"]}}
    spec = {**FINE, "containers": [{"name": "a", "securityContext": context}]}
    assert look("restricted", spec) == (
        'unrestricted capabilities (container "a" must set '
        'securityContext.capabilities.drop=["ALL"]; container "a" must not include "CHOWN" in '
        "securityContext.capabilities.add)"
    )


@pytest.mark.parametrize(
    ("level", "spec", "before", "since", "was_allowed"),
    [
        ("restricted", containers({"capabilities": {}}), 7, 8, None),
        ("baseline", containers({"seLinuxOptions": {"type": "container_engine_t"}}), 30, 31, False),
        (
            "baseline",
            containers(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}),
            31,
            32,
            False,
        ),
        (
            "baseline",
            {"containers": [{"name": "a", "startupProbe": {"tcpSocket": {"host": "h"}}}]},
            33,
            34,
            True,
        ),
        ("baseline", containers({"procMount": "Unmasked"}, hostUsers=False), 34, 35, False),
        (
            "restricted",
            {
                **FINE,
                "hostUsers": False,
                "securityContext": {**FINE["securityContext"], "runAsUser": 0},
            },
            34,
            35,
            False,
        ),
    ],
)
def test_versions(level, spec, before, since, was_allowed):
    old, new = look(level, spec, before), look(level, spec, since)
    assert old != new
    if was_allowed is not None:
        assert (old == "", new == "") == (was_allowed, not was_allowed)
    assert look(level, spec) == look(level, spec, 36)


def test_windows_and_user_namespaces():
    spec = containers(None, os={"name": "windows"}, securityContext={"runAsNonRoot": True})
    assert look("restricted", spec) == ""
    assert "unrestricted capabilities" in look("restricted", spec, 24)
    # Restricted keeps /proc masked in user namespaces too.
    unmasked = {**FINE["containers"][0]["securityContext"], "procMount": "Unmasked"}
    own = {**FINE, "hostUsers": False, "containers": [{"name": "a", "securityContext": unmasked}]}
    assert look("baseline", own) == ""
    assert "procMount" in look("restricted", own)


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("latest", LATEST),
        ("v1.0", 0),
        ("v1.36", 36),
        ("v1.10000", 10000),
        ("v1.01", None),
        ("v2.0", None),
        ("1.1", None),
        ("", None),
        ("v1.", None),
        ("v1.-1", None),
    ],
)
def test_version_texts(text, minor):
    assert parse_version(text) == minor


def test_labels():
    labels = {PREFIX + "enforce": "baseline", PREFIX + "enforce-version": "v1.25"}
    policy, errors = policy_of(labels, Policy())
    assert errors == []
    assert str(policy.enforce) == "baseline:v1.25"
    # Who enforces is warned of workloads too, unless he says otherwise.
    assert (str(policy.warn), str(policy.audit)) == ("baseline:v1.25", "privileged:latest")
    policy, _ = policy_of({**labels, PREFIX + "warn": "privileged"}, Policy())
    assert str(policy.warn) == "privileged:latest"


def test_wrong_labels_enforce_everything_and_warn_of_nothing():
    labels = {
        PREFIX + "enforce": "strict",
        PREFIX + "warn": "strict",
        PREFIX + "audit-version": "v2",
    }
    policy, errors = policy_of(labels, Policy())
    assert (str(policy.enforce), str(policy.warn)) == ("restricted:latest", "privileged:latest")
    assert [str(error) for error in errors] == [
        (
            'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be '
            "one of privileged, baseline, restricted"
        ),
        (
            'metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: "v2": must be '
            '"latest" or "v1.x"'
        ),
        (
            'metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "strict": must be one '
            "of privileged, baseline, restricted"
        ),
    ]
