"""Why a service leads nowhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kutter.cli.why.finding import BROKEN, NOTE, WAITING, Facts, Finding, Tree, about
from kutter.cli.why.pod import is_well, pod_findings


def service_findings(facts: Facts) -> Iterator[Finding]:
    service = facts.tree
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        yield Finding(NOTE, f"It is a name for {spec.get('externalName')} and has no endpoints.")
        return
    selector = spec.get("selector") or {}
    ready = count_ready(facts.slices)
    if not selector:
        if not ready:
            yield Finding(
                BROKEN,
                "It has no selector, and nobody has made endpoints for it.",
                (),
                ("give it a selector, or create an EndpointSlice for it",),
            )
        return
    listed = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    if not facts.pods:
        yield Finding(
            BROKEN,
            f"Its selector {listed} matches no pod in its namespace.",
            tuple(_near(facts, selector)),
            ("make selector and labels of the pods the same: kutter get pods --show-labels",),
        )
        return
    yield from _ports(facts)
    well = [pod for pod in facts.pods if is_well(pod)]
    if not well:
        for pod in facts.pod_facts[:1]:
            for finding in pod_findings(pod):
                if finding.kind != NOTE:
                    yield about(
                        f"None of its {len(facts.pods)} pods is ready; {pod.name}: ", finding
                    )
    elif not ready and not list(_ports(facts)):
        yield Finding(
            WAITING,
            f"{len(well)} of its pods are ready, but no endpoint is published for them yet.",
            (),
            ("if this stays so, check that the server's controllers run: 'kutter status'",),
        )
    elif len(well) < len(facts.pods):
        yield Finding(NOTE, f"{len(well)} of its {len(facts.pods)} pods are ready and get traffic.")
    yield from _balancer(service)


def count_ready(slices: Sequence[Tree]) -> int:
    """Ready endpoints in all slices that publish a port."""
    return sum(
        1
        for endpoint_slice in slices
        for endpoint in endpoint_slice.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    )


def _near(facts: Facts, selector: dict[str, str]) -> Iterator[str]:
    """Pods that carry some of what is looked for."""
    for pod in facts.other_pods:
        labels = pod["metadata"].get("labels") or {}
        shared = [k for k, v in selector.items() if labels.get(k) == v]
        differing = [k for k, v in selector.items() if k in labels and labels[k] != v]
        if shared or differing:
            shown = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
            yield f"pod {pod['metadata']['name']} comes near: it has {shown}"
            return


def _ports(facts: Facts) -> Iterator[Finding]:
    """Target ports no container has."""
    for port in facts.tree["spec"].get("ports") or ():
        target = port.get("targetPort", port["port"])
        declared = {
            name
            for pod in facts.pods
            for container in pod["spec"].get("containers") or ()
            for own in container.get("ports") or ()
            for name in (own.get("name"), own.get("containerPort"))
            if name
        }
        if isinstance(target, str) and not target.isdigit():
            if target not in declared:
                names = ", ".join(sorted(str(d) for d in declared)) or "none"
                yield Finding(
                    BROKEN,
                    f'Its port {port["port"]} leads to the port named "{target}", which no'
                    " container of its pods has.",
                    (f"ports of the pods' containers: {names}",),
                    ("name the container's port so, or correct targetPort",),
                )
        elif declared and int(target) not in declared:
            yield Finding(
                NOTE,
                f"Its port {port['port']} leads to port {target}, which no container declares.",
                (f"declared: {', '.join(sorted(str(d) for d in declared))}",),
                ("if connections are refused, correct targetPort",),
            )


def _balancer(service: Tree) -> Iterator[Finding]:
    if service["spec"].get("type") != "LoadBalancer":
        return
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    if not ingress:
        yield Finding(
            WAITING,
            "It has no load-balancer address yet; its cluster address works.",
            (),
            ("if this stays so, no load balancer serves this cluster",),
        )
