"""A question as ``SubjectAccessReviewSpec``: what webhooks are sent and conditions look at."""

from __future__ import annotations

from typing import Any

from kutter.apiserver.authz.selectors import field_attributes, label_attributes
from kutter.apiserver.ports import Attributes


def spec_of_attributes(attributes: Attributes) -> dict[str, Any]:
    user = attributes.user
    spec: dict[str, Any] = {}
    if attributes.is_resource:
        asked: dict[str, Any] = {
            "namespace": attributes.namespace,
            "verb": attributes.verb,
            "group": attributes.group,
            "version": attributes.version,
            "resource": attributes.resource,
            "subresource": attributes.subresource,
            "name": attributes.name,
            "fieldSelector": field_attributes(attributes.field_selector),
            "labelSelector": label_attributes(attributes.label_selector),
        }
        spec["resourceAttributes"] = {key: value for key, value in asked.items() if value}
    else:
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
    if user.name:
        spec["user"] = user.name
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    if user.uid:
        spec["uid"] = user.uid
    return spec
