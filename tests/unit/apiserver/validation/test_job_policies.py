"""A job's policies: every refusal in upstream's words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kutter.apiserver.kinds.batch import validate_job_spec
from kutter.apiserver.validation.job_policies import count_indexes

Tree = dict[str, Any]
_POD = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {
        "restartPolicy": "Never",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "containers": [
            {
                "name": "main",
                "image": "i",
                "imagePullPolicy": "Always",
                "terminationMessagePolicy": "File",
            }
        ],
    },
}
_INDEXED: Tree = {"completionMode": "Indexed", "completions": 5, "parallelism": 1}
_CODES: Tree = {"operator": "In", "values": [1]}


def refusals(**fields: Any) -> list[tuple[str, str]]:
    spec = {"template": copy.deepcopy(_POD), **fields}
    errors: list[Any] = []
    validate_job_spec(errors, spec, "spec")
    return [(error.path, error.message) for error in errors]


def rule(**fields: Any) -> Tree:
    return {"rules": [{"action": "FailJob", "onExitCodes": _CODES, **fields}]}


def test_what_is_right_passes() -> None:
    assert refusals() == []
    assert refusals(managedBy="example.com/controller") == []
    assert refusals(podFailurePolicy=rule(), podReplacementPolicy="Failed") == []
    rules = [{"succeededIndexes": "0,2-4", "succeededCount": 2}]
    assert refusals(**_INDEXED, successPolicy={"rules": rules}) == []
    assert refusals(**_INDEXED, backoffLimitPerIndex=1, maxFailedIndexes=5) == []


_RULE = "spec.podFailurePolicy.rules[0]"
_SUCCESS = "spec.successPolicy.rules[0]"


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        (
            {"podFailurePolicy": rule(action="")},
            f"{_RULE}.action",
            'Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]',
        ),
        (
            {"podFailurePolicy": rule(action="FailIndex")},
            f"{_RULE}.action",
            'Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set',
        ),
        (
            {"podFailurePolicy": rule(action="Stop")},
            f"{_RULE}.action",
            (
                'Unsupported value: "Stop": supported values: "Count", "FailIndex", "FailJob", '
                '"Ignore"'
            ),
        ),
        (
            {"podFailurePolicy": rule(onExitCodes=None)},
            _RULE,
            "Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
        ),
        (
            {"podFailurePolicy": rule(onPodConditions=[{"type": "X", "status": "True"}])},
            _RULE,
            "Invalid value: specifying both OnExitCodes and OnPodConditions is not supported",
        ),
        (
            {"podFailurePolicy": rule(onExitCodes={**_CODES, "values": [0]})},
            f"{_RULE}.onExitCodes.values[0]",
            "Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            {"podFailurePolicy": rule(onExitCodes={**_CODES, "values": [2, 1]})},
            f"{_RULE}.onExitCodes.values",
            "Invalid value: [2,1]: must be ordered",
        ),
        (
            {"podFailurePolicy": rule(onExitCodes={**_CODES, "values": [1, 1]})},
            f"{_RULE}.onExitCodes.values[1]",
            "Duplicate value: 1",
        ),
        (
            {"podFailurePolicy": rule(onExitCodes={**_CODES, "containerName": "other"})},
            f"{_RULE}.onExitCodes.containerName",
            (
                'Invalid value: "other": must be one of the container or initContainer names in the '
                "pod template"
            ),
        ),
        (
            {"podFailurePolicy": rule(onExitCodes={**_CODES, "operator": ""})},
            f"{_RULE}.onExitCodes.operator",
            'Required value: valid values: ["In" "NotIn"]',
        ),
        (
            {"podFailurePolicy": {"rules": [{"action": "Ignore", "onExitCodes": _CODES}] * 21}},
            "spec.podFailurePolicy.rules",
            "Too many: 21: must have at most 20 items",
        ),
        (
            {"podFailurePolicy": rule(), "podReplacementPolicy": "TerminatingOrFailed"},
            "spec.podReplacementPolicy",
            'Unsupported value: "TerminatingOrFailed": supported values: "Failed"',
        ),
        (
            {**_INDEXED, "successPolicy": {"rules": []}},
            "spec.successPolicy.rules",
            (
                "Required value: at least one rules must be specified when the successPolicy is "
                "specified"
            ),
        ),
        (
            {**_INDEXED, "successPolicy": {"rules": [{}]}},
            _SUCCESS,
            "Required value: at least one of succeededCount or succeededIndexes must be specified",
        ),
        (
            {**_INDEXED, "successPolicy": {"rules": [{"succeededCount": 6}]}},
            f"{_SUCCESS}.succeededCount",
            (
                "Invalid value: 6: must be less than or equal to 5 (the number of specified "
                "completions)"
            ),
        ),
        (
            {
                **_INDEXED,
                "successPolicy": {"rules": [{"succeededCount": 3, "succeededIndexes": "0-1"}]},
            },
            f"{_SUCCESS}.succeededCount",
            (
                "Invalid value: 3: must be less than or equal to 2 (the number of indexes in the "
                "specified succeededIndexes field)"
            ),
        ),
        (
            {**_INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "9"}]}},
            f"{_SUCCESS}.succeededIndexes",
            'Invalid value: "9": error parsing succeededIndexes: too large index: "9"',
        ),
        (
            {"maxFailedIndexes": 1, "backoffLimitPerIndex": 1},
            "spec.maxFailedIndexes",
            "Invalid value: 1: requires indexed completion mode",
        ),
        (
            {**_INDEXED, "maxFailedIndexes": 6, "backoffLimitPerIndex": 1},
            "spec.maxFailedIndexes",
            "Invalid value: 6: must be less than or equal to completions",
        ),
        (
            {**_INDEXED, "completions": 100_001, "backoffLimitPerIndex": 1},
            "spec.maxFailedIndexes",
            "Required value: must be specified when completions is above 100000",
        ),
        (
            {"managedBy": "nobody"},
            "spec.managedBy",
            'Invalid value: "nobody": must be a domain-prefixed path (such as "acme.io/foo")',
        ),
        (
            {"managedBy": "a.io/" + "x" * 60},
            "spec.managedBy",
            "Too long: may not be more than 63 bytes",
        ),
    ],
)
def test_refusals(fields: Tree, field: str, message: str) -> None:
    assert (field, message) in refusals(**fields)


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("0", 1), ("0,2-4", 4), ("1-2,4-9", 8), ("0-9", 10)]
)
def test_indexes_are_counted(text: str, count: int) -> None:
    assert count_indexes(text, 10) == count


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1-2-3", "at most two parts"),
        ("a", 'cannot convert string to integer for index: "a"'),
        ("10", 'too large index: "10"'),
        ("1-10", 'too large index: "10"'),
        ("3-3", "non-increasing order, previous: 3, current: 3"),
        ("1,1", "non-increasing order, previous: 1, current: 1"),
        ("0-4,2", "non-increasing order, previous: 4, current: 2"),
    ],
)
def test_indexes_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        count_indexes(text, 10)
