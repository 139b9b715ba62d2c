"""YAML in and out: bodies, answers and files.

Apart from those who may meet YAML, because reading in its library is much of a start and few do.
"""

from __future__ import annotations

from typing import Any

import orjson
import yaml

from kutter.api.quoting import quote

# Values in one YAML document, aliases followed; more than the body could hold without them.
NODES_LIMIT = 2_000_000


class _Loader(yaml.CSafeLoader):
    """YAML as the cluster reads it: what looks like a date stays text, keys are unique."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(body: bytes) -> tuple[Any, list[tuple[int, str]]]:
    """A YAML document as a JSON tree, and keys given twice as (line, quoted key).

    Raises ValueError for what is no YAML, has no JSON form, or grows out of hand by aliases.
    """
    try:
        loader = _Loader(body)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, []
            doubled = _doubled_keys(node)
            tree = loader.construct_document(node)
        finally:
            loader.dispose()
        # A round trip through JSON keeps out what JSON has no form for.
        return orjson.loads(orjson.dumps(tree, option=orjson.OPT_NON_STR_KEYS)), doubled
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _doubled_keys(root: yaml.Node) -> list[tuple[int, str]]:
    """Walks the document as it will be written out, so aliases count each time."""
    found: list[tuple[int, str]] = []
    pending = [root]
    left = NODES_LIMIT
    while pending:
        node = pending.pop()
        left -= 1
        if left < 0:
            raise ValueError("yaml: document contains excessive aliasing")
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[tuple[str, str]] = set()
            for key, value in node.value:
                pending.append(value)
                if isinstance(key, yaml.ScalarNode):
                    name = (key.tag, key.value)
                    if name in seen:
                        found.append((key.start_mark.line + 1, quote(key.value)))
                    seen.add(name)
    return sorted(found)


def render_yaml(tree: Any) -> bytes:
    text: str = yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True)
    return text.encode()


class _Strict(yaml.SafeLoader):
    """A key that is given twice is a mistake, not a choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"duplicate key {min(twice)!r}", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load_strictly(content: bytes) -> Any:
    """A document in which no key is given twice. Raises ValueError."""
    try:
        return yaml.load(content, Loader=_Strict)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
