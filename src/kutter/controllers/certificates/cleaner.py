"""Removes certificate requests nobody waits for any more.

Owns: the end of certificate requests. Reads and deletes them. Invariants: a request goes an hour
after it was approved and signed, denied or failed, a day after it was made if nobody decided, and
when its certificate is out of date; never sooner.
Upstream: ``pkg/controller/certificates/cleaner``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.certificates_v1 import CertificateSigningRequest
from kutter.base.clock import Clock, parse_time
from kutter.client.client import Client
from kutter.machinery.controller import Result, Source, own_key
from kutter.machinery.informer import InformerFactory

DECIDED_FOR = timedelta(hours=1)
PENDING_FOR = timedelta(hours=24)


def plan_end(request: CertificateSigningRequest) -> tuple[datetime, str]:
    """When the request goes, and why. Pure."""
    created = parse_time(request.metadata.creation_timestamp)
    ends = []
    decided = False
    for condition in request.status.conditions:
        signed = condition.type == "Approved" and bool(request.status.certificate)
        if signed or condition.type in ("Denied", "Failed"):
            since = (
                parse_time(condition.last_update_time) if condition.last_update_time else created
            )
            ends.append((since + DECIDED_FOR, f"{condition.type} since an hour"))
        decided = decided or condition.type in ("Approved", "Denied", "Failed")
    if not decided:
        ends.append((created + PENDING_FOR, "pending since a day"))
    expires = _expiry_of(request.status.certificate)
    if expires is not None:
        ends.append((expires, "its certificate is out of date"))
    # Approved and never signed by its signer: upstream keeps it; so do we, for its signer.
    return min(ends, default=(datetime.max.replace(tzinfo=created.tzinfo), ""))


def _expiry_of(certificate: str) -> datetime | None:
    if not certificate:
        return None
    try:
        parsed = x509.load_pem_x509_certificates(base64.b64decode(certificate))
    except (ValueError, binascii.Error):
        return None
    return parsed[0].not_valid_after_utc


class CertificateCleaner:
    name = "certificatesigningrequest-cleaner"

    def __init__(self, client: Client, informers: InformerFactory, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._requests = informers.informer(CertificateSigningRequest)

    def sources(self) -> Sequence[Source]:
        return [Source(self._requests, own_key)]

    async def reconcile(self, key: str) -> Result:
        request = self._requests.get(key)
        if request is None:
            return Result()
        end, why = plan_end(request)
        if not why:
            return Result()
        left = (end - self._clock.now()).total_seconds()
        if left > 0:
            return Result(f"{why}: goes later", left)
        try:
            await self._client.delete(CertificateSigningRequest, key, uid=request.metadata.uid)
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise
        return Result(f"removed: {why}")
