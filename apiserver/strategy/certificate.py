"""CertificateSigningRequests: the request is fixed and carries who made it; approval and issuing are the status."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from cryptography import x509
from lightkube.models.certificates_v1 import CertificateSigningRequestStatus

from api import meta
from api.errors import FieldError, forbidden, invalid, not_supported, required
from apiserver import names
from apiserver.strategy.base import Strategy

if TYPE_CHECKING:
    from apiserver.auth import User

USAGES = frozenset(
    [
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
    ]
)
FINAL = ("Approved", "Denied", "Failed")


class CertificateSigningRequestStrategy(Strategy):
    def set_requester(self, obj: Any, user: User) -> None:
        """Whatever the client wrote: it is who it is."""
        if obj.spec is not None:
            obj.spec.username, obj.spec.groups, obj.spec.uid = user.name, [*user.groups], user.uid or None
            obj.spec.extra = {key: [*values] for key, values in user.extra.items()} or None

    def initial_status(self, obj: Any) -> CertificateSigningRequestStatus:
        return CertificateSigningRequestStatus()

    def set_defaults(self, obj: Any) -> None:
        if obj.spec is not None and not obj.spec.usages:
            obj.spec.usages = ["digital signature", "key encipherment"]

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        new.spec = old.spec

    def prepare_status(self, new: Any, old: Any) -> None:
        super().prepare_status(new, old)
        before = {each.type: each for each in (old.status and old.status.conditions) or ()}
        for condition in (new.status and new.status.conditions) or ():
            condition.lastUpdateTime = condition.lastUpdateTime or meta.now()
            known = before.get(condition.type)
            if condition.lastTransitionTime is None:
                same = known is not None and known.status == condition.status
                condition.lastTransitionTime = known.lastTransitionTime if known and same else meta.now()

    def validate(self, obj: Any) -> list[FieldError]:
        spec = obj.spec
        errors = _validate_request(spec.request)
        if not spec.signerName:
            errors.append(required("spec.signerName"))
        else:
            domain, slash, rest = spec.signerName.partition("/")
            if not slash or not rest or names.dns_subdomain(domain):
                why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
                errors.append(invalid("spec.signerName", spec.signerName, why))
        for index, usage in enumerate(spec.usages or ()):
            if usage not in USAGES:
                errors.append(not_supported(f"spec.usages[{index}]", usage, sorted(USAGES)))
        if spec.expirationSeconds is not None and spec.expirationSeconds < 600:
            errors.append(
                invalid(
                    "spec.expirationSeconds",
                    spec.expirationSeconds,
                    "may not specify a duration less than 600 seconds (10 minutes)",
                )
            )
        return errors

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return []

    def validate_status(self, new: Any, old: Any) -> list[FieldError]:
        """Approved, Denied and Failed stay once they are set, and the first two exclude each other."""
        after = {each.type: each for each in (new.status and new.status.conditions) or ()}
        before = {each.type: each for each in (old.status and old.status.conditions) or ()}
        errors: list[FieldError] = []
        for name in FINAL:
            if name in before and name not in after:
                errors.append(forbidden("status.conditions", f'updates may not remove a condition of type "{name}"'))
        if "Approved" in after and "Denied" in after:
            errors.append(
                invalid("status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive")
            )
        for name, condition in after.items():
            if name in FINAL and condition.status not in (None, "", "True"):
                errors.append(invalid("status.conditions", condition.status, f"{name} condition must have status True"))
        was = old.status.certificate if old.status else None
        if was and (new.status is None or new.status.certificate != was):
            errors.append(forbidden("status.certificate", "updates may not modify existing certificate content"))
        return errors


def _validate_request(text: str) -> list[FieldError]:
    if not text:
        return [required("spec.request")]
    try:
        x509.load_pem_x509_csr(base64.b64decode(text, validate=True))
    except ValueError:
        why = "PEM block type must be CERTIFICATE REQUEST"
        return [invalid("spec.request", "<value omitted>", why)]
    return []
