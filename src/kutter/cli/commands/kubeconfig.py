"""``kutter kubeconfig``: print the administrator's kubeconfig."""

from __future__ import annotations

import argparse
import sys

from kutter.cli.cluster_flags import add_place_flags, config_from
from kutter.cli.command import Command, CommandError


def configure(parser: argparse.ArgumentParser) -> None:
    add_place_flags(parser)
    parser.add_argument("--path", action="store_true", help="print only where the file is")


def run(parsed: argparse.Namespace) -> int:
    config = config_from(parsed)
    path = config.kubeconfig_file
    if parsed.path:
        print(path)
        return 0
    try:
        sys.stdout.write(path.read_text())
    except FileNotFoundError as error:
        raise CommandError(
            "there is no cluster on this machine yet", hint="start one with 'sudo kutter up'"
        ) from error
    except PermissionError as error:
        raise CommandError(
            f"{path} may be read by root only", hint="try 'sudo kutter kubeconfig'"
        ) from error
    return 0


COMMAND = Command(
    name="kubeconfig",
    summary="Print the administrator's kubeconfig",
    configure=configure,
    run=run,
    examples=("sudo kutter kubeconfig > ~/.kube/config", "kutter kubeconfig --path"),
)
