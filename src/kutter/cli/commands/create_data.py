"""``kutter create configmap|secret|serviceaccount|token``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.generators import pairs
from kutter.cli.making import maker, need
from kutter.cli.printers.output import read_text
from kutter.cli.session import Session

Tree = dict[str, Any]


def _data_flags(parser: Parser) -> None:
    parser.add_argument("--from-literal", metavar="KEY=VALUE", action="append", default=[],
                        help="a key and its value")  # fmt: skip
    parser.add_argument("--from-file", metavar="[KEY=]PATH", action="append", default=[],
                        help="a file, or every file of a folder")  # fmt: skip
    parser.add_argument("--from-env-file", metavar="PATH", action="append", default=[],
                        help="a file of NAME=value lines")  # fmt: skip


def _collect(parsed: argparse.Namespace) -> dict[str, bytes]:
    if parsed.from_env_file and (parsed.from_file or parsed.from_literal):
        raise CommandError("from-env-file cannot be combined with from-file or from-literal")
    found: dict[str, bytes] = dict(pairs.read_files(parsed.from_file))
    for texts in (
        pairs.parse_literals(parsed.from_literal),
        pairs.read_env_files(parsed.from_env_file),
    ):
        for key, value in texts.items():
            if key in found:
                raise CommandError(f"cannot add key {key}, another key by that name already exists")
            found[key] = value.encode()
    return found


def _config_map(session: Session, parsed: argparse.Namespace) -> Tree:
    tree: Tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": parsed.name}}
    for key, content in _collect(parsed).items():
        text = pairs.as_text(key, content)
        if text is not None:
            tree.setdefault("data", {})[key] = text
        else:
            tree.setdefault("binaryData", {})[key] = pairs.encode(content)
    return tree


def _secret(name: str, kind: str, data: dict[str, bytes]) -> Tree:
    tree: Tree = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    if kind:
        tree["type"] = kind
    if data:
        tree["data"] = {key: pairs.encode(content) for key, content in data.items()}
    return tree


def _generic_flags(parser: Parser) -> None:
    _data_flags(parser)
    parser.add_argument("--type", metavar="TYPE", default="", help="the secret's type")


def _generic(session: Session, parsed: argparse.Namespace) -> Tree:
    return _secret(parsed.name, parsed.type, _collect(parsed))


def _tls_flags(parser: Parser) -> None:
    parser.add_argument("--cert", metavar="FILE", default="", help="PEM certificate")
    parser.add_argument("--key", metavar="FILE", default="", help="PEM private key")


def _tls(session: Session, parsed: argparse.Namespace) -> Tree:
    data = {
        "tls.crt": read_text(need(parsed.cert, "cert")).encode(),
        "tls.key": read_text(need(parsed.key, "key")).encode(),
    }
    return _secret(parsed.name, "kubernetes.io/tls", data)


def _registry_flags(parser: Parser) -> None:
    for name, text in (("username", "user"), ("password", "password"), ("email", "mail address")):
        parser.add_argument(f"--docker-{name}", metavar="TEXT", default="", help=text)
    parser.add_argument("--docker-server", metavar="HOST", default="https://index.docker.io/v1/",
                        help="the registry")  # fmt: skip


def _registry(session: Session, parsed: argparse.Namespace) -> Tree:
    entry = {
        "username": need(parsed.docker_username, "docker-username"),
        "password": need(parsed.docker_password, "docker-password"),
        "email": parsed.docker_email,
        "auth": pairs.encode(f"{parsed.docker_username}:{parsed.docker_password}"),
    }
    if not entry["email"]:
        del entry["email"]
    config = {"auths": {parsed.docker_server: entry}}
    data = {".dockerconfigjson": json.dumps(config, separators=(",", ":")).encode()}
    return _secret(parsed.name, "kubernetes.io/dockerconfigjson", data)


def _account(session: Session, parsed: argparse.Namespace) -> Tree:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": parsed.name}}


def _no_flags(parser: Parser) -> None:
    """Nothing but the name."""


def _token_flags(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the service account")
    parser.add_argument("--duration", metavar="TIME", default="", help="how long it is valid")
    parser.add_argument("--audience", metavar="NAME", action="append", default=[], help="for whom")
    parser.add_argument("--bound-object-kind", metavar="KIND", default="", help="Pod, Secret, Node")
    parser.add_argument("--bound-object-name", metavar="NAME", default="", help="its name")
    parser.add_argument("--bound-object-uid", metavar="UID", default="", help="its uid")
    add_change_flags(parser, manager="kubectl-create")
    add_connection_flags(parser)


def _token(parsed: argparse.Namespace) -> int:
    session, change = open_session(parsed), Change(parsed)
    spec: Tree = {}
    if parsed.audience:
        spec["audiences"] = parsed.audience
    if parsed.duration:
        from kutter.cli.moments import duration

        spec["expirationSeconds"] = int(duration(parsed.duration, "--duration"))
    if parsed.bound_object_kind:
        spec["boundObjectRef"] = {
            "apiVersion": "v1",
            "kind": parsed.bound_object_kind,
            "name": need(parsed.bound_object_name, "bound-object-name"),
        }
        if parsed.bound_object_uid:
            spec["boundObjectRef"]["uid"] = parsed.bound_object_uid
    resource = session.kinds.find("serviceaccounts")
    path = resource.path(session.namespace, parsed.name, "token")
    body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
    made = session.call("POST", path, body=body)
    if change.output.form:
        change.say(resource, made, "")
    else:
        print(made["status"]["token"])
    return 0


_SECRETS = (
    maker(
        "generic",
        "A secret from values and files",
        _generic_flags,
        _generic,
        ("kutter create secret generic db --from-literal=password=s3cret",),
    ),
    maker(
        "tls",
        "A secret with a certificate and its key",
        _tls_flags,
        _tls,
        ("kutter create secret tls web --cert=web.crt --key=web.key",),
    ),
    maker(
        "docker-registry",
        "Credentials of an image registry",
        _registry_flags,
        _registry,
        (
            (
                "kutter create secret docker-registry reg --docker-server=registry.example.org"
                " --docker-username=me --docker-password=pw"
            ),
        ),
    ),
)
COMMANDS = (
    maker(
        "configmap",
        "A config map from values and files",
        _data_flags,
        _config_map,
        (
            "kutter create configmap settings --from-literal=color=blue",
            "kutter create configmap files --from-file=conf.d/",
        ),
    ),
    Command(
        name="secret",
        summary="A secret",
        examples=("kutter create secret generic db --from-literal=password=s3cret",),
        subcommands={c.name: c for c in _SECRETS},
    ),
    maker(
        "serviceaccount",
        "A service account",
        _no_flags,
        _account,
        ("kutter create serviceaccount builder",),
    ),
    Command(
        name="token",
        summary="A token of a service account",
        configure=_token_flags,
        run=_token,
        examples=("kutter create token builder --duration=1h",),
    ),
)
_by_name = {c.name: c for c in COMMANDS}
ALIASES = {"cm": _by_name["configmap"], "sa": _by_name["serviceaccount"]}
