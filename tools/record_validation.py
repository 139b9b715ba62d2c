"""Write into golden validation files what a real server answers to their cases.

    python tools/record_validation.py --kubeconfig FILE --namespace NAME CASES.json ...

The server should be an upstream one without controllers, as these write where cases read. The
namespace is used as it is, with a ``default`` service account in it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.validation_cases import Ask, Got, Play, Script, expected

from kutter.client import kubeconfig
from kutter.client.credentials import Credentials


class Server:
    """One connection to the server of a kubeconfig with client certificates."""

    def __init__(self, file: Path) -> None:
        found = kubeconfig.load_connection(file)
        address = urlsplit(found.server)
        context = Credentials(found).tls()
        self._connection = http.client.HTTPSConnection(address.netloc, context=context)

    def ask(self, ask: Ask) -> Got:
        path = f"{ask.path}?{urlencode(ask.query)}" if ask.query else ask.path
        body = None if ask.body is None else json.dumps(ask.body).encode()
        headers = {"content-type": ask.media, "accept": "application/json"}
        self._connection.request(ask.method, path, body, headers)
        try:
            response = self._connection.getresponse()
        except http.client.RemoteDisconnected as error:
            # What makes the server's handler fail is no fact to keep.
            error.add_note(f"{ask}")
            raise
        warnings = tuple(response.headers.get_all("warning") or ())
        data = response.read()
        try:
            return Got(response.status, json.loads(data), warnings)
        except ValueError:
            return Got(response.status, data.decode(), warnings)

    def run(self, play: Play) -> Any:
        answer: Any = None
        while True:
            try:
                ask = play.send(answer)
            except StopIteration as done:
                return done.value
            answer = self.ask(ask)


def record(server: Server, file: Path, namespace: str) -> None:
    tree = json.loads(file.read_text())
    script = Script(tree, namespace)
    server.run(script.setup())
    tree["created"] = server.run(script.create_base())
    found = server.run(script.play(tree["cases"], tree["created"]))
    server.run(script.teardown())
    bare = [{k: v for k, v in c.items() if k not in expected(c)} for c in tree["cases"]]
    tree["cases"] = [case | one for case, one in zip(bare, found, strict=True)]
    file.write_text(render(tree))


def render(tree: dict[str, Any]) -> str:
    """One line per case, so that changes can be read."""
    heads = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in tree.items() if k != "cases"]
    cases = ",\n".join(json.dumps(case, ensure_ascii=False) for case in tree["cases"])
    return "{\n" + ",\n".join(heads) + ',\n"cases": [\n' + cases + "\n]\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    server = Server(options.kubeconfig)
    for file in options.files:
        record(server, file, options.namespace)


if __name__ == "__main__":
    main()
