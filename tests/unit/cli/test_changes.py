"""Commands that change objects, against a real API server."""

from __future__ import annotations

import json
import stat

import pytest

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {a: "1", b: "2"}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "web:1", ports: [{containerPort: 80}]}
      - {name: side, image: "side:1"}
"""


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "web.yaml"
    path.write_text(DEPLOYMENT)
    return path


def get(cli, namespace, what):
    return json.loads(cli.ok("get", what, "-n", namespace, "-o", "json"))


def test_apply_creates_configures_and_leaves_unchanged(cli, namespace, manifest):
    apply = ("apply", "-n", namespace, "-f", str(manifest))
    assert cli.ok(*apply) == "deployment.apps/web created\n"
    assert cli.ok(*apply) == "deployment.apps/web unchanged\n"
    cli.ok("scale", "-n", namespace, "deploy/web", "--replicas=5")
    cli.ok("label", "-n", namespace, "deploy/web", "theirs=kept")
    text = DEPLOYMENT.replace('b: "2"', 'c: "3"').replace("  replicas: 2\n", "")
    manifest.write_text(text.replace("web:1", "web:2"))
    assert cli.ok(*apply) == "deployment.apps/web configured\n"
    tree = get(cli, namespace, "deploy/web")
    assert tree["metadata"]["labels"] == {"a": "1", "c": "3", "theirs": "kept"}
    images = [c["image"] for c in tree["spec"]["template"]["spec"]["containers"]]
    assert images == ["web:2", "side:1"]
    # The manifest no longer speaks of replicas, so they fall back to the default.
    assert tree["spec"]["replicas"] == 1


def test_apply_in_dry_run_changes_nothing(cli, namespace, manifest):
    said = cli.ok("apply", "-n", namespace, "-f", str(manifest), "--dry-run=server")
    assert said == "deployment.apps/web created (server dry run)\n"
    assert "not found" in cli.fails("get", "deploy/web", "-n", namespace)


def test_apply_adopts_what_create_made(cli, namespace, manifest):
    cli.ok("create", "-n", namespace, "-f", str(manifest))
    outcome = cli("apply", "-n", namespace, "-f", str(manifest))
    assert "missing the kubectl.kubernetes.io/last-applied-configuration" in outcome.err
    assert outcome.out == "deployment.apps/web configured\n"


def test_several_documents_go_on_past_a_failure(cli, namespace):
    text = "\n---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}" for name in ("a", "B!", "c")
    )
    outcome = cli("apply", "-n", namespace, "-f", "-", stdin=text)
    assert outcome.code == 1
    assert outcome.out == "configmap/a created\nconfigmap/c created\n"
    assert 'The ConfigMap "B!" is invalid: metadata.name' in outcome.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "line 2, column 1"),
        ("a: b\n\tc: d\n", "line 2"),
        ("- a\n- b\n", "a manifest is a map"),
        ("kind: Pod\n", "apiVersion not set"),
        ("apiVersion: v1\nmetadata: {}\n", "kind not set"),
        ("apiVersion: v1\nkind: [Pod]\n", "kind is a list"),
        ("apiVersion: v1\nkind: Nope\nmetadata: {name: x}\n", 'no matches for kind "Nope"'),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nnope: 1\n", "unknown field"),
        ("", "no objects passed"),
        ('{"apiVersion": "v1", "kind": ', "not valid YAML"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: 7\n", "metadata is a number"),
    ],
)
def test_bad_manifests_are_named_not_traced(cli, namespace, text, says):
    said = cli.fails("create", "-n", namespace, "-f", "-", stdin=text)
    assert says in said


def test_folders_lists_and_json(cli, namespace, tmp_path):
    folder = tmp_path / "manifests"
    (folder / "deeper").mkdir(parents=True)
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    both = [item, {**item, "metadata": {"name": "b"}}]
    (folder / "list.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": both})
    )
    (folder / "deeper/c.yml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    (folder / "notes.txt").write_text("not a manifest")
    assert cli.ok("create", "-n", namespace, "-f", str(folder)).split() == [
        "configmap/a", "created", "configmap/b", "created",
    ]  # fmt: skip
    assert "configmap/c created" in cli("create", "-n", namespace, "-R", "-f", str(folder)).out


def test_a_manifests_namespace_must_not_contradict_the_flag(cli, namespace):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\n"
    assert "does not match the namespace" in cli.fails(
        "create", "-n", namespace, "-f", "-", stdin=text
    )


def test_delete_waits_and_forgives(cli, namespace):
    cli.ok("create", "configmap", "a", "-n", namespace, "--from-literal=x=1")
    cli.ok("create", "configmap", "b", "-n", namespace)
    assert cli.ok("delete", "cm", "a", "b", "-n", namespace) == (
        'configmap "a" deleted\nconfigmap "b" deleted\n'
    )
    assert "(NotFound)" in cli.fails("delete", "cm", "a", "-n", namespace)
    assert cli.ok("delete", "cm", "a", "-n", namespace, "--ignore-not-found") == ""
    assert "no name was specified" in cli.fails("delete", "cm", "-n", namespace)


def test_delete_by_label_and_timeout(cli, server, namespace):
    held = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "labels": {"l": "1"}, "finalizers": ["example.org/hold"]},
    }  # fmt: skip
    server.make(f"/api/v1/namespaces/{namespace}/configmaps", held)
    said = cli.fails("delete", "cm", "-l", "l=1", "-n", namespace, "--timeout=100ms")
    assert "timed out waiting for the condition on configmaps/held" in said
    answer = cli.ok("why", "cm/held", "-n", namespace)
    assert "waits for its finalizers to be removed: example.org/hold" in answer


def test_labels_and_annotations(cli, namespace):
    cli.ok("create", "configmap", "a", "-n", namespace)
    label = ("label", "-n", namespace, "cm", "a")
    assert cli.ok(*label, "x=1", "y=2") == "configmap/a labeled\n"
    assert "already has a value (1), and --overwrite is false" in cli.fails(*label, "x=2")
    assert cli.ok(*label, "x=2", "--overwrite") == "configmap/a labeled\n"
    assert cli.ok(*label, "y-") == "configmap/a unlabeled\n"
    assert cli.ok(*label, "x=2") == "configmap/a not labeled\n"
    assert cli.ok(*label, "--list") == "x=2\n"
    assert cli.ok("annotate", "-n", namespace, "cm", "a", "note=hello") == "configmap/a annotated\n"
    assert get(cli, namespace, "cm/a")["metadata"]["annotations"] == {"note": "hello"}


def test_set_image_env_and_resources(cli, namespace, manifest):
    cli.ok("create", "-n", namespace, "-f", str(manifest))
    do = lambda *words: cli.ok("set", *words, "-n", namespace)  # noqa: E731
    assert do("image", "deploy/web", "app=web:9") == "deployment.apps/web image updated\n"
    assert do("image", "deploy/web", "app=web:9") == ""
    do("env", "deploy/web", "A=1", "B=2", "-c", "app")
    do("env", "deploy/web", "A-", "B=3", "-c", "app")
    do("resources", "deploy/web", "-c", "side", "--limits=cpu=1,memory=64Mi")
    app, side = get(cli, namespace, "deploy/web")["spec"]["template"]["spec"]["containers"]
    assert (app["image"], side["image"]) == ("web:9", "side:1")
    assert app["env"] == [{"name": "B", "value": "3"}]
    assert side["resources"]["limits"] == {"cpu": "1", "memory": "64Mi"}
    said = cli.fails("set", "image", "deploy/web", "nope=x", "-n", namespace)
    assert 'unable to find container named "nope"' in said


def test_expose_and_run(cli, namespace, manifest):
    cli.ok("create", "-n", namespace, "-f", str(manifest))
    assert cli.ok("expose", "deploy", "web", "-n", namespace) == "service/web exposed\n"
    service = get(cli, namespace, "svc/web")
    assert service["spec"]["selector"] == {"app": "web"}
    assert service["spec"]["ports"][0]["targetPort"] == 80
    words = ("run", "one", "--image=busybox", "-n", namespace, "--env", "A=b", "--port=8080")
    assert cli.ok(*words, "--command", "--", "sleep", "1") == "pod/one created\n"
    container = get(cli, namespace, "pod/one")["spec"]["containers"][0]
    assert container["command"] == ["sleep", "1"]
    assert container["env"] == [{"name": "A", "value": "b"}]


def test_create_from_words(cli, namespace, tmp_path):
    file = tmp_path / "app.conf"
    file.write_bytes(b"x=1\n")
    (tmp_path / "raw.bin").write_bytes(b"\xff\x00")
    cli.ok("create", "cm", "c", "-n", namespace, "--from-file", str(file), "--from-literal=k=v=w",
           "--from-file", f"bin={tmp_path / 'raw.bin'}")  # fmt: skip
    tree = get(cli, namespace, "cm/c")
    assert tree["data"] == {"app.conf": "x=1\n", "k": "v=w"}
    assert tree["binaryData"] == {"bin": "/wA="}
    cli.ok("create", "secret", "generic", "s", "-n", namespace, "--from-literal=p=q")
    assert get(cli, namespace, "secret/s")["data"] == {"p": "cQ=="}
    cli.ok("create", "deployment", "d", "--image=a:1", "-r", "3", "-n", namespace)
    assert get(cli, namespace, "deploy/d")["spec"]["replicas"] == 3
    cli.ok("create", "job", "j", "--image=a:1", "-n", namespace, "--", "x", "y")
    job = get(cli, namespace, "job/j")
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["x", "y"]
    assert "expected key=value" in cli.fails("create", "cm", "z", "--from-literal=bad")
    assert "does not know how to make" in cli.fails("create", "nonsense", "z")


def test_edit_sends_what_changed_and_asks_again_after_an_error(cli, namespace, tmp_path):
    cli.ok("create", "cm", "c", "-n", namespace, "--from-literal=k=old")
    editor = tmp_path / "editor"
    editor.write_text(
        """#!/bin/sh
if [ -e "$(dirname "$0")/second" ]; then
  grep -q '^# .*not valid YAML' "$1" || exit 9
  sed -i 's/^  k: .*/  k: new/' "$1"
else
  touch "$(dirname "$0")/second"
  sed -i 's/^  k: .*/  k: [/' "$1"
fi
"""
    )
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    outcome = cli("edit", "cm", "c", "-n", namespace, EDITOR=str(editor))
    assert outcome.out == "configmap/c edited\n", outcome
    assert get(cli, namespace, "cm/c")["data"] == {"k": "new"}
    assert "no changes made" in cli("edit", "cm", "c", "-n", namespace, EDITOR="true").err
    assert "exit code 1" in cli.fails("edit", "cm", "c", "-n", namespace, EDITOR="false")


def test_patch_and_replace(cli, namespace):
    cli.ok("create", "cm", "c", "-n", namespace, "--from-literal=k=old")
    patch = ("patch", "cm", "c", "-n", namespace)
    assert cli.ok(*patch, "-p", '{"data":{"k":"new"}}') == "configmap/c patched\n"
    assert cli.ok(*patch, "-p", "{data: {k: new}}") == "configmap/c patched (no change)\n"
    operations = '[{"op":"add","path":"/data/j","value":"x"}]'
    cli.ok(*patch, "--type=json", "-p", operations)
    assert get(cli, namespace, "cm/c")["data"] == {"k": "new", "j": "x"}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {only: this}\n"
    assert cli.ok("replace", "-n", namespace, "-f", "-", stdin=text) == "configmap/c replaced\n"
    assert get(cli, namespace, "cm/c")["data"] == {"only": "this"}
    assert "must specify -p" in cli.fails("patch", "cm", "c")
