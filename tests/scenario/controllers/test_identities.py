"""Controllers and scheduler act as themselves, with no more rights than they need."""

from tests.conformance_kit import Rest, wait_until, workload


def test_each_controller_acts_under_its_own_account(kutter_cluster):
    users = {}
    api = kutter_cluster.plane.api
    admission = api.admission

    class Recording:
        async def mutate(self, request):
            await admission.mutate(request)

        async def validate(self, request):
            users.setdefault(request.user.name, set()).update(request.user.groups)
            await admission.validate(request)

        def permit(self, resource, operation):
            return None  # every request is to be seen

        def reads_bound_pods(self):
            return admission.reads_bound_pods()

        def spares_spec(self, resource, subresource):
            return admission.spares_spec(resource, subresource)

    for group, plural in (("apps", "replicasets"), ("", "pods"), ("", "events")):
        api.storage_of(group, plural)._admission = Recording()
    rest = Rest(kutter_cluster.kubernetes_client())
    rest.post("/apis/apps/v1/namespaces/default/deployments", workload("Deployment", "web", 2))
    wait_until(
        lambda: (
            rest.get("/apis/apps/v1/namespaces/default/deployments/web")["status"].get(
                "availableReplicas"
            )
            == 2
        ),
        30,
    )
    wait_until(lambda: "system:kube-scheduler" in users, 30)
    accounts = "system:serviceaccount:kube-system:"
    assert {f"{accounts}deployment-controller", f"{accounts}replicaset-controller"} <= set(users)
    own = {name for name in users if name.startswith("system:") and "admin" not in name}
    for name in own - {"system:apiserver"}:
        assert "system:masters" not in users[name], name
    for name in own:
        if name.startswith(accounts):
            assert {"system:serviceaccounts", "system:serviceaccounts:kube-system"} <= users[name]


def test_an_account_may_what_its_controller_does_and_no_more(kutter_cluster):
    rest = Rest(kutter_cluster.kubernetes_client())

    def may(account, verb, resource, group="", subresource=""):
        attributes = {
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "namespace": "default",
        }
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {
                "user": f"system:serviceaccount:kube-system:{account}",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system"],
                "resourceAttributes": attributes,
            },
        }
        return rest.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"][
            "allowed"
        ]

    assert may("replicaset-controller", "create", "pods")
    assert may("replicaset-controller", "patch", "replicasets", "apps", "status")
    assert not may("replicaset-controller", "get", "secrets")
    assert not may("deployment-controller", "create", "pods")
    assert not may("root-ca-cert-publisher", "delete", "configmaps")
    assert may("namespace-controller", "deletecollection", "secrets")
