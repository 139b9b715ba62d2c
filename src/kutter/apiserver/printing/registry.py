"""Which columns ``kubectl get`` shows of which kind: upstream's, in one table.

Kinds without an entry are printed by the core with Name and Created At.
"""

from __future__ import annotations

from kutter.api.resources import Resource
from kutter.apiserver.printing import core, policy, storage, workloads
from kutter.apiserver.printing.columns import Cells, Order, Printer
from kutter.apiserver.printing.pods import (
    EVENT_COLUMNS,
    PodPrinter,
    event_cells,
    pod_template_cells,
)

_TEMPLATE = "Containers+ Images+ Selector+"
_REPLICAS = f"Name Desired:integer Current:integer Ready:integer Age {_TEMPLATE}"
_BINDING = "Name Role Age Users+ Groups+ ServiceAccounts+"
_RBAC = "rbac.authorization.k8s.io"
_STORAGE = "storage.k8s.io"
_NETWORKING = "networking.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"
_DRA = "resource.k8s.io"
_CLASS = "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age"
_VOLUME = (
    "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass "
    "Reason Age VolumeMode+"
)
_CLAIM = (
    "Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age VolumeMode+"
)
_NODE = (
    "Name Status Roles Age Version Internal-IP+ External-IP+ OS-Image+ Kernel-Version+ "
    "Container-Runtime+"
)
_DAEMON_SET = (
    "Name Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer "
    f"Node_Selector Age {_TEMPLATE}"
)
_DRIVER = (
    "Name AttachRequired:boolean PodInfoOnMount:boolean StorageCapacity:boolean TokenRequests "
    "RequiresRepublish:boolean Modes Age"
)

_PRINTERS: dict[tuple[str, str], tuple[str, Cells]] = {
    ("", "podtemplates"): ("Name Containers Images Pod_Labels", pod_template_cells),
    ("", "events"): (EVENT_COLUMNS, event_cells),
    ("events.k8s.io", "events"): (EVENT_COLUMNS, event_cells),
    ("", "nodes"): (_NODE, core.node_cells),
    ("", "namespaces"): ("Name Status Age", core.namespace_cells),
    ("", "configmaps"): ("Name Data Age", core.config_map_cells),
    ("", "secrets"): ("Name Type Data Age", core.secret_cells),
    ("", "serviceaccounts"): ("Name Age", core.name_age_cells),
    ("", "services"): (
        "Name Type Cluster-IP External-IP Port(s) Age Selector+",
        core.service_cells,
    ),
    ("", "endpoints"): ("Name Endpoints Age", core.endpoints_cells),
    ("", "persistentvolumes"): (_VOLUME, storage.persistent_volume_cells),
    ("", "persistentvolumeclaims"): (_CLAIM, storage.persistent_volume_claim_cells),
    ("", "resourcequotas"): ("Name Request Limit Age", core.resource_quota_cells),
    ("", "componentstatuses"): ("Name Status Message Error", core.component_status_cells),
    ("", "replicationcontrollers"): (_REPLICAS, workloads.replica_set_cells),
    ("apps", "replicasets"): (_REPLICAS, workloads.replica_set_cells),
    ("apps", "deployments"): (
        f"Name Ready Up-to-date Available Age {_TEMPLATE}",
        workloads.deployment_cells,
    ),
    ("apps", "daemonsets"): (_DAEMON_SET, workloads.daemon_set_cells),
    ("apps", "statefulsets"): (
        "Name Ready Age Containers+ Images+",
        workloads.stateful_set_cells,
    ),
    ("apps", "controllerrevisions"): (
        "Name Controller Revision Age",
        workloads.controller_revision_cells,
    ),
    ("batch", "jobs"): (f"Name Status Completions Duration Age {_TEMPLATE}", workloads.job_cells),
    ("batch", "cronjobs"): (
        f"Name Schedule Timezone Suspend:boolean Active:integer Last_Schedule Age {_TEMPLATE}",
        workloads.cron_job_cells,
    ),
    ("autoscaling", "horizontalpodautoscalers"): (
        "Name Reference Targets MinPods MaxPods Replicas Age",
        workloads.horizontal_pod_autoscaler_cells,
    ),
    ("policy", "poddisruptionbudgets"): (
        "Name Min_Available Max_Unavailable Allowed_Disruptions:integer Age",
        workloads.pod_disruption_budget_cells,
    ),
    ("discovery.k8s.io", "endpointslices"): (
        "Name AddressType Ports Endpoints Age",
        core.endpoint_slice_cells,
    ),
    ("coordination.k8s.io", "leases"): ("Name Holder Age", core.lease_cells),
    ("coordination.k8s.io", "leasecandidates"): (
        "Name LeaseName BinaryVersion EmulationVersion Age",
        core.lease_candidate_cells,
    ),
    (_RBAC, "rolebindings"): (_BINDING, core.binding_cells),
    (_RBAC, "clusterrolebindings"): (_BINDING, core.binding_cells),
    (_STORAGE, "storageclasses"): (_CLASS, storage.storage_class_cells),
    (_STORAGE, "volumeattachments"): (
        "Name Attacher:name PV Node Attached:boolean Age",
        storage.volume_attachment_cells,
    ),
    (_STORAGE, "csidrivers"): (_DRIVER, storage.csi_driver_cells),
    (_STORAGE, "csinodes"): ("Name Drivers:integer Age", storage.csi_node_cells),
    (_STORAGE, "volumeattributesclasses"): (
        "Name DriverName Age",
        storage.volume_attributes_class_cells,
    ),
    ("scheduling.k8s.io", "priorityclasses"): (
        "Name Value:integer Global-Default:boolean Age PreemptionPolicy",
        core.priority_class_cells,
    ),
    ("node.k8s.io", "runtimeclasses"): ("Name Handler Age", policy.runtime_class_cells),
    (_NETWORKING, "ingresses"): ("Name Class Hosts Address Ports Age", policy.ingress_cells),
    (_NETWORKING, "ingressclasses"): (
        "Name Controller Parameters Age",
        policy.ingress_class_cells,
    ),
    (_NETWORKING, "networkpolicies"): ("Name Pod-Selector Age", policy.network_policy_cells),
    (_NETWORKING, "servicecidrs"): ("Name CIDRs Age", policy.service_cidr_cells),
    (_NETWORKING, "ipaddresses"): ("Name ParentRef", policy.ip_address_cells),
    ("certificates.k8s.io", "certificatesigningrequests"): (
        "Name Age SignerName Requestor RequestedDuration Condition",
        policy.signing_request_cells,
    ),
    ("certificates.k8s.io", "clustertrustbundles"): (
        "Name SignerName",
        policy.trust_bundle_cells,
    ),
    (_ADMISSION, "mutatingwebhookconfigurations"): (
        "Name Webhooks:integer Age",
        policy.webhook_cells,
    ),
    (_ADMISSION, "validatingwebhookconfigurations"): (
        "Name Webhooks:integer Age",
        policy.webhook_cells,
    ),
    (_ADMISSION, "validatingadmissionpolicies"): (
        "Name Validations:integer ParamKind Age",
        policy.admission_policy_cells,
    ),
    (_ADMISSION, "validatingadmissionpolicybindings"): (
        "Name PolicyName ParamRef Age",
        policy.admission_binding_cells,
    ),
    (_ADMISSION, "mutatingadmissionpolicies"): (
        "Name Mutations:integer ParamKind Age",
        policy.admission_policy_cells,
    ),
    (_ADMISSION, "mutatingadmissionpolicybindings"): (
        "Name PolicyName ParamRef Age",
        policy.admission_binding_cells,
    ),
    ("storagemigration.k8s.io", "storageversionmigrations"): (
        "Name:string Resource Status",
        policy.storage_migration_cells,
    ),
    ("apiregistration.k8s.io", "apiservices"): (
        "Name Service Available Age",
        core.api_service_cells,
    ),
    (_FLOW, "flowschemas"): (
        "Name PriorityLevel MatchingPrecedence DistinguisherMethod Age MissingPL",
        policy.flow_schema_cells,
    ),
    (_FLOW, "prioritylevelconfigurations"): (
        ("Name Type NominalConcurrencyShares Queues HandSize QueueLengthLimit Age"),
        policy.priority_level_cells,
    ),
    (_DRA, "deviceclasses"): ("Name Age", core.name_age_cells),
    (_DRA, "resourceclaims"): ("Name State Age", policy.resource_claim_cells),
    (_DRA, "resourceclaimtemplates"): ("Name Age", core.name_age_cells),
    (_DRA, "resourceslices"): ("Name Node Driver Pool Age", policy.resource_slice_cells),
}

# Kinds whose tables are not in the order of the list.
_ORDERS: dict[tuple[str, str], Order] = {(_FLOW, "flowschemas"): policy.flow_schema_order}
SCALE = Printer("Name:string Desired:integer Available:integer Age", workloads.scale_cells)

_made: dict[tuple[str, str], Printer] = {}


def printer_for(resource: Resource) -> Printer | None:
    """The printer of a resource; None: Name and Created At will do."""
    key = (resource.group, resource.plural)
    printer = _made.get(key)
    if printer is None:
        if key == ("", "pods"):
            printer = PodPrinter()
        elif key in _PRINTERS:
            printer = Printer(*_PRINTERS[key], order=_ORDERS.get(key))
        else:
            return None
        _made[key] = printer
    return printer
