"""What each controller may do: one role per service account of kube-system.

Data for :mod:`kutter.apiserver.authz.policy`, in its line format. The flag says whether the
controller also writes events.
"""

from __future__ import annotations

CONTROLLER_ROLES: dict[str, tuple[str, bool]] = {
    "attachdetach-controller": (
        """
list,watch core persistentvolumeclaims,persistentvolumes
read core nodes
patch,update core nodes/status
list,watch core pods
create,delete,read storage.k8s.io volumeattachments
read storage.k8s.io csidrivers
read storage.k8s.io csinodes
""",
        True,
    ),
    "certificate-controller": (
        """
delete,read certificates.k8s.io certificatesigningrequests
update certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status
approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
sign certificates.k8s.io signers kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown
create authorization.k8s.io subjectaccessreviews
""",  # noqa: E501
        True,
    ),
    "clusterrole-aggregation-controller": (
        "escalate,patch,read,update rbac.authorization.k8s.io clusterroles",
        False,
    ),
    "cronjob-controller": (
        """
read,update batch cronjobs
create,delete,patch,read,update batch jobs
update batch cronjobs/status
update batch cronjobs/finalizers
delete,list,watch core pods
""",
        True,
    ),
    "daemon-set-controller": (
        """
read apps,extensions daemonsets
update apps,extensions daemonsets/status
update apps,extensions daemonsets/finalizers
list,watch core nodes
create,delete,list,patch,watch core pods
create core pods/binding
create,delete,patch,read,update apps controllerrevisions
""",
        True,
    ),
    "deployment-controller": (
        """
read,update apps,extensions deployments
update apps,extensions deployments/status
update apps,extensions deployments/finalizers
create,delete,patch,read,update apps,extensions replicasets
read,update core pods
""",
        True,
    ),
    "device-taint-eviction-controller": (
        """
delete,read core pods
patch,update core pods/status
read resource.k8s.io resourceclaims
read resource.k8s.io resourceslices
read resource.k8s.io deviceclasses
""",
        True,
    ),
    "disruption-controller": (
        """
read apps,extensions deployments
read apps,extensions replicasets
read core replicationcontrollers
read policy poddisruptionbudgets
read apps statefulsets
update policy poddisruptionbudgets/status
patch,update core pods/status
get * */scale
""",
        True,
    ),
    "endpoint-controller": (
        """
read core pods,services
create,delete,read,update core endpoints
create core endpoints/restricted
""",
        True,
    ),
    "endpointslice-controller": (
        """
read core nodes,pods,services
update core services/finalizers
create,delete,read,update discovery.k8s.io endpointslices
""",
        True,
    ),
    "endpointslicemirroring-controller": (
        """
read core endpoints,services
update core services/finalizers
update core endpoints/finalizers
create,delete,read,update discovery.k8s.io endpointslices
""",
        True,
    ),
    "ephemeral-volume-controller": (
        """
read core pods
update core pods/finalizers
create,read core persistentvolumeclaims
""",
        True,
    ),
    "expand-controller": (
        """
patch,read,update core persistentvolumes
patch,update core persistentvolumeclaims/status
read core persistentvolumeclaims
""",
        True,
    ),
    "generic-garbage-collector": ("delete,patch,read,update * *", True),
    "horizontal-pod-autoscaler": (
        """
read autoscaling horizontalpodautoscalers
update autoscaling horizontalpodautoscalers/status
get,update * */scale
list,watch core pods
list,watch metrics.k8s.io pods
read custom.metrics.k8s.io *
read external.metrics.k8s.io *
""",
        True,
    ),
    "job-controller": (
        """
patch,read,update batch jobs
update batch jobs/status
update batch jobs/finalizers
create,delete,list,patch,watch core pods
""",
        True,
    ),
    "legacy-service-account-token-cleaner": (
        """
get core configmaps kube-apiserver-legacy-service-account-token-tracking
delete,patch core secrets
""",
        False,
    ),
    "namespace-controller": (
        """
delete,read core namespaces
update core namespaces/finalize,namespaces/status
delete,deletecollection,read * *
""",
        False,
    ),
    "node-controller": (
        """
delete,patch,read,update core nodes
patch,update core nodes/status
patch,update core pods/status
delete,read core pods
""",
        True,
    ),
    "persistent-volume-binder": (
        """
create,delete,read,update core persistentvolumes
update core persistentvolumes/status
read,update core persistentvolumeclaims
update core persistentvolumeclaims/status
create,delete,read core pods
read storage.k8s.io storageclasses
list,watch core nodes
watch core events
""",
        True,
    ),
    "pod-garbage-collector": (
        """
delete,list,watch core pods
read core nodes
patch core pods/status
""",
        False,
    ),
    "pv-protection-controller": ("read,update core persistentvolumes", True),
    "pvc-protection-controller": (
        """
read,update core persistentvolumeclaims
update core persistentvolumeclaims/status
read core pods
""",
        True,
    ),
    "replicaset-controller": (
        """
read,update apps,extensions replicasets
update apps,extensions replicasets/status
update apps,extensions replicasets/finalizers
create,delete,list,patch,watch core pods
""",
        True,
    ),
    "replication-controller": (
        """
read,update core replicationcontrollers
update core replicationcontrollers/status
update core replicationcontrollers/finalizers
create,delete,list,patch,watch core pods
""",
        True,
    ),
    "resource-claim-controller": (
        """
read core pods
update core pods/finalizers
create,delete,read resource.k8s.io resourceclaims
patch,update resource.k8s.io resourceclaims,resourceclaims/status
patch,update core pods/status
patch,update resource.k8s.io resourceclaims/binding
""",
        True,
    ),
    "resourcequota-controller": ("list,watch * *\nupdate core resourcequotas/status", True),
    "root-ca-cert-publisher": ("create,update core configmaps", True),
    "route-controller": ("list,watch core nodes\npatch core nodes/status", True),
    "selinux-warning-controller": (
        """
read core persistentvolumes
read core persistentvolumeclaims
read core pods
read storage.k8s.io csidrivers
""",
        True,
    ),
    "service-account-controller": ("create core serviceaccounts", True),
    "service-cidrs-controller": (
        """
patch,read,update networking.k8s.io servicecidrs
patch,update networking.k8s.io servicecidrs/finalizers
patch,update networking.k8s.io servicecidrs/status
read networking.k8s.io ipaddresses
""",
        True,
    ),
    "service-controller": (
        """
read core services
patch,update core services/status
list,watch core nodes
""",
        True,
    ),
    "statefulset-controller": (
        """
list,watch core pods
read apps statefulsets
update apps statefulsets/status
update apps statefulsets/finalizers
create,delete,get,patch,update core pods
create,delete,patch,read,update apps controllerrevisions
create,read core persistentvolumeclaims
delete,update core persistentvolumeclaims
update core pods/finalizers
""",
        True,
    ),
    "ttl-after-finished-controller": ("delete,read batch jobs", True),
    "ttl-controller": ("list,patch,update,watch core nodes", True),
    "validatingadmissionpolicy-status-controller": (
        """
read admissionregistration.k8s.io validatingadmissionpolicies
get,patch,update admissionregistration.k8s.io validatingadmissionpolicies/status
""",
        True,
    ),
    "volumeattributesclass-protection-controller": (
        """
read core persistentvolumeclaims
read core persistentvolumes
read,update storage.k8s.io volumeattributesclasses
""",
        True,
    ),
}

# Of group-versions that are served only when asked for: by group-version and the role's name. The
# end of a controller's is its service account; of others OPTIONAL_SUBJECTS tells who has them.
OPTIONAL_SUBJECTS = {"system:cluster-trust-bundle-discovery": "Group:system:serviceaccounts"}
OPTIONAL_ROLES: dict[str, dict[str, str]] = {
    "certificates.k8s.io/v1beta1": {
        "system:cluster-trust-bundle-discovery": "read certificates.k8s.io clustertrustbundles",
    },
    # Upstream elects inside the API server, which may do all.
    "coordination.k8s.io/v1beta1": {
        "kutter:controller:leader-election-controller": """
create,patch coordination.k8s.io leases
delete,patch coordination.k8s.io leasecandidates
""",
    },
    "storagemigration.k8s.io/v1beta1": {
        "system:controller:storage-version-migrator-controller": """
list,create,patch * *
get apiextensions.k8s.io customresourcedefinitions
patch apiextensions.k8s.io customresourcedefinitions/status
update storagemigration.k8s.io storageversionmigrations/status
""",
    },
}
