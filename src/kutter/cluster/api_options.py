"""Settings of the API server, named as upstream's flags: audit, identity, limits and so on.

A setting of ``audit_log_path`` is the flag ``--audit-log-path``. Durations are Go's text.
"""

from __future__ import annotations

from typing import Any, Self, dataclass_transform

from kutter.api.durations import DurationError, parse


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Settings:
    """Frozen values by name, each with a default.

    No dataclass: the methods Python would compile for sixty fields are 3 ms of every start.
    """

    def __init__(self, **given: Any) -> None:
        unknown = given.keys() - self.defaults().keys()
        if unknown:
            raise TypeError(f"unknown settings: {', '.join(sorted(unknown))}")
        # What is not given stays what it is in the class.
        self.__dict__.update(given)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every setting's name, with its default."""
        return {
            name: getattr(cls, name)
            for one in reversed(cls.__mro__[:-1])
            for name in one.__annotations__
        }

    def values(self) -> dict[str, Any]:
        """Every setting's name, with its value."""
        return self.defaults() | self.__dict__

    def differs(self, *beginnings: str) -> bool:
        """Whether a setting whose name begins so is not what it is by default."""
        return any(
            value != getattr(type(self), name)
            for name, value in self.__dict__.items()
            if name.startswith(beginnings)
        )

    def replace(self, **changes: Any) -> Self:
        """The same but for these."""
        return type(self)(**self.__dict__ | changes)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"settings are frozen: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"settings are frozen: {name}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.values() == self.values()

    def __hash__(self) -> int:
        return hash(tuple(self.values().items()))


class ApiServerOptions(Settings):
    """Without an audit policy file there is no audit; without a backend its events go nowhere."""

    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    request_timeout: str = "1m0s"
    shutdown_delay_duration: str = "0s"
    etcd_compaction_interval: str = "5m0s"
    event_ttl: str = "1h0m0s"
    runtime_config: str = ""
    enable_admission_plugins: str = ""
    disable_admission_plugins: str = ""
    admission_control_config_file: str = ""
    audit_policy_file: str = ""
    audit_log_path: str = ""
    audit_log_maxage: int = 0
    audit_log_maxbackup: int = 0
    audit_log_maxsize: int = 0
    audit_webhook_config_file: str = ""
    audit_webhook_batch_buffer_size: int = 10_000
    audit_webhook_batch_max_size: int = 400
    audit_webhook_batch_max_wait: str = "30s"
    audit_webhook_batch_throttle_enable: str = "true"
    audit_webhook_batch_throttle_qps: int = 10
    audit_webhook_batch_throttle_burst: int = 15
    audit_webhook_initial_backoff: str = "10s"
    encryption_provider_config: str = ""
    authentication_config: str = ""
    authentication_token_webhook_config_file: str = ""
    authentication_token_webhook_cache_ttl: str = "2m0s"  # noqa: S105  (a duration)
    authentication_token_webhook_version: str = "v1beta1"  # noqa: S105  (a version)
    token_auth_file: str = ""
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_required_claim: str = ""
    oidc_ca_file: str = ""
    oidc_signing_algs: str = "RS256"
    authorization_config: str = ""
    authorization_mode: str = "Node,RBAC"
    authorization_webhook_config_file: str = ""
    authorization_webhook_version: str = "v1beta1"
    authorization_webhook_cache_authorized_ttl: str = "5m0s"
    authorization_webhook_cache_unauthorized_ttl: str = "30s"

    def check_api(self) -> None:
        """Raise ValueError for a setting that cannot work."""
        for name in API_FLAGS:
            value = getattr(self, name)
            if isinstance(value, int) and value < 0:
                raise ValueError(f"--{name.replace('_', '-')} is {value}, expected 0 or more")
        for name in (
            "audit_webhook_batch_max_wait",
            "audit_webhook_initial_backoff",
            "shutdown_delay_duration",
            "etcd_compaction_interval",
            "authentication_token_webhook_cache_ttl",
            "authorization_webhook_cache_authorized_ttl",
            "authorization_webhook_cache_unauthorized_ttl",
        ):
            seconds_of(self, name)
        if not seconds_of(self, "request_timeout"):
            raise ValueError(f"--request-timeout is {self.request_timeout}, expected more than 0s")
        if not seconds_of(self, "event_ttl"):
            raise ValueError(f"--event-ttl is {self.event_ttl}, expected more than 0s")
        if not self.max_requests_inflight + self.max_mutating_requests_inflight:
            raise ValueError(
                "--max-requests-inflight and --max-mutating-requests-inflight are 0 together,"
                " so nothing could be served"
            )
        if self.audit_webhook_batch_throttle_enable not in ("true", "false"):
            raise ValueError("--audit-webhook-batch-throttle-enable is true or false")
        for name in (
            "audit_webhook_batch_buffer_size",
            "audit_webhook_batch_max_size",
            "audit_webhook_batch_throttle_qps",
            "audit_webhook_batch_throttle_burst",
        ):
            if not getattr(self, name):
                raise ValueError(f"--{name.replace('_', '-')} is 0, expected 1 or more")
        if self.runtime_config:
            # As below: what is not set is not read in.
            from kutter.api.runtime_config import served_resources

            served_resources(self.runtime_config)
        self._check_admission()

    def _check_admission(self) -> None:
        chosen = (self.enable_admission_plugins, self.disable_admission_plugins)
        if any(chosen) or self.admission_control_config_file:
            # Read in where it is needed: commands that set nothing of it start faster.
            from kutter.apiserver.admission.configuration import read_admission_options
            from kutter.apiserver.admission.registry import check_names

            check_names(read_admission_options(*chosen, self.admission_control_config_file))


def seconds_of(options: ApiServerOptions, name: str) -> float:
    """A duration among the settings. Raises ValueError."""
    text = getattr(options, name)
    try:
        seconds = parse(text)
    except DurationError as error:
        raise ValueError(f"--{name.replace('_', '-')}: {error}") from error
    if seconds < 0:
        raise ValueError(f"--{name.replace('_', '-')} is {text}, expected 0s or more")
    return seconds


# Settings that name a file; ``-`` is standard output.
FILE_SETTINGS = frozenset(
    {
        "admission_control_config_file",
        "audit_policy_file",
        "audit_log_path",
        "audit_webhook_config_file",
        "authentication_config",
        "authentication_token_webhook_config_file",
        "authorization_config",
        "authorization_webhook_config_file",
        "encryption_provider_config",
        "oidc_ca_file",
        "token_auth_file",
    }
)
# Setting, and what its flag's help says.
API_FLAGS: dict[str, str] = {
    "max_requests_inflight": "seats of requests served at once, shared out (default 400)",
    "max_mutating_requests_inflight": "added to those seats (default 200)",
    "event_ttl": "how long events are kept (default 1h0m0s)",
    "runtime_config": "group-versions served beside the usual ones, with commas:"
    " group/version=true, or api/beta=true for all there are",
    "request_timeout": "how long a request may take, watches and streams apart (default 1m0s)",
    "enable_admission_plugins": "admission plugins to use beside those on by default, with commas",
    "disable_admission_plugins": "admission plugins not to use although on by default, with commas",
    "admission_control_config_file": "configuration of admission plugins"
    " (apiserver.config.k8s.io/v1 AdmissionConfiguration)",
    "shutdown_delay_duration": "how long a stopping server still serves, not ready (default 0s)",
    "etcd_compaction_interval": "how long a list of many pages and lists of the past find what was"
    " there, at least; 0s: as long as 10000 changes last (default 5m0s)",
    "audit_policy_file": "audit policy (audit.k8s.io/v1 Policy); without one nothing is audited",
    "audit_log_path": "file audit events are appended to, - for standard output",
    "audit_log_maxage": "days audit files put aside are kept (default: for ever)",
    "audit_log_maxbackup": "how many audit files put aside are kept (default: all)",
    "audit_log_maxsize": "megabytes after which an audit file is put aside (default 100)",
    "audit_webhook_config_file": "kubeconfig of the endpoint audit events are sent to",
    "audit_webhook_batch_buffer_size": "audit events kept for sending (default 10000)",
    "audit_webhook_batch_max_size": "most audit events of one batch (default 400)",
    "audit_webhook_batch_max_wait": "how long a batch waits for more events (default 30s)",
    "audit_webhook_batch_throttle_enable": "whether batches are throttled (default true)",
    "audit_webhook_batch_throttle_qps": "batches a second on average (default 10)",
    "audit_webhook_batch_throttle_burst": "batches sent at once before throttling (default 15)",
    "audit_webhook_initial_backoff": "wait before a failed batch is sent again (default 10s)",
    "encryption_provider_config": "how values are encrypted in the store (default: a file in the"
    " state folder that encrypts secrets)",
    "authentication_config": "AuthenticationConfiguration: issuers of tokens, anonymous requests",
    "authentication_token_webhook_config_file": "kubeconfig of a webhook that knows tokens",
    "authentication_token_webhook_cache_ttl": "how long its answers are kept (default 2m)",
    "authentication_token_webhook_version": "v1 or v1beta1 of TokenReview (default v1beta1)",
    "token_auth_file": 'file of bearer tokens: token,user,uid,"group1,group2"',
    "oidc_issuer_url": "issuer of OpenID Connect tokens",
    "oidc_client_id": "the client (audience) such tokens are for",
    "oidc_username_claim": "the claim that names the user (default sub)",
    "oidc_username_prefix": "put before user names; - for none (default: the issuer and #)",
    "oidc_groups_claim": "the claim that names the groups",
    "oidc_groups_prefix": "put before groups",
    "oidc_required_claim": "key=value pairs that tokens must hold, comma-separated",
    "oidc_ca_file": "who signs the issuer's certificate (default: whom the system trusts)",
    "oidc_signing_algs": "algorithms tokens may be signed with (default RS256)",
    "authorization_config": "AuthorizationConfiguration: authorizers in their order, webhooks",
    "authorization_mode": "authorizers in their order (default Node,RBAC)",
    "authorization_webhook_config_file": "kubeconfig of the webhook of the mode Webhook",
    "authorization_webhook_version": "v1 or v1beta1 of SubjectAccessReview (default v1beta1)",
    "authorization_webhook_cache_authorized_ttl": "how long it is remembered to allow (default 5m)",
    "authorization_webhook_cache_unauthorized_ttl": "... and not to (default 30s)",
}
