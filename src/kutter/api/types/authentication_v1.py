"""Reader views of authentication.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.meta_v1 import KubeObject, ObjectMeta


class TokenReviewSpec(View):
    audiences: tuple[str, ...] = ()
    token: str = ""


class UserInfo(View):
    extra: dict[str, tuple[str, ...]] = {}
    groups: tuple[str, ...] = ()
    uid: str = ""
    username: str = ""


class TokenReviewStatus(View):
    audiences: tuple[str, ...] = ()
    authenticated: bool = False
    error: str = ""
    user: UserInfo = UserInfo()


class TokenReview(KubeObject):
    resource: ClassVar[Resource] = builtin("authentication.k8s.io", "v1", "tokenreviews")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: TokenReviewSpec = TokenReviewSpec()
    status: TokenReviewStatus = TokenReviewStatus()


class BoundObjectReference(View):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class TokenRequestSpec(View):
    audiences: tuple[str, ...] = ()
    bound_object_ref: BoundObjectReference | None = None
    expiration_seconds: int | None = None


class TokenRequestStatus(View):
    expiration_timestamp: str = ""
    token: str = ""


class TokenRequest(View):
    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: TokenRequestSpec = TokenRequestSpec()
    status: TokenRequestStatus = TokenRequestStatus()


class SelfSubjectReviewStatus(View):
    user_info: UserInfo = UserInfo()


class SelfSubjectReview(KubeObject):
    resource: ClassVar[Resource] = builtin("authentication.k8s.io", "v1", "selfsubjectreviews")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    status: SelfSubjectReviewStatus = SelfSubjectReviewStatus()
