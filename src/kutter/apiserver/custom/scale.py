"""scale of a custom kind: where the numbers are, its definition says."""

from __future__ import annotations

from kutter.api.custom.definition import ScalePaths
from kutter.api.errors import ApiError
from kutter.apiserver.custom.kind import read_path, write_path
from kutter.apiserver.ports import CallHandler, Tree
from kutter.apiserver.subresources.scale import scale_handler_of, scale_tree


def custom_scale(paths: ScalePaths) -> CallHandler:
    """The handler of a custom kind's ``scale``."""

    def read(tree: Tree) -> Tree:
        wanted = read_path(tree, paths.spec)
        current = read_path(tree, paths.status)
        selector = read_path(tree, paths.selector) if paths.selector else None
        return scale_tree(
            tree,
            wanted if isinstance(wanted, int) else 0,
            current if isinstance(current, int) else 0,
            selector if isinstance(selector, str) else "",
        )

    def show(tree: Tree) -> Tree:
        if read_path(tree, paths.spec) is None:
            text = f'the spec replicas field ".{".".join(paths.spec)}" does not exist'
            raise ApiError(500, "InternalError", f"Internal error occurred: {text}")
        return read(tree)

    def write(tree: Tree, replicas: int) -> None:
        write_path(tree, paths.spec, replicas)

    return scale_handler_of(read, write, show)
