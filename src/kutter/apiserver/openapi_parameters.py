"""The parameters of operations, and which operation has which."""

from __future__ import annotations

from kutter.apiserver.ports import Tree

# name → (where, type, description, the key under which version 2 shares it; "" where it does not).
# Names with several meanings are told apart by a suffix. Keys are upstream's: documents of other
# servers are merged with ours by them.
PARAMETERS: dict[str, tuple[str, str, str, str]] = {
    "namespace": ("path", "string", "The object's namespace.", "namespace-vgWSWtn3"),
    "name": ("path", "string", "The object's name.", ""),
    "path@url": ("path", "string", "What follows is asked of the other side.", "path-z6Ciiujn"),
    "path@pods": ("query", "string", "What follows is asked of the other side.", "path-oPbzgLUj"),
    "path@services": (
        "query",
        "string",
        "What follows is asked of the other side.",
        "path-QCf0eosM",
    ),
    "path@nodes": ("query", "string", "What follows is asked of the other side.", "path-rFDtV0x9"),
    "pretty": ("query", "string", "Set to true for output with line breaks.", "pretty-tJGM1-ng"),
    "allowWatchBookmarks": (
        "query",
        "boolean",
        "Send BOOKMARK events in watches.",
        "allowWatchBookmarks-HC2hJt-J",
    ),
    "continue": (
        "query",
        "string",
        "Go on with a list: the token of the page before.",
        "continue-QfD61s0i",
    ),
    "fieldSelector": (
        "query",
        "string",
        "Only objects whose fields match.",
        "fieldSelector-xIcQKXFG",
    ),
    "labelSelector": (
        "query",
        "string",
        "Only objects whose labels match.",
        "labelSelector-5Zw57w4C",
    ),
    "limit": ("query", "integer", "At most this many objects per page.", "limit-1NfNmdNH"),
    "resourceVersion": (
        "query",
        "string",
        "The version to be seen, or to begin after.",
        "resourceVersion-5WAnf1kx",
    ),
    "resourceVersionMatch": (
        "query",
        "string",
        "How resourceVersion is meant.",
        "resourceVersionMatch-t8XhRHeC",
    ),
    "sendInitialEvents": (
        "query",
        "boolean",
        "Begin a watch with what there is.",
        "sendInitialEvents-rLXlEK_k",
    ),
    "shardSelector": ("query", "string", "Only objects of a shard.", "shardSelector-Kgyki_3_"),
    "timeoutSeconds": (
        "query",
        "integer",
        "Ends the call, whatever goes on.",
        "timeoutSeconds-yvYezaOC",
    ),
    "watch": ("query", "boolean", "Stream changes instead of listing.", "watch-XNNPZGbK"),
    "dryRun": ("query", "string", "All: check everything, store nothing.", ""),
    "fieldManager": ("query", "string", "On whose behalf fields are set.", "fieldManager-Qy4HdaTW"),
    "fieldManager@patch": (
        "query",
        "string",
        "On whose behalf fields are set.",
        "fieldManager-7c6nTn1T",
    ),
    "fieldValidation": (
        "query",
        "string",
        "Ignore, Warn or Strict: unknown and doubled fields.",
        "",
    ),
    "force": ("query", "boolean", "Take fields others own; for apply only.", "force-tOGGb0Yi"),
    "gracePeriodSeconds": (
        "query",
        "integer",
        "Time to end in good order.",
        "gracePeriodSeconds--K5HaBOS",
    ),
    "ignoreStoreReadErrorWithClusterBreakingPotential": (
        "query",
        "boolean",
        "Delete even what cannot be read.",
        "ignoreStoreReadErrorWithClusterBreakingPotential-QbNkfIqj",
    ),
    "orphanDependents": (
        "query",
        "boolean",
        "Deprecated: use propagationPolicy.",
        "orphanDependents-uRB25kX5",
    ),
    "propagationPolicy": (
        "query",
        "string",
        "Orphan, Background or Foreground: dependents.",
        "propagationPolicy-6jk3prlO",
    ),
    "command": ("query", "string", "What to run, repeated for its arguments.", "command-Py3eQybp"),
    "container": ("query", "string", "Which of the pod's containers.", "container-1GeXxFDC"),
    "container@attach": ("query", "string", "Which of the pod's containers.", "container-_Q-EJ3nR"),
    "container@exec": ("query", "string", "Which of the pod's containers.", "container-i5dOmRiM"),
    "stdin@attach": ("query", "boolean", "Pass standard input.", "stdin-sEFnN3IS"),
    "stdin@exec": ("query", "boolean", "Pass standard input.", "stdin-PSzNhyUC"),
    "stdout@attach": ("query", "boolean", "Pass standard output.", "stdout-005YMKE6"),
    "stdout@exec": ("query", "boolean", "Pass standard output.", "stdout--EZLRwV1"),
    "stderr@attach": ("query", "boolean", "Pass standard error.", "stderr-26jJhFUR"),
    "stderr@exec": ("query", "boolean", "Pass standard error.", "stderr-W_1TNlWc"),
    "tty@attach": ("query", "boolean", "Give it a terminal.", "tty-g7MlET_l"),
    "tty@exec": ("query", "boolean", "Give it a terminal.", "tty-s0flW37O"),
    "ports": ("query", "integer", "Ports to forward, repeated.", "ports-91KROJmm"),
    "follow": ("query", "boolean", "Go on with what comes.", "follow-9OIXh_2R"),
    "insecureSkipTLSVerifyBackend": (
        "query",
        "boolean",
        "Do not check the node's certificate.",
        "insecureSkipTLSVerifyBackend-gM00jVbe",
    ),
    "limitBytes": ("query", "integer", "At most this much.", "limitBytes-zwd1RXuc"),
    "previous": ("query", "boolean", "Of the container before this one.", "previous-1jxDPu3y"),
    "sinceSeconds": ("query", "integer", "Not older than this.", "sinceSeconds-vE2NLdnP"),
    "stream": ("query", "string", "All, Stdout or Stderr.", "stream-l-48cgXv"),
    "tailLines": ("query", "integer", "Only the last lines.", "tailLines-9xQLWHMV"),
    "timestamps": ("query", "boolean", "Each line with its time.", "timestamps-c17fW1w_"),
}
# Bodies that are the same for every kind, by the type of meta/v1, are shared too.
BODIES = {"DeleteOptions": "body-2Y1dVQaQ", "Patch": "body-78PwaGsr"}
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
PATCHING = ("dryRun", "fieldManager@patch", "fieldValidation", "force")
_STREAMS = ("container", "stderr", "stdin", "stdout", "tty")
_ATTACH = tuple(f"{name}@attach" for name in _STREAMS)
_EXEC = ("command", *(f"{name}@exec" for name in _STREAMS))
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


def connecting(plural: str, subresource: str) -> tuple[str, ...] | None:
    """The parameters of a subresource that connects, None where it is no such one."""
    match subresource:
        case "attach":
            return _ATTACH
        case "exec":
            return _EXEC
        case "portforward":
            return ("ports",)
        case "proxy":
            return (f"path@{plural}",)
    return None


def parameter(key: str, version: int) -> Tree:
    """The definition of a parameter."""
    where, kind, description, _ = PARAMETERS[key]
    name = key.partition("@")[0]
    made: Tree = {"name": name, "in": where, "description": description}
    if where == "path":
        made["required"] = True
    facts: Tree = {"type": kind, "uniqueItems": True}
    return {**made, **(facts if version == 2 else {"schema": facts})}


def placed(key: str) -> tuple[str, str]:
    """Sorts parameters as upstream's documents do."""
    return key.partition("@")[0], PARAMETERS[key][0]


def body_parameter(schema: Tree, *, required: bool) -> Tree:
    """A body as version 2 knows it: a parameter among the others."""
    made: Tree = {"name": "body", "in": "body", "schema": schema}
    return {**made, "required": True} if required else made


def shared_parameters() -> Tree:
    """What operations of version 2 refer to."""
    made = {key: parameter(name, 2) for name, (*_, key) in PARAMETERS.items() if key}
    for name, key in BODIES.items():
        schema = {"$ref": f"#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.{name}"}
        made[key] = body_parameter(schema, required=name == "Patch")
    return made
