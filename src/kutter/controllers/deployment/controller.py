"""The Deployment controller.

Owns: ReplicaSets with a controller reference to the Deployment. Reads: Deployments,
ReplicaSets, pods (Recreate only). Writes: ReplicaSets, the Deployment's revision annotation and
status, events.
Invariants: one ReplicaSet per template; sizes obey ``rollout``; a paused Deployment is scaled
but not rolled.
Upstream: kubernetes.io/docs/concepts/workloads/controllers/deployment
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.selectors import Selector, from_view
from kutter.api.types.apps_v1 import Deployment, ReplicaSet
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.base.clock import Clock
from kutter.client.client import Client, Tree
from kutter.controllers.deployment import progress, rollout
from kutter.controllers.deployment.revisions import (
    DESIRED_REPLICAS,
    HASH_LABEL,
    MAX_REPLICAS,
    REVISION,
    next_revision,
    replica_set_annotations,
    revision_of,
    same_template,
    template_hash,
)
from kutter.controllers.pods import is_namespace_terminating
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory, key_of, split_key
from kutter.machinery.ownership import (
    apply_claim,
    controller_of,
    controller_reference,
    controller_uid,
    plan_claim,
)


@dataclass(slots=True)
class _Work:
    """One reconcile's material."""

    deployment: Deployment
    tree: Tree
    new: ReplicaSet | None
    old: list[ReplicaSet]
    conditions: progress.Conditions
    collision_count: int | None


class DeploymentController:
    name = "deployment"

    def __init__(
        self, client: Client, informers: InformerFactory, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._deployments = informers.informer(Deployment)
        self._sets = informers.informer(ReplicaSet)
        self._pods = informers.informer(Pod)
        self._pods.add_index("controller-uid", controller_uid)

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._deployments, own_key),
            Source(self._sets, self._set_keys),
            Source(self._pods, self._pod_keys),
        ]

    def _set_keys(self, change: Change[ReplicaSet]) -> Sequence[str]:
        keys = []
        for item in (change.old, change.new):
            owner = controller_of(item) if item is not None else None
            if item is not None and owner is not None and owner.kind == "Deployment":
                keys.append(f"{item.metadata.namespace}/{owner.name}")
        new = change.new
        if not keys and new is not None:
            keys = [
                key_of(d)
                for d in self._deployments.items(new.metadata.namespace)
                if from_view(d.spec.selector).matches(new.metadata.labels)
            ]
        return keys

    def _pod_keys(self, change: Change[Pod]) -> Sequence[str]:
        """A Recreate rollout goes on when the last old pod has gone."""
        if change.new is not None or change.old is None:
            return ()
        owner = controller_of(change.old)
        if owner is None or owner.kind != "ReplicaSet":
            return ()
        item = self._sets.get(f"{change.old.metadata.namespace}/{owner.name}")
        parent = controller_of(item) if item is not None else None
        if parent is None or parent.kind != "Deployment":
            return ()
        key = f"{change.old.metadata.namespace}/{parent.name}"
        deployment = self._deployments.get(key)
        if deployment is None or deployment.spec.strategy.type != "Recreate":
            return ()
        return (key,)

    async def reconcile(self, key: str) -> Result:
        namespace, name = split_key(key)
        if self._deployments.get(key) is None:
            return Result("it is gone")
        try:
            tree = await self._client.get_tree(Deployment, name, namespace)
        except ApiError as error:
            if is_reason(error, "NotFound"):
                return Result("it is gone")
            raise
        deployment = convert(Deployment, tree)
        selector = from_view(deployment.spec.selector)
        if selector.empty:
            self._recorder.event(
                deployment,
                "Warning",
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            )
            return Result("its selector is empty")
        sets = await self._claim(deployment, selector)
        work = await self._sort(deployment, tree, sets)
        if deployment.metadata.deletion_timestamp:
            return await self._report(work, "it is being deleted")
        self._note_pause(work)
        if deployment.spec.paused or rollout.is_scaling(deployment, sets):
            return await self._scale_only(work)
        if deployment.spec.strategy.type == "Recreate":
            return await self._recreate(work)
        return await self._roll(work)

    async def _claim(self, deployment: Deployment, selector: Selector) -> list[ReplicaSet]:
        candidates = [
            s
            for s in self._sets.items(deployment.metadata.namespace)
            if s.metadata.owner_references or selector.matches(s.metadata.labels)
        ]
        claim = plan_claim(deployment, candidates, lambda s: selector.matches(s.metadata.labels))
        if claim.adopt or claim.release:
            return await apply_claim(self._client, deployment, claim)
        return claim.owned

    async def _sort(self, deployment: Deployment, tree: Tree, sets: list[ReplicaSet]) -> _Work:
        """Find the set of the current template among ``sets``."""
        collisions = deployment.status.collision_count
        wanted = template_hash(tree["spec"]["template"], collisions or 0)
        oldest_first = sorted(sets, key=lambda s: (s.metadata.creation_timestamp, s.metadata.name))
        new = next((s for s in oldest_first if s.metadata.labels.get(HASH_LABEL) == wanted), None)
        if new is None:
            # Made by another version or another controller: its hash is not ours, compare.
            for item in oldest_first:
                other = await self._client.get_tree(
                    ReplicaSet, item.metadata.name, item.metadata.namespace
                )
                if same_template(tree["spec"]["template"], other["spec"]["template"]):
                    new = item
                    break
        return _Work(
            deployment,
            tree,
            new,
            [s for s in oldest_first if s is not new],
            progress.Conditions(deployment.status.conditions, self._clock.now()),
            collisions,
        )

    def _note_pause(self, work: _Work) -> None:
        if progress.deadline_s(work.deployment) is None:
            return
        known = work.conditions.get("Progressing")
        if known is not None and known["reason"] == progress.TIMED_OUT:
            return
        paused = known is not None and known["reason"] == "DeploymentPaused"
        if work.deployment.spec.paused and not paused:
            work.conditions.set(
                "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"
            )
        elif not work.deployment.spec.paused and paused:
            work.conditions.set(
                "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed"
            )

    # The strategies

    async def _scale_only(self, work: _Work) -> Result:
        await self._annotate_new(work)
        scales = rollout.plan_scaling(work.deployment, work.new, work.old)
        for scale in scales:
            await self._resize(work, scale)
        if work.deployment.spec.paused:
            await self._clean_up(work)
        why = f"scaling {len(scales)} replica sets" if scales else "nothing to scale"
        return await self._report(work, why)

    async def _roll(self, work: _Work) -> Result:
        size = rollout.new_set_size(work.deployment, work.new, work.old)
        if await self._ensure_new(work, size):
            return await self._report(work, "created the replica set of the new template")
        assert work.new is not None
        if rollout.size_of(work.new) != size:
            await self._resize(work, rollout.Scale(work.new, size))
            return await self._report(work, f"scaled the new replica set to {size}")
        shrink = rollout.plan_old_sets(work.deployment, work.new, work.old)
        for scale in shrink:
            await self._resize(work, scale)
        if shrink:
            return await self._report(work, f"scaled down {len(shrink)} old replica sets")
        return await self._finish(work)

    async def _recreate(self, work: _Work) -> Result:
        running = rollout.active(work.old)
        for item in running:
            await self._resize(work, rollout.Scale(item, 0))
        if running:
            return await self._report(work, "scaled down the old replica sets")
        for item in work.old:
            for pod in self._pods.by_index("controller-uid", item.metadata.uid):
                if pod.status.phase not in ("Succeeded", "Failed"):
                    return await self._report(work, f"waiting for pod {pod.metadata.name} to go")
        size = rollout.wanted(work.deployment)
        if await self._ensure_new(work, size):
            return await self._report(work, "created the replica set of the new template")
        assert work.new is not None
        if rollout.size_of(work.new) != size:
            await self._resize(work, rollout.Scale(work.new, size))
        return await self._finish(work)

    async def _finish(self, work: _Work) -> Result:
        result = await self._report(work, "the rollout is going on")
        done = work.conditions.get("Progressing")
        if progress.deadline_s(work.deployment) is None or (
            done is not None and done["reason"] == progress.AVAILABLE
        ):
            await self._clean_up(work)
            return Result("the rollout is complete", result.requeue_after_s)
        return result

    # Writing

    async def _ensure_new(self, work: _Work, size: int) -> bool:
        """Make the new set if it is missing; answers whether it was made now."""
        if work.new is not None:
            await self._annotate_new(work)
            return False
        deployment, template = work.deployment, work.tree["spec"]["template"]
        suffix = template_hash(template, work.collision_count or 0)
        meta = template.get("metadata") or {}
        labels = {**(meta.get("labels") or {}), HASH_LABEL: suffix}
        selector = dict(work.tree["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: suffix}
        revision = next_revision(work.old)
        annotations = replica_set_annotations(deployment, {}, revision)
        annotations.update(self._size_annotations(deployment))
        name = f"{deployment.metadata.name}-{suffix}"
        body = {
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [controller_reference(deployment)],
            },
            "spec": {
                "replicas": size,
                "minReadySeconds": deployment.spec.min_ready_seconds,
                "selector": selector,
                "template": {**template, "metadata": {**meta, "labels": labels}},
            },
        }
        namespace = deployment.metadata.namespace
        try:
            made = await self._client.create(ReplicaSet, body, namespace)
        except ApiError as error:
            await self._creation_failed(work, name, error)
            raise
        work.new = convert(ReplicaSet, made)
        work.conditions.set(
            "Progressing",
            "True",
            "NewReplicaSetCreated",
            f'Created new replica set "{name}"',
        )
        if size > 0:
            self._recorder.event(
                deployment,
                "Normal",
                "ScalingReplicaSet",
                f"Scaled up replica set {name} from 0 to {size}",
            )
        await self._set_revision(work, revision)
        return True

    async def _creation_failed(self, work: _Work, name: str, error: ApiError) -> None:
        deployment = work.deployment
        if is_namespace_terminating(error):
            return
        if is_reason(error, "AlreadyExists"):
            other = await self._client.get_tree(ReplicaSet, name, deployment.metadata.namespace)
            owner = controller_of(convert(ReplicaSet, other))
            mine = owner is not None and owner.uid == deployment.metadata.uid
            if mine and same_template(work.tree["spec"]["template"], other["spec"]["template"]):
                return  # our informer has not seen it yet; the retry will
            # The name belongs to another template: count up so that the next hash differs.
            await self._write_status(work, {"collisionCount": (work.collision_count or 0) + 1})
            return
        message = f'Failed to create new replica set "{name}": {error.message}'
        self._recorder.event(deployment, "Warning", "ReplicaSetCreateError", message)
        if progress.deadline_s(deployment) is not None:
            work.conditions.set("Progressing", "False", "ReplicaSetCreateError", message)
            await self._write_status(work, {"conditions": work.conditions.trees()})

    async def _annotate_new(self, work: _Work) -> None:
        """Keep revision, copied annotations and minReadySeconds of the new set right."""
        new, deployment = work.new, work.deployment
        if new is None:
            return
        # Back on an older template: it becomes the newest revision again.
        revision = next_revision(work.old)
        known = new.metadata.annotations
        annotations = replica_set_annotations(deployment, known, revision)
        changed = {k: v for k, v in annotations.items() if known.get(k) != v}
        body: dict[str, Any] = {}
        if changed:
            body["metadata"] = {"annotations": changed}
        if new.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
            body["spec"] = {"minReadySeconds": deployment.spec.min_ready_seconds}
        if body:
            patched = await self._client.patch(
                ReplicaSet, new.metadata.name, body, new.metadata.namespace
            )
            work.new = convert(ReplicaSet, patched)
        if work.conditions.get("Progressing") is None and progress.deadline_s(deployment):
            work.conditions.set(
                "Progressing",
                "True",
                "FoundNewReplicaSet",
                f'Found new replica set "{new.metadata.name}"',
            )
        assert work.new is not None
        await self._set_revision(work, revision_of(work.new))

    async def _set_revision(self, work: _Work, revision: int) -> None:
        deployment = work.deployment
        if deployment.metadata.annotations.get(REVISION) == str(revision):
            return
        # Through the status, as upstream: it is no wish, so it must not be a new generation.
        await self._client.patch(
            Deployment,
            deployment.metadata.name,
            {"metadata": {"annotations": {REVISION: str(revision)}}},
            deployment.metadata.namespace,
            # As upstream: through the object itself it would be a new generation.
            subresource="status",
        )

    def _size_annotations(self, deployment: Deployment) -> dict[str, str]:
        size = rollout.wanted(deployment)
        return {
            DESIRED_REPLICAS: str(size),
            MAX_REPLICAS: str(size + rollout.limits_of(deployment).surge),
        }

    async def _resize(self, work: _Work, scale: rollout.Scale) -> None:
        item, before = scale.replica_set, rollout.size_of(scale.replica_set)
        annotations = self._size_annotations(work.deployment)
        known = item.metadata.annotations
        same_notes = all(known.get(k) == v for k, v in annotations.items())
        if before == scale.replicas and same_notes:
            return
        patched = await self._client.patch(
            ReplicaSet,
            item.metadata.name,
            {
                "metadata": {
                    "uid": item.metadata.uid,
                    "resourceVersion": item.metadata.resource_version,
                    "annotations": annotations,
                },
                "spec": {"replicas": scale.replicas},
            },
            item.metadata.namespace,
        )
        fresh = convert(ReplicaSet, patched)
        if work.new is item:
            work.new = fresh
        else:
            work.old = [fresh if s is item else s for s in work.old]
        if before != scale.replicas:
            direction = "up" if scale.replicas > before else "down"
            self._recorder.event(
                work.deployment,
                "Normal",
                "ScalingReplicaSet",
                f"Scaled {direction} replica set {item.metadata.name}"
                f" from {before} to {scale.replicas}",
            )

    async def _clean_up(self, work: _Work) -> None:
        """Delete the oldest finished sets beyond the history limit."""
        limit = work.deployment.spec.revision_history_limit
        if limit is None:
            return
        idle = [s for s in work.old if not s.metadata.deletion_timestamp]
        excess = len(idle) - limit
        for item in sorted(idle, key=revision_of):
            if excess <= 0:
                return
            excess -= 1
            if (
                item.status.replicas
                or rollout.size_of(item)
                or item.metadata.generation > item.status.observed_generation
            ):
                continue
            meta = item.metadata
            try:
                await self._client.delete(
                    ReplicaSet,
                    meta.name,
                    meta.namespace,
                    uid=meta.uid,
                    propagation_policy="Background",
                )
            except ApiError as error:
                if not is_reason(error, "NotFound", "Conflict"):
                    raise

    async def _report(self, work: _Work, why: str) -> Result:
        """Write the status if it changed."""
        computed = progress.compute(
            work.deployment,
            work.new,
            work.old,
            work.conditions,
            collision_count=work.collision_count,
            now=self._clock.now(),
        )
        known = work.tree.get("status") or {}
        keys = set(computed.status) | {k for k in known if k != "conditions"}
        if any(
            (known.get(k) or 0) != (computed.status.get(k) or 0) for k in keys - {"conditions"}
        ) or ((known.get("conditions") or []) != computed.status["conditions"]):
            await self._write_status(work, computed.status)
        return Result(why, computed.requeue_after_s)

    async def _write_status(self, work: _Work, status: dict[str, Any]) -> None:
        meta = work.deployment.metadata
        try:
            await self._client.patch(
                Deployment,
                meta.name,
                {"metadata": {"uid": meta.uid}, "status": status},
                meta.namespace,
                subresource="status",
            )
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise
