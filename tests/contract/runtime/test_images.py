"""The image store: archives in, names, hostile layers, and what may be collected."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest
from tests.contract.runtime.world import World

from kutter.runtime.cri import ImagePullError, InvalidImageNameError
from kutter.runtime.embedded.assembly import build_images
from kutter.runtime.embedded.images import EmbeddedImages, ImageInUseError
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.testing.images import (
    Entry,
    build_image,
    build_layer,
    make_folder,
    make_hard_link,
    make_link,
)

pytestmark = pytest.mark.root


@pytest.fixture
def paths(tmp_path: Path) -> RuntimePaths:
    made = RuntimePaths(tmp_path / "root", tmp_path / "run")
    made.make()
    return made


@pytest.fixture
def images(paths: RuntimePaths) -> EmbeddedImages:
    store = build_images(paths)
    store.load()
    return store


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_imports_oci_archives(
    images: EmbeddedImages, tmp_path: Path, compression: str
) -> None:
    built = build_image(
        tmp_path / "a.tar", "example.test/app:2", {"f": "x"}, compression=compression, user="app"
    )
    (image,) = await images.import_archive(built.path)
    assert image.id == built.id
    assert image.repo_tags == ("example.test/app:2",)
    assert image.repo_digests == (f"example.test/app@{built.manifest_digest}",)
    assert (image.uid, image.username) == (None, "app")
    assert await images.image("example.test/app:2") == image
    assert await images.image(image.id) == image
    assert await images.image(image.id[7:20]) == image
    assert await images.image("app:2") is None


async def test_imports_docker_save_archives_also_compressed(
    images: EmbeddedImages, tmp_path: Path
) -> None:
    built = build_image(
        tmp_path / "a.tar", "app:1", {"b": "2"}, layers=[{"a": "1"}], layout="docker"
    )
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(built.path.read_bytes()))
    (image,) = await images.import_archive(packed)
    assert (image.id, image.repo_tags) == (built.id, ("docker.io/library/app:1",))


async def test_a_tag_moves_and_the_older_image_stays(
    images: EmbeddedImages, tmp_path: Path
) -> None:
    first = build_image(tmp_path / "1.tar", "app:1", {"f": "1"})
    second = build_image(tmp_path / "2.tar", "app:1", {"f": "2"})
    await images.import_archive(first.path)
    await images.import_archive(second.path)
    assert (await images.image("app:1")).id == second.id  # type: ignore[union-attr]
    assert (await images.image(first.id)).repo_tags == ()  # type: ignore[union-attr]
    await images.import_archive(first.path, tag="other:3")
    assert (await images.image("other:3")).id == first.id  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "content", [b"", b"nonsense" * 100, gzip.compress(b"x" * 5000), b"\x1f\x8bbroken"]
)
async def test_what_is_no_archive_is_refused(
    images: EmbeddedImages, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(content)
    with pytest.raises(ImagePullError):
        await images.import_archive(path)


async def test_an_archive_that_lacks_a_layer_is_refused(
    images: EmbeddedImages, tmp_path: Path
) -> None:
    built = build_image(tmp_path / "a.tar", "app:1", {"f": "x"})
    missing = "blobs/" + built.layer_digests[0].replace(":", "/")
    with tarfile.open(built.path) as whole, tarfile.open(tmp_path / "b.tar", "w") as part:
        for member in whole:
            if member.name != missing:
                part.addfile(member, whole.extractfile(member))
    with pytest.raises(ImagePullError, match="lacks blob"):
        await images.import_archive(tmp_path / "b.tar")
    assert await images.list_images() == []


async def test_state_survives_and_half_made_layers_do_not(
    images: EmbeddedImages, paths: RuntimePaths, tmp_path: Path
) -> None:
    built = build_image(tmp_path / "a.tar", "app:1", {"f": "x"})
    await images.import_archive(built.path)
    (paths.layers / "0123456789abcdef" / "diff").mkdir(parents=True)
    again = build_images(paths)
    again.load()
    assert await again.list_images() == await images.list_images()
    assert not (paths.layers / "0123456789abcdef").exists()
    for marker in paths.layers.glob("*/layer.json"):
        marker.unlink()
    damaged = build_images(paths)
    damaged.load()
    assert await damaged.list_images() == []


async def test_names_that_cannot_be(images: EmbeddedImages) -> None:
    for name in ("UPPER/Case:x:y", "app:", "-app", "app@sha256:12", "a" * 300, ""):
        with pytest.raises(InvalidImageNameError):
            await images.pull(name)


async def test_garbage_goes_oldest_use_first(images: EmbeddedImages, tmp_path: Path) -> None:
    shared = {"base": b"s" * 10_000}
    built = [
        build_image(
            tmp_path / f"{n}.tar", f"app:{n}", {"own": bytes([n]) * 50_000}, layers=[shared]
        )
        for n in range(4)
    ]
    for image in built:
        await images.import_archive(image.path)
    await images.pin("app:0")
    for number in (2, 1):  # 3 was never used, 2 before 1
        images.touch(images.find(f"app:{number}"))  # type: ignore[arg-type]
    images.in_use = lambda: {built[2].id}
    assert await images.collect_garbage(free_bytes=1 << 40, minimum_age_s=3600) == []
    removed = await images.collect_garbage(free_bytes=1, minimum_age_s=0)
    assert [image.id for image in removed] == [built[3].id]
    removed = await images.collect_garbage(free_bytes=1 << 40, minimum_age_s=0)
    assert [image.id for image in removed] == [built[1].id]
    left = {image.id for image in await images.list_images()}
    assert left == {built[0].id, built[2].id}  # pinned, in use
    used, capacity = await images.usage_bytes()
    assert 110_000 <= used < 200_000
    assert capacity > used
    with pytest.raises(ImageInUseError):
        await images.remove_image("app:2")
    images.in_use = lambda: ()
    await images.remove_image("app:2")
    await images.remove_image("app:2")
    await images.remove_image("app:0")
    assert list(images.layers.folder.iterdir()) == []
    assert images.content.list_digests() == []


# What layers do to a root file system


async def _import(world: World, **options: object) -> None:
    built = build_image(world.base / "layered.tar", "layered:1", **options)  # type: ignore[arg-type]
    await world.images.import_archive(built.path)


async def _look(world: World, script: str) -> list[str]:
    """Run a script in ``layered:1``, whose layers bring busybox."""
    sandbox = await world.sandbox()
    code, text = await world.output(sandbox, script, image="layered:1")
    assert code == 0, text
    return text.splitlines()


def _base() -> dict[str, object]:
    from kutter.testing.images import list_busybox_files

    return dict(list_busybox_files())


async def test_whiteouts_and_opaque_folders(world: World) -> None:
    lower = {**_base(), "d/one": "1", "d/two": "2", "e/old": "o", "e/sub/deep": "x", "gone": "g"}
    upper = {"d/.wh.one": "", "e/new": "n", "e/.wh..wh..opq": "", ".wh.gone": ""}
    await _import(world, layers=[lower, upper, {"d/three": "3"}])
    assert await _look(world, "find d e gone -type f 2>/dev/null | sort; true") == [
        "d/three",
        "d/two",
        "e/new",
    ]


async def test_owners_modes_times_links_devices(world: World) -> None:
    files = {
        **_base(),
        "owned": Entry(b"x", mode=0o4755, uid=1234, gid=4321, mtime=1_234_567_890),
        "sticky": make_folder(0o1777, uid=7),
        "sticky/file": "y",
        "hard": make_hard_link("owned"),
        "null": Entry(kind=tarfile.CHRTYPE, mode=0o666, device=(1, 3)),
        "pipe": Entry(kind=tarfile.FIFOTYPE, mode=0o600),
        "capable": Entry(b"z", mode=0o755, xattrs={"user.note": b"\xff\x00raw"}),
    }
    await _import(world, layers=[files, {"later": make_hard_link("owned")}])
    shown = await _look(
        world,
        "stat -c '%a %u %g %Y %h' owned later; stat -c '%a %u' sticky; stat -c '%F %t %T' null;"
        " stat -c %F pipe; cat later",
    )
    # A link from a later layer copies the file up and keeps what it is.
    assert [line.rpartition(" ")[0] for line in shown[:2]] == ["4755 1234 4321 1234567890"] * 2
    assert shown[2:] == ["1777 7", "character special file 1 3", "fifo", "x"]
    diff = next(world.paths.layers.glob("*/diff/capable"))
    assert os.getxattr(diff, "user.note") == b"\xff\x00raw"


async def test_hostile_names_stay_inside(world: World) -> None:
    outside = world.base / "outside"
    outside.mkdir()
    escape = str(outside).lstrip("/")
    files = {
        **_base(),
        f"../../../../../../../../{escape}/dotdot": "evil",
        f"/{escape}/absolute": "evil",
        "way": make_link(str(outside)),
        "way/through-link": "evil",
        "up": make_link("../../../../../../../.."),
        f"up/{escape}/through-up": "evil",
        "passwd": make_hard_link("../../../../etc/hostname-of-the-host"),
    }
    with pytest.raises(ImagePullError):  # the hard link's target does not exist inside
        await _import(world, layers=[files])
    files.pop("passwd")
    await _import(world, layers=[files])
    assert list(outside.iterdir()) == []
    assert await _look(world, f"ls /{escape}") == [
        "absolute",
        "dotdot",
        "through-link",
        "through-up",
    ]


async def test_a_folder_behind_a_link_of_a_lower_layer(world: World) -> None:
    """As in merged-/usr images: ``lib`` is a link below, a layer brings ``lib/x``."""
    lower = {**_base(), "usr/lib/a": "a", "lib": make_link("usr/lib")}
    await _import(world, layers=[lower, build_layer({"lib/b": "b"}, parents=False)])
    assert await _look(world, "readlink lib; ls usr/lib") == ["usr/lib", "a", "b"]


async def test_a_layer_keeps_owners_of_folders_it_does_not_name(world: World) -> None:
    lower = {**_base(), "data": make_folder(0o711, uid=55)}
    await _import(world, layers=[lower, build_layer({"data/file": "x"}, parents=False)])
    assert await _look(world, "stat -c '%a %u' data") == ["711 55"]


async def test_refuses_overlay_marks_from_images(world: World) -> None:
    evil = {"d": Entry(kind=tarfile.DIRTYPE, xattrs={"trusted.overlay.opaque": b"y"})}
    with pytest.raises(ImagePullError, match="refused extended attribute"):
        await _import(world, layers=[_base(), evil])


async def test_very_many_layers(world: World) -> None:
    layers = [_base(), *({f"n{number}": str(number)} for number in range(50))]
    await _import(world, layers=layers)
    assert await _look(world, "ls -d n* | wc -l; cat n0 n49") == ["50", "049"]
