"""Every field of every view is in the schema tables with the same rough type."""

import importlib
import pkgutil
import types as python_types
import typing

import msgspec
import pytest

import kutter.api.types
from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.schema.loader import type_node
from kutter.api.types.base import View
from kutter.api.types.meta_v1 import KubeObject

TABLES = {
    "core_v1": "core/v1",
    "meta_v1": "meta/v1",
    "apps_v1": "apps/v1",
    "batch_v1": "batch/v1",
    "policy_v1": "policy/v1",
    "autoscaling_v1": "autoscaling/v1",
    "autoscaling_v2": "autoscaling/v2",
    "authentication_v1": "authentication.k8s.io/v1",
    "authorization_v1": "authorization.k8s.io/v1",
    "certificates_v1": "certificates.k8s.io/v1",
    "coordination_v1": "coordination.k8s.io/v1",
    "coordination_v1beta1": "coordination.k8s.io/v1beta1",
    "discovery_v1": "discovery.k8s.io/v1",
    "events_v1": "events.k8s.io/v1",
    "networking_v1": "networking.k8s.io/v1",
    "node_v1": "node.k8s.io/v1",
    "rbac_v1": "rbac.authorization.k8s.io/v1",
    "resource_v1": "resource.k8s.io/v1",
    "scheduling_v1": "scheduling.k8s.io/v1",
    "storage_v1": "storage.k8s.io/v1",
    "storagemigration_v1beta1": "storagemigration.k8s.io/v1beta1",
}
ROUGH = {
    "string": str,
    "boolean": bool,
    "int32": int,
    "int64": int,
    "double": float,
    "byte": str,
    "time": str,
    "microtime": str,
    "quantity": str,
}


def modules():
    names = [m.name for m in pkgutil.iter_modules(kutter.api.types.__path__)]
    return sorted(name for name in names if name != "base")


def views(module_name):
    module = importlib.import_module(f"kutter.api.types.{module_name}")
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, View)
        and item.__module__ == module.__name__
        and item is not KubeObject
    ]


def without_none(annotation):
    arguments = [a for a in typing.get_args(annotation) if a is not type(None)]
    if typing.get_origin(annotation) in (typing.Union, python_types.UnionType):
        return arguments[0] if len(arguments) == 1 else set(arguments)
    return annotation


def complain(node, annotation, path):
    annotation = without_none(annotation)
    origin = typing.get_origin(annotation)
    match node.type:
        case "any":
            return None
        case "intstr":
            fine = annotation == {int, str}
        case "list":
            if origin is not tuple:
                return f"{path} is a list"
            return complain(node.items, typing.get_args(annotation)[0], f"{path}[]")
        case "map":
            if origin is not dict:
                return f"{path} is a map"
            return complain(node.items, typing.get_args(annotation)[1], f"{path}{{}}")
        case "object":
            fine = isinstance(annotation, type) and annotation.__name__ == node.name
        case _:
            fine = annotation is ROUGH[node.type]
    return None if fine else f"{path} is {node.type} {node.name}, the view says {annotation}"


def test_every_module_has_its_table():
    assert modules() == sorted(TABLES)


@pytest.mark.parametrize("module_name", sorted(TABLES))
def test_views_do_not_drift(module_name):
    complaints = []
    for view in views(module_name):
        node = type_node(TABLES[module_name], view.__name__)
        hints = typing.get_type_hints(view)
        for field in msgspec.structs.fields(view):
            path = f"{view.__name__}.{field.encode_name}"
            known = node.fields.get(field.encode_name)
            if known is None:
                complaints.append(f"{path} is no field")
            elif complaint := complain(known, hints[field.name], path):
                complaints.append(complaint)
        for field in msgspec.structs.fields(view):
            if field.required:
                complaints.append(f"{view.__name__}.{field.name} has no default")
    assert complaints == []


@pytest.mark.parametrize("module_name", sorted(TABLES))
def test_top_level_views_know_their_resource(module_name):
    for view in views(module_name):
        resource = vars(view).get("resource")
        if isinstance(resource, Resource):
            assert resource.kind == view.__name__
            assert resource is builtin(resource.group, resource.version, resource.plural)
            assert "metadata" in view.__struct_fields__
