"""CertificateSigningRequests: the request is fixed and carries who made it; approval and issuing are the status."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from lightkube.models.certificates_v1 import CertificateSigningRequestStatus
from lightkube.resources.certificates_v1 import CertificateSigningRequest

from api import meta
from api.durations import human_duration
from api.errors import FieldError, forbidden, invalid
from apiserver.auth.users import User
from apiserver.registry import fields, names, rules
from apiserver.registry.columns import AGE, NAME, NONE, Column, Object, at
from apiserver.registry.kind import Kind
from apiserver.verbs.status import APPROVAL, STATUS

USAGES = (
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
)
FINAL = ("Approved", "Denied", "Failed")


def stamp_requester(obj: Any, user: User) -> None:
    """Whatever the client wrote: it is who it is."""
    if obj.spec is not None:
        obj.spec.username, obj.spec.groups, obj.spec.uid = user.name, [*user.groups], user.uid or None
        obj.spec.extra = {key: [*values] for key, values in user.extra.items()} or None


def defaults(obj: Any) -> None:
    if obj.spec is not None and not obj.spec.usages:
        obj.spec.usages = ["digital signature", "key encipherment"]


def prepare_status(new: Any, old: Any) -> None:
    before = {each.type: each for each in fields.get(old, "status.conditions") or ()}
    for condition in fields.get(new, "status.conditions") or ():
        condition.lastUpdateTime = condition.lastUpdateTime or meta.now()
        known = before.get(condition.type)
        if condition.lastTransitionTime is None:
            same = known is not None and known.status == condition.status
            condition.lastTransitionTime = known.lastTransitionTime if known and same else meta.now()


def request_wrong(text: str) -> list[str]:
    try:
        x509.load_pem_x509_csr(base64.b64decode(text, validate=True))
    except ValueError:
        return ["PEM block type must be CERTIFICATE REQUEST"]
    return []


def readable(obj: Any) -> Iterator[FieldError]:
    if obj.spec.request:
        for why in request_wrong(obj.spec.request):
            yield invalid("spec.request", "<value omitted>", why)


def signer_wrong(text: str) -> list[str]:
    domain, slash, rest = text.partition("/")
    good = slash and rest and not names.dns_subdomain(domain)
    return [] if good else ["must be a fully qualified domain and path of the form 'example.com/signer-name'"]


def final_conditions(new: Any, old: Any) -> Iterator[FieldError]:
    """Approved, Denied and Failed stay once they are set, and the first two exclude each other."""
    after = {each.type: each for each in fields.get(new, "status.conditions") or ()}
    before = {each.type for each in fields.get(old, "status.conditions") or ()}
    for name in FINAL:
        if name in before and name not in after:
            yield forbidden("status.conditions", f'updates may not remove a condition of type "{name}"')
        if name in after and after[name].status not in (None, "", "True"):
            yield invalid("status.conditions", after[name].status, f"{name} condition must have status True")
    if "Approved" in after and "Denied" in after:
        yield invalid("status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive")


def _condition(csr: Object) -> str:
    status = csr.get("status") or {}
    types = [each["type"] for each in status.get("conditions") or []]
    words = [word for word in FINAL if word in types] or ["Pending"]
    return ",".join([*words, "Issued"] if status.get("certificate") else words)


def _duration(csr: Object) -> str:
    seconds = csr.get("spec", {}).get("expirationSeconds")
    return human_duration(seconds) if seconds else NONE


CERTIFICATE_SIGNING_REQUEST = Kind(
    CertificateSigningRequest,
    short_names=("csr",),
    subresources=(STATUS, APPROVAL),
    selectable=("spec.signerName",),
    columns=(
        NAME,
        AGE,
        Column("SignerName", at("spec.signerName", "")),
        Column("Requestor", at("spec.username", "")),
        Column("RequestedDuration", _duration),
        Column("Condition", _condition),
    ),
    stamp_requester=stamp_requester,
    defaults=defaults,
    initial_status=lambda obj: CertificateSigningRequestStatus(),
    fixed=("spec",),
    prepare_status=prepare_status,
    rules=(
        rules.required("spec.request"),
        readable,
        rules.required("spec.signerName"),
        rules.check("spec.signerName", signer_wrong),
        rules.one_of("spec.usages[*]", *USAGES),
        rules.check(
            "spec.expirationSeconds",
            lambda seconds: [] if seconds >= 600 else ["may not specify a duration less than 600 seconds (10 minutes)"],
        ),
    ),
    status_rules=(
        final_conditions,
        rules.set_once("status.certificate", "updates may not modify existing certificate content"),
    ),
)
