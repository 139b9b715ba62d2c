"""``AuthorizationConfiguration``: which authorizers are asked, in which order.

Read and checked as upstream does; the older ``--authorization-*`` flags are put into the same form.
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#using-configuration-file-for-authorization
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from kutter.api.cel.environment import Program
from kutter.api.cel.errors import CompileError, ResultTypeError
from kutter.api.cel.kubernetes import environment
from kutter.api.cel.types import BOOL, STRING, Field, Type, list_of, map_of, object_type
from kutter.api.durations import DurationError, parse
from kutter.api.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_many,
)
from kutter.apiserver.configuration_file import ConfigurationError, Part, parse_configuration
from kutter.apiserver.validation import text

KIND = "AuthorizationConfiguration"
_VERSIONS = ("v1", "v1beta1", "v1alpha1")
_TYPES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
_CONDITIONS_MAX = 64
_TIMEOUT_MAX_S = 30.0


class MatchCondition(Part):
    expression: str = ""


class ConnectionInfo(Part):
    type: str = ""
    kube_config_file: str | None = None


class Webhook(Part):
    authorized_ttl: str = msgspec.field(default="5m", name="authorizedTTL")
    cache_authorized_requests: bool = True
    unauthorized_ttl: str = msgspec.field(default="30s", name="unauthorizedTTL")
    cache_unauthorized_requests: bool = True
    timeout: str = ""
    subject_access_review_version: str = ""
    match_condition_subject_access_review_version: str = ""
    failure_policy: str = ""
    connection_info: ConnectionInfo = msgspec.field(default_factory=ConnectionInfo)
    match_conditions: tuple[MatchCondition, ...] = ()


class AuthorizerSettings(Part):
    type: str = ""
    name: str = ""
    webhook: Webhook | None = None


class AuthorizationConfiguration(Part):
    authorizers: tuple[AuthorizerSettings, ...] = ()


def parse_authorization(content: bytes) -> AuthorizationConfiguration:
    """Raises ConfigurationError."""
    found = parse_configuration(content, KIND, _VERSIONS, AuthorizationConfiguration)
    errors = check_authorization(found)
    if errors:
        raise ConfigurationError.of(KIND, errors)
    return found


def check_authorization(configuration: AuthorizationConfiguration) -> list[FieldError]:
    """All that is wrong."""
    if not configuration.authorizers:
        return [required("authorizers", "at least one authorization mode must be defined")]
    errors: list[FieldError] = []
    types: set[str] = set()
    names: set[str] = set()
    for index, settings in enumerate(configuration.authorizers):
        path, kind, name = f"authorizers[{index}]", settings.type, settings.name
        if not kind:
            errors.append(required(f"{path}.type"))
            continue
        if kind not in _TYPES:
            errors.append(not_supported(f"{path}.type", kind, list(_TYPES)))
            continue
        if kind in types and kind != "Webhook":
            errors.append(duplicate(f"{path}.type", kind))
            continue
        types.add(kind)
        if not name:
            errors.append(required(f"{path}.name"))
        elif name in names:
            errors.append(duplicate(f"{path}.name", name))
        elif problems := text.dns_subdomain(name):
            detail = f"authorizer name is invalid: {', '.join(problems)}"
            errors.append(invalid(f"{path}.name", name, detail))
        names.add(name)
        if kind != "Webhook":
            if settings.webhook is not None:
                detail = "may only be specified when type=Webhook"
                errors.append(invalid(f"{path}.webhook", "non-null", detail))
        elif settings.webhook is None:
            errors.append(required(f"{path}.webhook", "required when type=Webhook"))
        else:
            errors += _check_webhook(path, settings.webhook)
    return errors


def _check_webhook(path: str, webhook: Webhook) -> list[FieldError]:
    errors = _check_duration(f"{path}.timeout", webhook.timeout, _TIMEOUT_MAX_S)
    errors += _check_duration(f"{path}.authorizedTTL", webhook.authorized_ttl)
    errors += _check_duration(f"{path}.unauthorizedTTL", webhook.unauthorized_ttl)
    errors += _check_choice(
        f"{path}.subjectAccessReviewVersion",
        webhook.subject_access_review_version,
        ["v1", "v1beta1"],
    )
    version = webhook.match_condition_subject_access_review_version
    here = f"{path}.matchConditionSubjectAccessReviewVersion"
    if version:
        errors += _check_choice(here, version, ["v1"])
    elif webhook.match_conditions:
        errors.append(required(here, "required if match conditions are specified"))
    errors += _check_choice(f"{path}.failurePolicy", webhook.failure_policy, ["NoOpinion", "Deny"])
    errors += _check_connection(f"{path}.connectionInfo", webhook.connection_info)
    return errors + compile_conditions(path, webhook.match_conditions)[1]


def _check_duration(path: str, value: str, maximum_s: float | None = None) -> list[FieldError]:
    if not value:
        return [required(path)]
    try:
        seconds = parse(value)
    except DurationError as error:
        return [invalid(path, value, str(error))]
    if seconds == 0:
        return [required(path)]
    if seconds < 0 or (maximum_s is not None and seconds > maximum_s):
        limit = f" and <= {maximum_s:g}s" if maximum_s is not None else ""
        return [invalid(path, value, f"must be > 0s{limit}")]
    return []


def _check_choice(path: str, value: str, choices: list[str]) -> list[FieldError]:
    if not value:
        return [required(path)]
    return [] if value in choices else [not_supported(path, value, choices)]


def _check_connection(path: str, info: ConnectionInfo) -> list[FieldError]:
    here, file = f"{path}.kubeConfigFile", info.kube_config_file
    if info.type == "InClusterConfig":
        if file is not None:
            return [invalid(here, file, "can only be set when type=KubeConfigFile")]
        return [invalid(f"{path}.type", info.type, "this server does not run in a pod")]
    if info.type != "KubeConfigFile":
        return _check_choice(f"{path}.type", info.type, ["InClusterConfig", "KubeConfigFile"])
    if not file:
        return [required(here)]
    if not Path(file).is_absolute():
        return [invalid(here, file, "must be an absolute path")]
    if not Path(file).exists():
        return [invalid(here, file, "error loading file: no such file or directory")]
    return [] if Path(file).is_file() else [invalid(here, file, "must be a regular file")]


def _object(kind: str, /, **fields: Type) -> Type:
    return object_type(f"kubernetes.{kind}", {key: Field(key, fields[key]) for key in fields})


# Upstream's own declarations: field names are not escaped here as those of objects are.
_STRINGS = list_of(STRING)
_SELECTOR = _object(
    "SelectorAttributes",
    rawSelector=STRING,
    requirements=list_of(
        _object("SelectorRequirement", key=STRING, operator=STRING, values=_STRINGS)
    ),
)
_REQUEST = _object(
    "SubjectAccessReviewSpec",
    resourceAttributes=_object(
        "ResourceAttributes",
        namespace=STRING,
        verb=STRING,
        group=STRING,
        version=STRING,
        resource=STRING,
        subresource=STRING,
        name=STRING,
        fieldSelector=_SELECTOR,
        labelSelector=_SELECTOR,
    ),
    nonResourceAttributes=_object("NonResourceAttributes", path=STRING, verb=STRING),
    user=STRING,
    groups=_STRINGS,
    extra=map_of(STRING, _STRINGS),
    uid=STRING,
)


def compile_conditions(
    path: str, conditions: Sequence[MatchCondition]
) -> tuple[list[Program], list[FieldError]]:
    """The conditions over ``request``, a SubjectAccessReviewSpec, and what is wrong with them."""
    here = f"{path}.matchConditions"
    if len(conditions) > _CONDITIONS_MAX:
        return [], [too_many(here, len(conditions), _CONDITIONS_MAX)]
    if not conditions:
        return [], []
    made = environment({"request": _REQUEST})
    programs: list[Program] = []
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        place, expression = f"{here}[{index}].expression", condition.expression
        if not expression.strip():
            errors.append(required(place))
        elif expression in seen:
            errors.append(duplicate(place, expression))
        else:
            seen.add(expression)
            try:
                programs.append(made.compile(expression, BOOL))
            except (CompileError, ResultTypeError) as error:
                errors.append(invalid(place, expression, f"compilation failed: {error}"))
    return programs, errors
