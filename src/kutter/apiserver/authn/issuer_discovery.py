"""How others find the keys of service-account tokens: OpenID Connect discovery.

Bodies for ``/.well-known/openid-configuration`` and ``/openid/v1/jwks``; both change only with
the keys, so they are made once.
https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from __future__ import annotations

import orjson

from kutter.apiserver.authn.token_keys import TokenKeys

CONFIGURATION_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"


class IssuerDiscovery:
    """The two documents, by path: (content type, body)."""

    def __init__(self, keys: TokenKeys, issuer: str, *, external_url: str = "") -> None:
        base = external_url or issuer
        configuration = orjson.dumps(
            {
                "issuer": issuer,
                "jwks_uri": base.rstrip("/") + KEYS_PATH,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": keys.algorithms,
            }
        )
        self.documents: dict[str, tuple[str, bytes]] = {
            CONFIGURATION_PATH: ("application/json", configuration),
            KEYS_PATH: ("application/jwk-set+json", keys.jwks()),
        }
