"""What upstream's kubectl shows of webhooks and policies: refusals, warnings, tables, apply twice."""

import subprocess

import pytest
from tests.webhook_kit import WebhookServer

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: kubectl-policy
spec:
  matchConstraints:
    resourceRules:
    - apiGroups: [""]
      apiVersions: ["v1"]
      operations: ["CREATE"]
      resources: ["configmaps"]
      scope: "*"  # the list is atomic: left to its default, kubectl sees a difference
  validations:
  - expression: "!has(object.data) || object.data.all(k, k.startsWith('good'))"
    messageExpression: "'bad key in ' + object.metadata.name"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: kubectl-binding
spec:
  policyName: kubectl-policy
  validationActions: [ACTION]
  matchResources:
    namespaceSelector:
      matchLabels:
        kubectl-test: NAMESPACE
"""


@pytest.fixture
def kubectl(cluster, namespace):
    def run(*words, stdin="", fails=False):
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={cluster.kubeconfig_path}", "-n", namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, (words, done.stdout, done.stderr)
        return done.stderr if fails else done.stdout + done.stderr

    return run


@pytest.fixture
def marked(rest, namespace):
    label = {"kubectl-test": namespace}
    rest.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": label}})
    yield namespace
    for path in ("validatingadmissionpolicybindings/kubectl-binding",):
        rest.answer("DELETE", f"{GROUP}/{path}")
    rest.answer("DELETE", f"{GROUP}/validatingadmissionpolicies/kubectl-policy")


def test_policies_by_kubectl(kubectl, marked):
    manifest = POLICY.replace("ACTION", "Deny").replace("NAMESPACE", marked)
    assert kubectl("apply", "-f", "-", stdin=manifest).count("created") == 2
    assert kubectl("apply", "-f", "-", stdin=manifest).count("unchanged") == 2
    assert kubectl("diff", "-f", "-", stdin=manifest) == ""
    # matchConstraints is atomic, and its defaults make it another one than what was applied.
    taking_over = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    assert kubectl(*taking_over, stdin=manifest).count("serverside-applied") == 2
    said = kubectl("create", "configmap", "c", "--from-literal=bad=1", fails=True)
    assert said.strip() == (
        'error: failed to create configmap: configmaps "c" is forbidden: '
        "ValidatingAdmissionPolicy 'kubectl-policy' with binding 'kubectl-binding' denied request: "
        "bad key in c"
    )
    kubectl("create", "configmap", "c", "--from-literal=good=1")
    table = kubectl("get", "validatingadmissionpolicies", "kubectl-policy").splitlines()
    assert table[0].split() == ["NAME", "VALIDATIONS", "PARAMKIND", "AGE"]
    assert table[1].split()[:3] == ["kubectl-policy", "1", "<unset>"]
    shown = kubectl("explain", "validatingadmissionpolicies.spec.validations.messageExpression")
    assert "FIELD: messageExpression <string>" in shown


def test_warnings_by_kubectl(kubectl, marked):
    manifest = POLICY.replace("ACTION", "Warn").replace("NAMESPACE", marked)
    kubectl("apply", "-f", "-", stdin=manifest)
    said = kubectl("create", "configmap", "c", "--from-literal=bad=1")
    assert (
        "Warning: Validation failed for ValidatingAdmissionPolicy 'kubectl-policy' with binding "
        "'kubectl-binding': bad key in c" in said
    )


def test_attaching_is_denied_in_the_webhooks_words(kubectl, rest, marked):
    def answer(call):
        message = "attaching to pod 'to-be-attached-pod' is not allowed"
        response = {
            "uid": call.body["request"]["uid"],
            "allowed": False,
            "status": {"message": message},
        }
        return {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        }

    with WebhookServer(answer) as webhook:
        rule = {
            "operations": ["CONNECT"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods/attach", "pods/exec"],
        }
        hook = {
            "name": "deny-attaching-pod.k8s.io",
            "rules": [rule],
            "clientConfig": webhook.client_config("/pods/attach"),
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubectl-test": marked}},
        }
        place = f"{GROUP}/validatingwebhookconfigurations"
        rest.post(place, {"metadata": {"name": "kubectl-attach"}, "webhooks": [hook]})
        try:
            spec = {"containers": [{"name": "container1", "image": "busybox"}]}
            pods = f"/api/v1/namespaces/{marked}/pods"
            rest.post(pods, {"metadata": {"name": "to-be-attached-pod"}, "spec": spec})
            kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/to-be-attached-pod")
            for words in (
                ("attach", "to-be-attached-pod", "-i", "-c=container1"),
                ("exec", "to-be-attached-pod", "--", "true"),
            ):
                said = kubectl(*words, fails=True)
                assert "attaching to pod 'to-be-attached-pod' is not allowed" in said
                assert 'admission webhook "deny-attaching-pod.k8s.io" denied the request' in said
        finally:
            rest.delete(f"{place}/kubectl-attach")
