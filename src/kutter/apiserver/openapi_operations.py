"""Operations as OpenAPI documents of version 2 and 3 write them down.

Between :mod:`kutter.apiserver.openapi_paths`, which knows what may be asked, and the documents.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kutter.apiserver.openapi_parameters import (
    BODIES,
    PARAMETERS,
    body_parameter,
    parameter,
    placed,
)
from kutter.apiserver.ports import Tree

JSON, YAML = "application/json", "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ANSWERS = (JSON, YAML, PROTOBUF)
ANY_MEDIA = "*/*"
# path → method → (operation, tag)
Operations = dict[str, dict[str, tuple["Operation", str]]]


class Operation(msgspec.Struct):
    """One method of a path, in neither version's form yet.

    ``answer`` is None where nothing is said of it; so are ``medias`` and ``produces`` if empty.
    """

    id: str
    action: str
    description: str
    kind: Tree
    parameters: tuple[str, ...]
    answer: Tree | None
    codes: tuple[int, ...] = (200,)
    body: Tree | None = None
    medias: tuple[str, ...] = (ANY_MEDIA,)
    needs_body: bool = True
    produces: tuple[str, ...] = msgspec.field(default=ANSWERS)
    # The type of meta/v1 its body is, which all kinds have in common.
    body_type: str = ""


class Renderer:
    """Writes operations in the form of one version."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._parameters = {name: parameter(name, version) for name in PARAMETERS}

    def render(self, operations: Operations) -> dict[str, Tree]:
        """Every path with its operations. What all of them take stands with the path."""
        made: dict[str, Tree] = {}
        for path, methods in operations.items():
            item: Tree = {}
            common = set.intersection(*(set(o.parameters) for o, _ in methods.values()))
            if common:
                item["parameters"] = self._listed(common)
            for method, (operation, tag) in methods.items():
                own = set(operation.parameters) - common
                item[method] = self._render(operation, tag, self._listed(own))
            made[path] = item
        return made

    def _listed(self, keys: set[str]) -> list[Tree]:
        return [self._parameter(key) for key in sorted(keys, key=placed)]

    def _parameter(self, key: str) -> Tree:
        shared = PARAMETERS[key][3] if self._version == 2 else ""
        return {"$ref": f"#/parameters/{shared}"} if shared else self._parameters[key]

    def _render(self, operation: Operation, tag: str, parameters: list[Tree]) -> Tree:
        made: Tree = {"tags": [tag], "operationId": operation.id}
        if operation.description:
            made["description"] = operation.description
        if operation.action:
            made["x-kubernetes-action"] = operation.action
            made["x-kubernetes-group-version-kind"] = operation.kind
        render = self._render_2 if self._version == 2 else self._render_3
        render(made, operation, parameters)
        if parameters:
            made["parameters"] = parameters
        return made

    def _render_2(self, made: Tree, operation: Operation, parameters: list[Any]) -> None:
        if operation.medias:
            made["consumes"] = list(operation.medias)
        if operation.produces:
            made["produces"] = list(operation.produces)
        made["schemes"] = ["https"]
        if operation.body_type:
            parameters.insert(0, {"$ref": f"#/parameters/{BODIES[operation.body_type]}"})
        elif operation.body is not None:
            parameters.insert(0, body_parameter(operation.body, required=operation.needs_body))
        answered: Tree = {} if operation.answer is None else {"schema": operation.answer}
        made["responses"] = _responses(operation, answered)

    def _render_3(self, made: Tree, operation: Operation, parameters: list[Any]) -> None:
        schema: Tree = {} if operation.answer is None else {"schema": operation.answer}
        content = dict.fromkeys(operation.produces, schema)
        made["responses"] = _responses(operation, {"content": content} if content else {})
        if operation.body is not None:
            body: Tree = {"content": {m: {"schema": operation.body} for m in operation.medias}}
            if operation.needs_body:
                body["required"] = True
            made["requestBody"] = body


def _responses(operation: Operation, answered: Tree) -> Tree:
    made: Tree = {str(code): {"description": _said(code), **answered} for code in operation.codes}
    made["401"] = {"description": "Unauthorized"}
    return made


def _said(code: int) -> str:
    return {200: "OK", 201: "Created", 202: "Accepted"}[code]
