"""``kutter create role|clusterrole|rolebinding|clusterrolebinding``."""

from __future__ import annotations

import argparse
from typing import Any

from kutter.cli.command import CommandError, Parser
from kutter.cli.making import maker, need
from kutter.cli.session import Session

Tree = dict[str, Any]
_GROUP = "rbac.authorization.k8s.io"


def _split(words: list[str]) -> list[str]:
    return [part for word in words for part in word.split(",") if part]


def _role_flags(parser: Parser) -> None:
    for name, text in (
        ("verb", "get, list, watch, create ..."),
        ("resource", "pods, deployments.apps, pods/log ..."),
        ("resource-name", "only objects of this name"),
        ("non-resource-url", "a path such as /healthz (cluster roles)"),
    ):
        parser.add_argument(f"--{name}", metavar="NAME", action="append", default=[], help=text)


def _rules(session: Session, parsed: argparse.Namespace) -> list[Tree]:
    verbs = _split(need(parsed.verb, "verb"))
    rules: list[Tree] = []
    groups: dict[str, list[str]] = {}
    for word in _split(parsed.resource):
        name, _, subresource = word.partition("/")
        if name == "*":
            group, plural = "*", "*"
        else:
            resource = session.kinds.find(name)
            group, plural = resource.group, resource.plural
        groups.setdefault(group, []).append(f"{plural}/{subresource}" if subresource else plural)
    for group, plurals in groups.items():
        rule: Tree = {"verbs": verbs, "apiGroups": [group], "resources": plurals}
        if parsed.resource_name:
            rule["resourceNames"] = _split(parsed.resource_name)
        rules.append(rule)
    if parsed.non_resource_url:
        rules.append({"verbs": verbs, "nonResourceURLs": _split(parsed.non_resource_url)})
    if not rules:
        raise CommandError("at least one resource must be specified", hint="--resource=pods")
    return rules


def _role(kind: str) -> Any:
    def make(session: Session, parsed: argparse.Namespace) -> Tree:
        return {
            "apiVersion": f"{_GROUP}/v1",
            "kind": kind,
            "metadata": {"name": parsed.name},
            "rules": _rules(session, parsed),
        }

    return make


def _binding_flags(parser: Parser) -> None:
    parser.add_argument("--role", metavar="NAME", default="", help="the role given")
    parser.add_argument("--clusterrole", metavar="NAME", default="", help="the cluster role given")
    for name, text in (("user", "a user"), ("group", "a group"),
                       ("serviceaccount", "NAMESPACE:NAME")):  # fmt: skip
        parser.add_argument(f"--{name}", dest=f"for_{name}", metavar="NAME", action="append",
                            default=[], help=f"to {text}")  # fmt: skip


def _subjects(parsed: argparse.Namespace) -> list[Tree]:
    subjects: list[Tree] = []
    for kind, names in (("User", parsed.for_user), ("Group", parsed.for_group)):
        subjects += [{"kind": kind, "apiGroup": _GROUP, "name": name} for name in names]
    for word in parsed.for_serviceaccount:
        namespace, colon, name = word.partition(":")
        if not colon or not name:
            raise CommandError("serviceaccount must be <namespace>:<name>")
        subjects.append({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    return subjects


def _binding(kind: str) -> Any:
    def make(session: Session, parsed: argparse.Namespace) -> Tree:
        if bool(parsed.role) == bool(parsed.clusterrole):
            raise CommandError("exactly one of clusterrole or role must be specified")
        role_kind = "ClusterRole" if parsed.clusterrole else "Role"
        return {
            "apiVersion": f"{_GROUP}/v1",
            "kind": kind,
            "metadata": {"name": parsed.name},
            "subjects": _subjects(parsed),
            "roleRef": {
                "apiGroup": _GROUP,
                "kind": role_kind,
                "name": parsed.clusterrole or parsed.role,
            },
        }

    return make


COMMANDS = (
    maker(
        "role",
        "A role in a namespace",
        _role_flags,
        _role("Role"),
        ("kutter create role reader --verb=get,list --resource=pods",),
    ),
    maker(
        "clusterrole",
        "A role in the whole cluster",
        _role_flags,
        _role("ClusterRole"),
        ("kutter create clusterrole reader --verb=get,list,watch --resource=nodes",),
    ),
    maker(
        "rolebinding",
        "Give a role to somebody in a namespace",
        _binding_flags,
        _binding("RoleBinding"),
        ("kutter create rolebinding ann-reads --role=reader --user=ann",),
    ),
    maker(
        "clusterrolebinding",
        "Give a cluster role to somebody everywhere",
        _binding_flags,
        _binding("ClusterRoleBinding"),
        ("kutter create clusterrolebinding root --clusterrole=cluster-admin --user=ann",),
    ),
)
ALIASES: dict[str, Any] = {}
