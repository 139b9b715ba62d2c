#!/bin/sh
# Run every test this machine can run; say plainly which it cannot, and fail for that in CI.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" = 0 ]; then
    exec .venv/bin/python -m pytest -q "$@"
fi
echo "NOT RUN: tests marked root and e2e need namespaces, mounts, cgroups and nft."
echo "Run 'sudo make test' to run them too."
[ -z "${CI:-}" ] || exit 1
exec .venv/bin/python -m pytest -q -m "not root and not e2e" "$@"
