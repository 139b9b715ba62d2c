"""A bundle as charts of operators are: definitions, rights, webhooks, configuration, a workload.

``bundle(prefix)`` is what such a chart renders to, cluster-wide names carrying the prefix.
"""

from __future__ import annotations

from typing import Any

import yaml

_BUNDLE = """
apiVersion: v1
kind: Namespace
metadata:
  name: PREFIX-system
  labels: {app.kubernetes.io/managed-by: Helm, pod-security.kubernetes.io/enforce: baseline}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: gateways.PREFIX.example.com
  annotations: {controller-gen.kubebuilder.io/version: v0.17.2}
spec:
  group: PREFIX.example.com
  names: {categories: [PREFIX], kind: Gateway, listKind: GatewayList, plural: gateways,
          shortNames: [PREFIXgw], singular: gateway}
  scope: Namespaced
  conversion:
    strategy: Webhook
    webhook:
      clientConfig:
        service: {name: PREFIX-webhook, namespace: PREFIX-system, path: /convert}
      conversionReviewVersions: [v1]
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {jsonPath: .status.phase, name: Phase, type: string}
    - {jsonPath: .metadata.creationTimestamp, name: Age, type: date}
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        description: A gateway.
        type: object
        required: [spec]
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            properties:
              listeners:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name, port]
                  properties:
                    name: {type: string, maxLength: 63}
                    port: {type: integer, format: int32, minimum: 1, maximum: 65535}
                    protocol: {type: string, default: TCP, enum: [TCP, UDP]}
              resources:
                type: object
                additionalProperties:
                  anyOf: [{type: integer}, {type: string}]
                  x-kubernetes-int-or-string: true
          status:
            type: object
            properties:
              phase: {type: string}
              conditions:
                type: array
                items:
                  type: object
                  required: [type, status]
                  properties:
                    type: {type: string}
                    status: {type: string}
                    lastTransitionTime: {type: string, format: date-time}
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: PREFIX-controller, namespace: PREFIX-system}
automountServiceAccountToken: true
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: PREFIX-controller}
rules:
- {apiGroups: [PREFIX.example.com], resources: [gateways, gateways/status], verbs: ["*"]}
- {apiGroups: [""], resources: [events], verbs: [create, patch]}
- {nonResourceURLs: [/metrics], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: PREFIX-view
  labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}
rules:
- {apiGroups: [PREFIX.example.com], resources: [gateways], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: PREFIX-controller}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: PREFIX-controller}
subjects:
- {kind: ServiceAccount, name: PREFIX-controller, namespace: PREFIX-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: PREFIX-leases, namespace: PREFIX-system}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: PREFIX-leases, namespace: PREFIX-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: PREFIX-leases}
subjects:
- {kind: ServiceAccount, name: PREFIX-controller, namespace: PREFIX-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: PREFIX-config, namespace: PREFIX-system}
data:
  config.yaml: |
    logLevel: info
    leaderElection: {enabled: true}
binaryData: {logo: iVBORw0KGgo=}
---
apiVersion: v1
kind: Secret
metadata: {name: PREFIX-token, namespace: PREFIX-system}
type: Opaque
data: {token: bm90LWEtc2VjcmV0}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: PREFIX-controller
  namespace: PREFIX-system
  labels: {app.kubernetes.io/name: PREFIX, app.kubernetes.io/instance: PREFIX}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: PREFIX}}
  template:
    metadata:
      labels: {app.kubernetes.io/name: PREFIX}
      annotations: {checksum/config: abc}
    spec:
      serviceAccountName: PREFIX-controller
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: manager
        image: registry.example.com/PREFIX:1.2.3
        args: [--config=/etc/config/config.yaml]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: PREFIX-token, key: token}}}
        ports:
        - {containerPort: 9443, name: webhook}
        - {containerPort: 8080, name: metrics, protocol: TCP}
        resources: {limits: {cpu: "1", memory: 128Mi}, requests: {cpu: 100m, memory: 64Mi}}
        livenessProbe: {httpGet: {path: /healthz, port: 8081}, periodSeconds: 20}
        readinessProbe: {httpGet: {path: /readyz, port: metrics}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        volumeMounts:
        - {mountPath: /etc/config, name: config, readOnly: true}
      volumes:
      - name: config
        configMap: {name: PREFIX-config, defaultMode: 0o644}
      terminationGracePeriodSeconds: 10
---
apiVersion: v1
kind: Service
metadata: {name: PREFIX-webhook, namespace: PREFIX-system}
spec:
  selector: {app.kubernetes.io/name: PREFIX}
  ports:
  - {name: https, port: 443, targetPort: webhook}
  - {name: metrics, port: 8080}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: PREFIX-controller, namespace: PREFIX-system}
spec: {minAvailable: 50%, selector: {matchLabels: {app.kubernetes.io/name: PREFIX}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: PREFIX-controller, namespace: PREFIX-system}
spec:
  minReplicas: 1
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: PREFIX-controller}
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: PREFIX-webhook, namespace: PREFIX-system}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: PREFIX}}
  policyTypes: [Ingress]
  ingress:
  - ports: [{port: 9443, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: PREFIX-dashboard, namespace: PREFIX-system}
spec:
  rules:
  - host: PREFIX.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: PREFIX-webhook, port: {name: metrics}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: PREFIX-validating}
webhooks:
- name: gateways.PREFIX.example.com
  admissionReviewVersions: [v1]
  clientConfig:
    service: {name: PREFIX-webhook, namespace: PREFIX-system, path: /validate}
  failurePolicy: Ignore
  objectSelector: {matchLabels: {PREFIX.example.com/checked: "yes"}}
  rules:
  - {apiGroups: [PREFIX.example.com], apiVersions: [v1], operations: [CREATE, UPDATE],
     resources: [gateways], scope: Namespaced}
  sideEffects: None
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: PREFIX-mutating}
webhooks:
- name: mgateways.PREFIX.example.com
  admissionReviewVersions: [v1, v1beta1]
  clientConfig:
    service: {name: PREFIX-webhook, namespace: PREFIX-system, path: /mutate, port: 443}
  failurePolicy: Ignore
  objectSelector: {matchLabels: {PREFIX.example.com/checked: "yes"}}
  rules:
  - {apiGroups: [PREFIX.example.com], apiVersions: ["*"], operations: [CREATE],
     resources: [gateways], scope: Namespaced}
  sideEffects: None
  timeoutSeconds: 5
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: PREFIX-critical}
value: 1000
description: For what others wait for.
"""

_OBJECTS = """
apiVersion: PREFIX.example.com/v1
kind: Gateway
metadata: {name: web, namespace: PREFIX-system}
spec:
  listeners:
  - {name: http, port: 80, protocol: TCP}
  - {name: dns, port: 53, protocol: UDP}
  resources: {cpu: 1, memory: 1Gi}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: PREFIX-backup, namespace: PREFIX-system}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers: [{name: backup, image: "registry.example.com/backup:1"}]
"""


def bundle(prefix: str) -> list[dict[str, Any]]:
    """What the chart installs first."""
    return list(yaml.safe_load_all(_BUNDLE.replace("PREFIX", prefix)))


def objects(prefix: str) -> list[dict[str, Any]]:
    """What needs the definitions to be established."""
    return list(yaml.safe_load_all(_OBJECTS.replace("PREFIX", prefix)))
