"""``kutter auth``: who one is and what one may do."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.printers.tabs import Tabs
from kutter.cli.session import Session

Tree = dict[str, Any]
_API = "authorization.k8s.io/v1"


def _can_i_flags(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="VERB TYPE[/NAME]", help="what is asked about")
    parser.add_argument("--subresource", metavar="NAME", default="", help="such as log, scale")
    parser.switch("--list", help="everything that is allowed")
    parser.switch("-A", "--all-namespaces", help="in all namespaces")
    parser.switch("-q", "--quiet", help="only the exit code")
    parser.switch("--no-headers", help="no column headers")
    add_connection_flags(parser)


def _can_i(parsed: argparse.Namespace) -> int:
    session = open_session(parsed)
    if parsed.list:
        return _list_rules(session, parsed)
    if len(parsed.words) not in (2, 3):
        raise CommandError(
            "you must specify two arguments: verb resource or verb resource/resourceName"
        )
    spec = _question(session, parsed)
    body = {"apiVersion": _API, "kind": "SelfSubjectAccessReview", "spec": spec}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    status = session.call("POST", path, body=body).get("status") or {}
    allowed = bool(status.get("allowed"))
    if not parsed.quiet:
        reason = f" - {status['reason']}" if status.get("reason") and not allowed else ""
        print(f"{'yes' if allowed else 'no'}{reason}")
    return 0 if allowed else 1


def _question(session: Session, parsed: argparse.Namespace) -> Tree:
    verb, what = parsed.words[0], parsed.words[1]
    if what.startswith("/"):
        return {"nonResourceAttributes": {"verb": verb, "path": what}}
    kind, _, name = what.partition("/")
    if len(parsed.words) == 3:
        name = parsed.words[2]
    attributes: Tree = {"verb": verb, "resource": kind, "group": ""}
    namespaced = True
    if kind == "*":
        attributes["group"] = "*"
    else:
        try:
            resource = session.kinds.find(kind)
        except CommandError:
            print(f"Warning: the server doesn't have a resource type '{kind}'\n", file=sys.stderr)
        else:
            attributes |= {"resource": resource.plural, "group": resource.group}
            namespaced = resource.namespaced
    if namespaced and not parsed.all_namespaces:
        attributes["namespace"] = session.namespace
    if name:
        attributes["name"] = name
    if parsed.subresource:
        attributes["subresource"] = parsed.subresource
    return {"resourceAttributes": attributes}


def _list_rules(session: Session, parsed: argparse.Namespace) -> int:
    body = {
        "apiVersion": _API,
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": session.namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = session.call("POST", path, body=body).get("status") or {}
    rows: list[tuple[str, list[str], list[str], list[str]]] = []
    for rule in status.get("resourceRules") or ():
        for group in rule.get("apiGroups") or [""]:
            for plural in rule.get("resources") or ():
                name = f"{plural}.{group}" if group else plural
                rows.append((name, [], rule.get("resourceNames") or [], rule.get("verbs") or []))
    for rule in status.get("nonResourceRules") or ():
        rows.append(("", rule.get("nonResourceURLs") or [], [], rule.get("verbs") or []))
    lines = [] if parsed.no_headers else [
        ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]
    ]  # fmt: skip
    for name, *lists in sorted(rows, key=lambda row: (not row[0], row[0])):
        lines.append([name, *(f"[{' '.join(values)}]" for values in lists)])
    print("\n".join(Tabs().render(lines)))
    return 0


def _whoami_flags(parser: Parser) -> None:
    parser.add_argument("-o", "--output", metavar="FORM", default="", help="json or yaml")
    add_connection_flags(parser)


def _whoami(parsed: argparse.Namespace) -> int:
    session = open_session(parsed)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = session.call("POST", path, body=body)
    if parsed.output:
        from kutter.cli.printers.output import Output, render

        sys.stdout.write(render(Output(parsed.output, allowed=("json", "yaml")), answer))
        return 0
    user = (answer.get("status") or {}).get("userInfo") or {}
    rows = [["ATTRIBUTE", "VALUE"], ["Username", user.get("username", "")]]
    if user.get("uid"):
        rows.append(["UID", user["uid"]])
    if user.get("groups"):
        rows.append(["Groups", f"[{' '.join(user['groups'])}]"])
    for key, values in sorted((user.get("extra") or {}).items()):
        rows.append([f"Extra: {key}", f"[{' '.join(values)}]"])
    print("\n".join(Tabs().render(rows)))
    return 0


_SUBCOMMANDS = (
    Command(
        name="can-i",
        summary="Tell whether something is allowed",
        configure=_can_i_flags,
        run=_can_i,
        examples=(
            "kutter auth can-i create deployments",
            "kutter auth can-i get pods --subresource=log --as ann",
            "kutter auth can-i --list",
        ),
    ),
    Command(
        name="whoami",
        summary="Tell who the server takes one for",
        configure=_whoami_flags,
        run=_whoami,
        examples=("kutter auth whoami",),
    ),
)

COMMAND = Command(
    name="auth",
    summary="Tell who one is and what one may do",
    examples=("kutter auth can-i create pods", "kutter auth whoami"),
    subcommands={c.name: c for c in _SUBCOMMANDS},
)
