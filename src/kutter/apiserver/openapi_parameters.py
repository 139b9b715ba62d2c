"""The parameters of operations, and which operation has which."""

from __future__ import annotations

from kutter.apiserver.ports import Tree

# name → (where, type, description); names of two forms are told apart by a suffix.
PARAMETERS: dict[str, tuple[str, str, str]] = {
    "namespace": ("path", "string", "The object's namespace."),
    "name": ("path", "string", "The object's name."),
    "path": ("path", "string", "What follows is asked of the other side."),
    "pretty": ("query", "string", "Set to true for output with line breaks."),
    "allowWatchBookmarks": ("query", "boolean", "Send BOOKMARK events in watches."),
    "continue": ("query", "string", "Go on with a list: the token of the page before."),
    "fieldSelector": ("query", "string", "Only objects whose fields match."),
    "labelSelector": ("query", "string", "Only objects whose labels match."),
    "limit": ("query", "integer", "At most this many objects per page."),
    "resourceVersion": ("query", "string", "The version to be seen, or to begin after."),
    "resourceVersionMatch": ("query", "string", "How resourceVersion is meant."),
    "sendInitialEvents": ("query", "boolean", "Begin a watch with what there is."),
    "shardSelector": ("query", "string", "Only objects of a shard."),
    "timeoutSeconds": ("query", "integer", "Ends the call, whatever goes on."),
    "watch": ("query", "boolean", "Stream changes instead of listing."),
    "dryRun": ("query", "string", "All: check everything, store nothing."),
    "fieldManager": ("query", "string", "On whose behalf fields are set."),
    "fieldValidation": ("query", "string", "Ignore, Warn or Strict: unknown and doubled fields."),
    "force": ("query", "boolean", "Take fields others own; for apply only."),
    "gracePeriodSeconds": ("query", "integer", "Time to end in good order."),
    "ignoreStoreReadErrorWithClusterBreakingPotential": (
        "query",
        "boolean",
        "Delete even what cannot be read.",
    ),
    "orphanDependents": ("query", "boolean", "Deprecated: use propagationPolicy."),
    "propagationPolicy": ("query", "string", "Orphan, Background or Foreground: dependents."),
    "command": ("query", "string", "What to run, repeated for its arguments."),
    "container": ("query", "string", "Which of the pod's containers."),
    "stdin": ("query", "boolean", "Pass standard input."),
    "stdout": ("query", "boolean", "Pass standard output."),
    "stderr": ("query", "boolean", "Pass standard error."),
    "tty": ("query", "boolean", "Give it a terminal."),
    "ports": ("query", "integer", "Ports to forward, repeated."),
    "follow": ("query", "boolean", "Go on with what comes."),
    "insecureSkipTLSVerifyBackend": ("query", "boolean", "Do not check the node's certificate."),
    "limitBytes": ("query", "integer", "At most this much."),
    "previous": ("query", "boolean", "Of the container before this one."),
    "sinceSeconds": ("query", "integer", "Not older than this."),
    "stream": ("query", "string", "All, Stdout or Stderr."),
    "tailLines": ("query", "integer", "Only the last lines."),
    "timestamps": ("query", "boolean", "Each line with its time."),
}
LISTING = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
)
WRITING = ("dryRun", "fieldManager", "fieldValidation")
DELETING = (
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
)
COLLECTION = tuple(name for name in LISTING if name not in ("allowWatchBookmarks", "watch"))
STREAMS = ("container", "stderr", "stdin", "stdout", "tty")
CONNECTS = {
    "attach": STREAMS,
    "exec": ("command", *STREAMS),
    "portforward": ("ports",),
    "proxy": (),
}
LOGGING = (
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
)


def parameter(name: str, version: int) -> Tree:
    """The definition of a parameter."""
    where, kind, description = PARAMETERS[name]
    made: Tree = {"name": name, "in": where, "description": description}
    if where == "path":
        made["required"] = True
    return {**made, **({"type": kind} if version == 2 else {"schema": {"type": kind}})}
