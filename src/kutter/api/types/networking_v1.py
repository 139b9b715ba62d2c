"""Reader views of networking.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.core_v1 import TypedLocalObjectReference
from kutter.api.types.meta_v1 import Condition, KubeObject, LabelSelector, ObjectMeta


class ServiceBackendPort(View):
    name: str = ""
    number: int = 0


class IngressServiceBackend(View):
    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(View):
    resource: TypedLocalObjectReference | None = None
    service: IngressServiceBackend | None = None


class HTTPIngressPath(View):
    backend: IngressBackend = IngressBackend()
    path: str = ""
    path_type: str | None = None


class HTTPIngressRuleValue(View):
    paths: tuple[HTTPIngressPath, ...] = ()


class IngressRule(View):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(View):
    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(View):
    default_backend: IngressBackend | None = None
    ingress_class_name: str | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class IngressPortStatus(View):
    error: str | None = None
    port: int = 0
    protocol: str = ""


class IngressLoadBalancerIngress(View):
    hostname: str = ""
    ip: str = ""
    ports: tuple[IngressPortStatus, ...] = ()


class IngressLoadBalancerStatus(View):
    ingress: tuple[IngressLoadBalancerIngress, ...] = ()


class IngressStatus(View):
    load_balancer: IngressLoadBalancerStatus = IngressLoadBalancerStatus()


class Ingress(KubeObject):
    resource: ClassVar[Resource] = builtin("networking.k8s.io", "v1", "ingresses")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassParametersReference(View):
    api_group: str | None = None
    kind: str = ""
    name: str = ""
    namespace: str | None = None
    scope: str | None = None


class IngressClassSpec(View):
    controller: str = ""
    parameters: IngressClassParametersReference | None = None


class IngressClass(KubeObject):
    resource: ClassVar[Resource] = builtin("networking.k8s.io", "v1", "ingressclasses")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressClassSpec = IngressClassSpec()


class IPBlock(View):
    cidr: str = ""
    except_: tuple[str, ...] = ()


class NetworkPolicyPeer(View):
    ip_block: IPBlock | None = None
    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector | None = None


class NetworkPolicyPort(View):
    end_port: int | None = None
    port: int | str | None = None
    protocol: str | None = None


class NetworkPolicyEgressRule(View):
    ports: tuple[NetworkPolicyPort, ...] = ()
    to: tuple[NetworkPolicyPeer, ...] = ()


class NetworkPolicyIngressRule(View):
    from_: tuple[NetworkPolicyPeer, ...] = ()
    ports: tuple[NetworkPolicyPort, ...] = ()


class NetworkPolicySpec(View):
    egress: tuple[NetworkPolicyEgressRule, ...] = ()
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    pod_selector: LabelSelector = LabelSelector()
    policy_types: tuple[str, ...] = ()


class NetworkPolicy(KubeObject):
    resource: ClassVar[Resource] = builtin("networking.k8s.io", "v1", "networkpolicies")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: NetworkPolicySpec = NetworkPolicySpec()


class ServiceCIDRSpec(View):
    cidrs: tuple[str, ...] = ()


class ServiceCIDRStatus(View):
    conditions: tuple[Condition, ...] = ()


class ServiceCIDR(KubeObject):
    resource: ClassVar[Resource] = builtin("networking.k8s.io", "v1", "servicecidrs")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceCIDRSpec = ServiceCIDRSpec()
    status: ServiceCIDRStatus = ServiceCIDRStatus()


class ParentReference(View):
    group: str = ""
    name: str = ""
    namespace: str = ""
    resource: str = ""


class IPAddressSpec(View):
    parent_ref: ParentReference | None = None


class IPAddress(KubeObject):
    resource: ClassVar[Resource] = builtin("networking.k8s.io", "v1", "ipaddresses")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: IPAddressSpec = IPAddressSpec()
