#!/bin/sh
# Run a command of this tree under another kernel, runtime and version of cgroups, with systemd:
# Debian's kernel in a virtual machine, emulated in software, so that it works anywhere. Offline.
#
# Usage (root): tools/kernel-vm.sh [--runtime runc|crun] [--cgroups 2|hybrid|1] COMMAND [ARGUMENT...]
#   tools/kernel-vm.sh .venv/bin/python -m pytest -q tests/node/linux
#   tools/kernel-vm.sh --cgroups 1 sh tools/kernel-tour.sh
# The command's output is printed; its exit code is this script's. The image is built once, in
# KUTTER_VM_DIR (default /var/tmp/kutter-vm, 2 GB); remove that folder to build it anew.
# Needs: mmdebstrap qemu-system-x86 e2fsprogs; KUTTER_VM_MINUTES (default 60) bounds a run.
set -eu
cd "$(dirname "$0")/.."
runtime=runc
cgroups=2
while :; do
    case "${1:-}" in
        --runtime) runtime=${2:-} ;;
        --cgroups) cgroups=${2:-} ;;
        *) break ;;
    esac
    [ $# -gt 1 ] || break
    shift 2
done
[ $# -gt 0 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
case $runtime in runc | crun) ;; *) echo "--runtime is runc or crun" >&2; exit 2 ;; esac
case $cgroups in
    2) hierarchy="systemd.unified_cgroup_hierarchy=1" ;;
    hybrid) hierarchy="systemd.unified_cgroup_hierarchy=0" ;;
    1) hierarchy="systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1" ;;
    *) echo "--cgroups is 2, hybrid or 1" >&2; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || { echo "Building the image needs root." >&2; exit 1; }
for tool in mmdebstrap qemu-system-x86_64 mkfs.ext4; do
    command -v $tool >/dev/null || {
        echo "Missing: $tool. apt-get install mmdebstrap qemu-system-x86 e2fsprogs" >&2
        exit 1
    }
done

place=${KUTTER_VM_DIR:-/var/tmp/kutter-vm}
home=/opt/kutter
mkdir -p "$place"
packages=linux-image-cloud-amd64,systemd-sysv,dbus,udev,kmod,ca-certificates,git
packages=$packages,python3,python3-venv,runc,crun,conmon,nftables,iptables,iproute2,procps
packages=$packages,busybox-static,skopeo,docker-registry,curl,sudo,make,kubernetes-client
key=$({ sed -n '/^dependencies/,/^\[project.scripts/p' pyproject.toml
    sed -n '/^packages=/p; /^build()/,/^}/p' tools/kernel-vm.sh; } | sha256sum)

build() {
    root=$place/root
    rm -rf "$root" "$place/root.img" "$place/key"
    echo "Building the virtual machine's image in $place (once)" >&2
    mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' \
        --include=$packages "${KUTTER_VM_SUITE:-bookworm}" "$root"
    # This machine's kubectl where there is one: the distribution's is old.
    ! command -v kubectl >/dev/null || install "$(readlink -f "$(command -v kubectl)")" \
        "$root/usr/local/bin/kubectl"
    # What the tree needs from PyPI; the tree itself comes with every run.
    mkdir -p "$root$home/src/kutter"
    cp pyproject.toml "$root$home"
    for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e $file ] || cp -L $file "$root$file"
    done
    chroot "$root" python3 -m venv /opt/venv
    (cd /; PIP_FIND_LINKS= chroot "$root" /opt/venv/bin/pip install -q --no-cache-dir -e "$home[test]")
    cat >"$root/opt/run" <<'RUN'
#!/bin/sh
# Started by kutter-run.service: the command the host asked for, on the serial line.
exec </dev/null >/dev/ttyS0 2>&1
stty -F /dev/ttyS0 raw 2>/dev/null
mount -o ro /dev/vdb /mnt
cp -a /mnt/tree/. /opt/kutter
ln -sfn /opt/venv /opt/kutter/.venv
ip link set lo up
device=$(ls /sys/class/net | grep -v '^lo$' | head -1)
ip address add 10.0.2.15/24 dev "$device"
ip link set "$device" up
ip route add default via 10.0.2.2
if [ "$(cat /mnt/runtime)" = crun ]; then rm -f /usr/sbin/runc /usr/bin/runc; fi
cd /opt/kutter
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CI="$(cat /mnt/ci)"
echo "=== kutter-vm begins: $(uname -r), cgroups $(cat /mnt/cgroups), $(cat /mnt/runtime)"
sh /mnt/command
echo "=== kutter-vm ends: $?"
sync
systemctl poweroff --force --no-wall
RUN
    chmod +x "$root/opt/run"
    cat >"$root/etc/systemd/system/kutter-run.service" <<'UNIT'
[Unit]
After=systemd-udev-settle.service dbus.service
[Service]
Type=simple
ExecStart=/opt/run
KillMode=process
[Install]
WantedBy=multi-user.target
UNIT
    ln -s ../kutter-run.service "$root/etc/systemd/system/multi-user.target.wants/"
    ln -s /dev/null "$root/etc/systemd/system/serial-getty@ttyS0.service"
    printf '/dev/vda / ext4 defaults 0 1\n' >"$root/etc/fstab"
    echo kutter-vm >"$root/etc/hostname"
    rm -rf "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root/usr/share/doc" "$root/usr/share/locale"
    cp "$root"/boot/vmlinuz-* "$place/kernel"
    cp "$root"/boot/initrd.img-* "$place/initrd"
    mkfs.ext4 -q -F -d "$root" "$place/root.img" 4G
    rm -rf "$root"
    echo "$key" >"$place/key"
}

[ "$(cat "$place/key" 2>/dev/null)" = "$key" ] || build

work=$(mktemp -d "$place/run.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work/disk/tree"
# The tree as it is here, uncommitted changes included, and what Python has compiled of it: doing
# that under emulation takes most of a minute.
{ git ls-files -z --cached --others --exclude-standard
    find src tests -name '*.cpython-311.pyc' -print0; } \
    | tar -c --null -T - --ignore-failed-read 2>/dev/null | tar -x -C "$work/disk/tree"
echo "$runtime" >"$work/disk/runtime"
echo "$cgroups" >"$work/disk/cgroups"
echo "${CI:-}" >"$work/disk/ci"
for word in "$@"; do printf "'%s' " "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done \
    >"$work/disk/command"
mkfs.ext4 -q -F -d "$work/disk" "$work/work.img" 256M

timeout "${KUTTER_VM_MINUTES:-60}m" nice qemu-system-x86_64 -accel tcg,thread=multi -cpu max \
    -smp 2 -m 3072 -nographic -monitor none -no-reboot \
    -kernel "$place/kernel" -initrd "$place/initrd" \
    -append "root=/dev/vda rw console=ttyS0 quiet $hierarchy systemd.show_status=false" \
    -drive "file=$place/root.img,format=raw,if=virtio,snapshot=on" \
    -drive "file=$work/work.img,format=raw,if=virtio,snapshot=on" \
    -nic user,restrict=on,model=virtio-net-pci </dev/null | sed -u 's/\r$//' | tee "$work/console" \
    | sed -un '/=== kutter-vm begins/,$p'
code=$(sed -n 's/.*=== kutter-vm ends: //p' "$work/console" | tail -1)
[ -n "$code" ] || { echo "The virtual machine ended without an answer:" >&2; tail -30 "$work/console" >&2; exit 1; }
exit "$code"
