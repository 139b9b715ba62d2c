from kutter.linux.mounts import parse_mountinfo

_TEXT = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
30 22 0:26 / /sys/fs/cgroup ro,nosuid shared:9 master:3 - tmpfs tmpfs ro,mode=755
41 22 0:4 net:[4026532000] /run/ns\040with\134odd rw - nsfs nsfs rw
50 22 0:5 /sub /only/slave rw master:7 - overlay overlay rw,lowerdir=a:b
broken line
"""


def test_reads_places_kinds_and_propagation():
    entries = parse_mountinfo(_TEXT)
    assert [(e.mount_point, e.kind, e.propagation) for e in entries] == [
        ("/", "ext4", "shared"),
        ("/sys/fs/cgroup", "tmpfs", "shared"),
        ("/run/ns with\\odd", "nsfs", "private"),
        ("/only/slave", "overlay", "slave"),
    ]
    assert entries[3].root == "/sub"
    assert entries[0].options == "rw,relatime,rw,discard"
