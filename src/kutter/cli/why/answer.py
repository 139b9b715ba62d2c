"""Which findings apply to a kind, and the answer as text or JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kutter.cli.why.anything import any_findings
from kutter.cli.why.cluster import claim_findings, namespace_findings, node_findings
from kutter.cli.why.finding import NOTE, Explanation, Facts, Finding, explain
from kutter.cli.why.pod import pod_findings
from kutter.cli.why.service import service_findings
from kutter.cli.why.workload import job_findings, workload_findings

Tree = dict[str, Any]
_BY_KIND = {
    "Pod": pod_findings,
    "Deployment": workload_findings,
    "ReplicaSet": workload_findings,
    "ReplicationController": workload_findings,
    "StatefulSet": workload_findings,
    "DaemonSet": workload_findings,
    "Job": job_findings,
    "Service": service_findings,
    "Node": node_findings,
    "Namespace": namespace_findings,
    "PersistentVolumeClaim": claim_findings,
}
_WELL = "All is well."


def explain_facts(facts: Facts) -> Explanation:
    """The explanation of one object."""
    kind = facts.tree["kind"]
    findings: Iterable[Finding] = _BY_KIND.get(kind, any_findings)(facts)
    namespace = facts.tree["metadata"].get("namespace")
    where = f" in namespace {namespace}" if namespace else ""
    return explain(f"{kind.lower()}/{facts.name}{where}", findings)


def short_answer(explanation: Explanation) -> str:
    """One sentence."""
    if explanation.verdict == "well":
        notes = [f.says for f in explanation.findings]
        return f"{_WELL} {notes[0]}" if notes else _WELL
    return explanation.findings[0].says


def render_text(explanation: Explanation) -> str:
    """The answer first, then what shows it, then what to do, then the rest."""
    lines = [f"{explanation.subject}: {short_answer(explanation)}"]
    for number, finding in enumerate(explanation.findings):
        if number:
            mark = "Note" if finding.kind == NOTE else "Also"
            lines += ["", f"{mark}: {finding.says}"]
        if finding.evidence:
            lines += ["", "What shows it:", *(f"  - {text}" for text in finding.evidence)]
        if finding.next_steps:
            lines += ["", "What to do next:", *(f"  - {text}" for text in finding.next_steps)]
    return "\n".join(lines) + "\n"


def as_tree(explanation: Explanation) -> Tree:
    return {
        "object": explanation.subject,
        "verdict": explanation.verdict,
        "answer": short_answer(explanation),
        "findings": [
            {
                "kind": f.kind,
                "says": f.says,
                "evidence": list(f.evidence),
                "next": list(f.next_steps),
            }
            for f in explanation.findings
        ],
    }
