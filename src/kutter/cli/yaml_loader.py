"""YAML read the way Kubernetes reads it: times stay text, keys are text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import yaml


@lru_cache(maxsize=1)
def loader() -> Any:
    """A safe loader class: libyaml's where it is there."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class KubernetesLoader(base):  # type: ignore[misc]
        """Without times, dates and numbers in base 60."""

    KubernetesLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self: Any, node: Any) -> Any:
        self.flatten_mapping(node)
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                key = _key_text(key)
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping

    KubernetesLoader.add_constructor("tag:yaml.org,2002:map", construct_mapping)
    return KubernetesLoader


def _key_text(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)
