"""A node's CertificateSigningRequest -> approved, signed, and some day removed.

Kubernetes: pkg/controller/certificates (csrapproving, csrsigning, csrcleaner). What may be approved and how it is
signed is in signing.py. Unlike Kubernetes the kubelet's serving certificate is approved too, because a lab has nobody
to do it: only to a node that asks in its own name, for its own name and addresses, and for none that is the API
server's, a Service's, a pod's or another node's. Everything else waits for `kubectl certificate approve`.

Invariants
- Approval and certificate are two compare-and-swap writes; after a crash between them the second is made up for.
- A request that is denied or failed is never touched again.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from lightkube.models.certificates_v1 import CertificateSigningRequestCondition, CertificateSigningRequestStatus
from lightkube.resources.certificates_v1 import CertificateSigningRequest
from lightkube.resources.core_v1 import Node, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from controllers import signing, writes
from controllers.manager import Manager

HOUR = 3600.0
RECONSIDER = 5.0
"""Seconds until a request that was not approved is looked at again: its node may be gone meanwhile."""
APISERVER = "default/kubernetes"
"""The EndpointSlice with the API servers' addresses."""

log = logging.getLogger("csr")


@dataclass(frozen=True)
class Lifetimes:
    """Seconds: of a certificate, and how long settled and open requests are kept."""

    certificate: float = 365 * 24 * HOUR
    settled: float = 1 * HOUR
    pending: float = 24 * HOUR


class CsrController:
    """Approves and signs what joining nodes ask for. Without an authority it only cleans up."""

    def __init__(self, manager: Manager, *, authority: signing.Authority | None, lifetimes: Lifetimes) -> None:
        self._client = manager.client
        self._authority = authority
        self._lifetimes = lifetimes
        self._requests = manager.informer(CertificateSigningRequest)
        self._nodes = manager.informer(Node)
        self._services = manager.informer(Service)
        self._slices = manager.informer(EndpointSlice)
        self._controller = manager.controller("csr", self.reconcile, workers=4)
        self._requests.on_change(self._request_changed)

    def _request_changed(self, old: CertificateSigningRequest | None, new: CertificateSigningRequest | None) -> None:
        if new is not None:
            self._controller.enqueue(meta.name(new))

    async def reconcile(self, key: str) -> None:
        csr = self._requests.get(key)
        if csr is None or csr.spec is None:
            return
        if csr.spec.signerName in signing.SIGNERS and self._authority is not None and not _is_settled(csr):
            csr = await self._approve(csr)
            await self._sign(csr, self._authority)
        await self._clean_up(csr)

    async def _approve(self, csr: CertificateSigningRequest) -> CertificateSigningRequest:
        """Approve it if nobody has and the rules allow it."""
        spec = csr.spec
        if _has(csr, "Approved"):
            return csr
        try:
            request = signing.parse(_pem(csr))
            signing.check(request, signer=spec.signerName, usages=spec.usages or ())
            message = signing.may_approve(spec, request, self._world(signing.common_name(request)))
        except signing.NotAllowed as error:
            log.info("%s: not approved: %s", meta.name(csr), error)
            self._controller.enqueue_after(meta.name(csr), RECONSIDER)
            return csr
        return await writes.put(self._client, _with(csr, "Approved", "AutoApproved", message), "approval")

    def _world(self, subject: str) -> signing.World:
        name = subject.removeprefix(signing.NODE_PREFIX)
        own = self._nodes.get(name)
        others = [each for each in self._nodes.list() if meta.name(each) != name]
        foreign = {address for node in others for address in _addresses(node)}
        for service in self._services.list():
            spec = service.spec
            foreign.update([*((spec and spec.clusterIPs) or ()), *((spec and spec.externalIPs) or ())])
        apiserver = self._slices.get(APISERVER)
        foreign.update(address for each in (apiserver and apiserver.endpoints) or () for address in each.addresses)
        ranges = [text for node in self._nodes.list() for text in (node.spec and node.spec.podCIDRs) or ()]
        return signing.World(
            is_ready=own is not None and _is_ready(own),
            addresses=(_addresses(own) or None) if own else None,
            foreign=foreign,
            networks=[ipaddress.ip_network(text) for text in ranges],
        )

    async def _sign(self, csr: CertificateSigningRequest, authority: signing.Authority) -> None:
        if not _has(csr, "Approved"):
            return
        spec = csr.spec
        usages = spec.usages or []
        try:
            request = signing.parse(_pem(csr))
            signing.check(request, signer=spec.signerName, usages=usages)
        except signing.NotAllowed as error:
            await writes.put(self._client, _with(csr, "Failed", "SignerValidationFailure", str(error)), "status")
            return
        seconds = signing.lifetime(spec, self._lifetimes.certificate)
        certificate = signing.sign(request, authority, usages=usages, seconds=seconds, now=datetime.now(UTC))
        signed = meta.clone(csr)
        signed.status = signed.status or CertificateSigningRequestStatus()
        signed.status.certificate = base64.b64encode(certificate).decode()
        await writes.put(self._client, signed, "status")
        log.info("%s: signed for %s", meta.name(csr), signing.common_name(request))

    async def _clean_up(self, csr: CertificateSigningRequest) -> None:
        """Remove settled and forgotten requests after a while; kubelets ask with a new one each time."""
        created = meta.metadata(csr).creationTimestamp
        if created is None:
            return
        allowed = self._lifetimes.settled if _is_settled(csr) else self._lifetimes.pending
        left = allowed - (datetime.now(UTC) - created).total_seconds()
        if left > 0:
            self._controller.enqueue_after(meta.name(csr), left + 1)
            return
        await writes.delete_quietly(self._client, csr)


def _addresses(node: Node) -> set[str]:
    return {each.address for each in (node.status and node.status.addresses) or ()}


def _is_ready(node: Node) -> bool:
    conditions = (node.status and node.status.conditions) or ()
    return any(each.type == "Ready" and each.status == "True" for each in conditions)


def _has(csr: CertificateSigningRequest, type_: str) -> bool:
    conditions = csr.status.conditions if csr.status else None
    return any(each.type == type_ for each in conditions or ())


def _is_settled(csr: CertificateSigningRequest) -> bool:
    """Denied, failed or issued."""
    issued = csr.status is not None and bool(csr.status.certificate)
    return issued or _has(csr, "Denied") or _has(csr, "Failed")


def _with(csr: CertificateSigningRequest, type_: str, reason: str, message: str) -> CertificateSigningRequest:
    now = meta.now()
    changed = meta.clone(csr)
    changed.status = changed.status or CertificateSigningRequestStatus()
    changed.status.conditions = [
        *(changed.status.conditions or []),
        CertificateSigningRequestCondition(
            type=type_, status="True", reason=reason, message=message, lastUpdateTime=now, lastTransitionTime=now
        ),
    ]
    return changed


def _pem(csr: CertificateSigningRequest) -> bytes:
    try:
        return base64.b64decode(csr.spec.request, validate=True)
    except (ValueError, binascii.Error):
        raise signing.NotAllowed("the request is not base64") from None
