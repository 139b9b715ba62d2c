#!/bin/sh
# What a cluster makes of limits on this kernel, by whichever version of cgroups it mounts, shown
# step by step; made to be run by tools/kernel-vm.sh [--runtime R] [--cgroups C] sh tools/kernel-tour.sh
# Fails at the first thing that is not as it should be.
set -eu
kutter=.venv/bin/kutter
step() { echo "--- $*"; }
wait_for() { # SECONDS COMMAND...
    left=$1
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "not in time: $*"; exit 1; }
        sleep 1
    done
}
step up
$kutter up --wait 300
systemctl is-active kutter.service
PYTHONPATH=. .venv/bin/python -c '
from pathlib import Path
from tests.e2e.images import build_tools_image
print(build_tools_image(Path("/tmp")).path)' >/tmp/image
$kutter image import "$(cat /tmp/image)" 2>&1 | cat
cat >/tmp/pods.yaml <<'PODS'
apiVersion: v1
kind: Pod
metadata: {name: sized}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: tools:1
      command: [sh, -c, "sleep 3600"]
      resources:
        requests: {cpu: 250m, memory: 32Mi}
        limits: {cpu: 500m, memory: 64Mi}
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
    - name: c
      image: tools:1
      command: [sh, -c, "head -c 200000000 /dev/zero | tail"]
      resources:
        limits: {memory: 20Mi}
PODS
$kutter create -f /tmp/pods.yaml
step "limits of the container, from its own cgroup files"
wait_for 120 sh -c "$kutter wait pod/sized --for=condition=Ready --timeout=1s"
pid=$(pgrep -f '^sleep 3600' | head -1)
mounts=$(awk '$3 ~ /^cgroup/ {print $3, $2, $4}' /proc/mounts)
echo "$mounts" | cut -d' ' -f1,2
is() { # FILE VALUE: what the kernel has for the container, and for its pod
    [ -e "$1" ] || { echo "no $1"; exit 1; }
    echo "$1: $(cat "$1")"
    [ "$(cat "$1")" = "$2" ] || { echo "expected $2"; exit 1; }
}
folder() { # CONTROLLER: the container's group in that controller's hierarchy
    if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
        echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")"
    else
        at=$(awk -v c="$1" '$3 == "cgroup" && ("," $4 ",") ~ ("," c ",") {print $2}' /proc/mounts | head -1)
        echo "$at$(awk -F: -v c="$1" '("," $2 ",") ~ ("," c ",") {print $3}' "/proc/$pid/cgroup")"
    fi
}
cpu=$(folder cpu)
memory=$(folder memory)
for where in "$cpu" "$(dirname "$cpu")"; do
    if [ -e "$where/cpu.max" ]; then
        is "$where/cpu.max" "50000 100000"
        is "$where/cpu.weight" 35 # of 256 shares
    else
        is "$where/cpu.cfs_quota_us" 50000
        is "$where/cpu.cfs_period_us" 100000
        is "$where/cpu.shares" 256
    fi
done
for where in "$memory" "$(dirname "$memory")"; do
    if [ -e "$where/memory.max" ]; then
        is "$where/memory.max" 67108864
    else
        is "$where/memory.limit_in_bytes" 67108864
    fi
done
step "more memory than allowed"
wait_for 120 sh -c "$kutter get pod greedy -o jsonpath='{.status.containerStatuses[0].state.terminated.reason}' | grep OOMKilled"
$kutter get pod greedy
step "kill -9 of server, agent and supervisor"
kill -9 $(cut -d' ' -f1 /run/kutter/server.pid /run/kutter/agent.pid /run/kutter/supervisor.pid)
wait_for 120 sh -c "$kutter status && $kutter get --raw /readyz"
$kutter status
[ "$(pgrep -f '^sleep 3600' | head -1)" = "$pid" ]
echo "the container was not touched: pid $pid"
step down
$kutter down --purge
left=$(pgrep -af 'kutter|conmon' | grep -v kernel-tour || true; nft list tables; ip -br link | grep kut || true
    ls -d /sys/fs/cgroup/kutter* /sys/fs/cgroup/*/kutter /run/kutter /var/lib/kutter /var/log/kutter 2>/dev/null || true
    systemctl list-units --all --plain --no-legend 'kutter.*' || true)
echo "left behind: ${left:-nothing}"
[ -z "$left" ]
