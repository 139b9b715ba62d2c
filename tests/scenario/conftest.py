"""What holds in every scenario: the server's own components are never refused anything."""

import pytest

from kutter.apiserver import pipeline

OWN = ("system:serviceaccount:kube-system:", "system:kube-controller-manager", "system:kube-sch")


@pytest.fixture(scope="module", autouse=True)
def no_component_is_refused():
    """Each acts under its own account, with upstream's default roles: a controller that lacks a
    right would only retry for ever. Grant it in ``apiserver/authz/policy_additions.py``.
    """
    refused = []
    make = pipeline.refusal

    def refusal(attributes, reason):
        error = make(attributes, reason)
        if attributes.user.name.startswith(OWN):
            refused.append(error.message)
        return error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "refusal", refusal)
        yield
    assert sorted(set(refused)) == []
