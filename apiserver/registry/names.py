"""Rules for names, labels and metadata. Pure.

Kubernetes: k8s.io/apimachinery/pkg/util/validation and pkg/api/validation; the messages are theirs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from api.errors import FieldError, forbidden, invalid, required

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_DNS_1123_LABEL = re.compile(_LABEL)
_DNS_1123_SUBDOMAIN = re.compile(_SUBDOMAIN)
_DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED_NAME = re.compile(_QUALIFIED)
_LABEL_VALUE = re.compile(rf"({_QUALIFIED})?")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

Rule = Callable[[str], list[str]]
"""Says what is wrong with a text; nothing: it is fine."""


def dns_label(text: str) -> list[str]:
    """A lowercase RFC 1123 label."""
    if len(text) > 63:
        return ["must be no more than 63 characters"]
    if _DNS_1123_LABEL.fullmatch(text):
        return []
    return [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
    ]


def dns_subdomain(text: str) -> list[str]:
    """A lowercase RFC 1123 subdomain: what most objects are named by."""
    if len(text) > 253:
        return ["must be no more than 253 characters"]
    if _DNS_1123_SUBDOMAIN.fullmatch(text):
        return []
    return [
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        f"'{_LABEL}(\\.{_LABEL})*')"
    ]


def dns_1035_label(text: str) -> list[str]:
    """The older label that Services are named by: it begins with a letter."""
    if len(text) > 63:
        return ["must be no more than 63 characters"]
    if _DNS_1035_LABEL.fullmatch(text):
        return []
    return [
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
        "is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    ]


def qualified_name(text: str) -> list[str]:
    """A label key: `name` or `example.com/name`."""
    prefix, slash, name = text.rpartition("/")
    wrong = []
    if slash:
        if not prefix:
            wrong.append("prefix part must be non-empty")
        else:
            wrong += [f"prefix part {each}" for each in dns_subdomain(prefix)]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append("name part must be no more than 63 characters")
    if not _QUALIFIED_NAME.fullmatch(name):
        wrong.append(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_QUALIFIED}')"
        )
    return wrong


def label_value(text: str) -> list[str]:
    if len(text) > 63:
        return ["must be no more than 63 characters"]
    if _LABEL_VALUE.fullmatch(text):
        return []
    return [
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        f"validation is '({_QUALIFIED})?')"
    ]


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    if len(text) > 253:
        return ["must be no more than 253 characters"]
    if not _CONFIG_KEY.fullmatch(text):
        return [
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        ]
    if text in (".", "..") or text.startswith(".."):
        return [f"must not be '{text}'" if text in (".", "..") else "must not start with '..'"]
    return []


def env_name(text: str) -> list[str]:
    if _ENV_NAME.fullmatch(text):
        return []
    return [
        "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must "
        "not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation "
        "is '[-._a-zA-Z][-._a-zA-Z0-9]*')"
    ]


def path_segment(text: str) -> list[str]:
    """A name that only has to fit into a URL."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{each}'" for each in "/%" if each in text]


def check(path: str, text: str, rule: Rule) -> list[FieldError]:
    return [invalid(path, text, why) for why in rule(text)]


# --- metadata ---------------------------------------------------------------------------------------------------

MAX_GENERATED_BASE = 63 - 5
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_ANNOTATIONS_LIMIT_BYTES = 256 * 1024


def generate(base: str) -> str:
    """A name from metadata.generateName: the base and five random characters, none of them a vowel."""
    return base[:MAX_GENERATED_BASE] + "".join(random.choices(_SUFFIX_ALPHABET, k=5))


def check_labels(labels: dict[str, str] | None, path: str) -> list[FieldError]:
    errors = []
    for key, value in (labels or {}).items():
        errors += check(path, key, qualified_name)
        errors += check(path, value, label_value)
    return errors


def check_metadata(meta: Any, rule: Rule, *, namespaced: bool) -> list[FieldError]:
    """What is wrong with the metadata of an object about to be created or replaced."""
    errors: list[FieldError] = []
    if meta.generateName:
        errors += check("metadata.generateName", meta.generateName.rstrip("-"), rule)
    if not meta.name:
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        errors += check("metadata.name", meta.name, rule)
    if namespaced:
        errors += check("metadata.namespace", meta.namespace or "", dns_label)
    elif meta.namespace:
        errors.append(forbidden("metadata.namespace", "not allowed on this type"))
    errors += check_labels(meta.labels, "metadata.labels")
    errors += _check_annotations(meta.annotations)
    errors += _check_owners(meta.ownerReferences)
    errors += _check_finalizers(meta.finalizers)
    return errors


def _check_annotations(annotations: dict[str, str] | None) -> list[FieldError]:
    errors = []
    size = 0
    for key, value in (annotations or {}).items():
        errors += check("metadata.annotations", key, lambda text: qualified_name(text.lower()))
        size += len(key) + len(value)
    if size > _ANNOTATIONS_LIMIT_BYTES:
        errors.append(
            FieldError(
                "metadata.annotations", "FieldValueTooLong", f"may not be more than {_ANNOTATIONS_LIMIT_BYTES} bytes"
            )
        )
    return errors


def _check_owners(owners: Any) -> list[FieldError]:
    errors = []
    for index, owner in enumerate(owners or []):
        path = f"metadata.ownerReferences[{index}]"
        for name in ("apiVersion", "kind", "name", "uid"):
            if not getattr(owner, name):
                errors.append(
                    invalid(f"{path}.{name}", "", f"{'version' if name == 'apiVersion' else name} must not be empty")
                )
    controllers = [owner for owner in owners or [] if owner.controller]
    if len(controllers) > 1:
        first, second = controllers[:2]
        errors.append(
            invalid(
                "metadata.ownerReferences",
                f"{len(owners)} references",
                f'Only one reference can have Controller set to true. Found "true" in references for '
                f"{first.kind}/{first.name} and {second.kind}/{second.name}",
            )
        )
    return errors


def _check_finalizers(finalizers: list[str] | None) -> list[FieldError]:
    errors = []
    for index, each in enumerate(finalizers or []):
        errors += check(f"metadata.finalizers[{index}]", each, qualified_name)
    if finalizers and {"orphan", "foregroundDeletion"} <= set(finalizers):
        errors.append(
            invalid(
                "metadata.finalizers",
                ",".join(finalizers),
                "finalizer orphan and foregroundDeletion cannot be both set",
            )
        )
    return errors


def check_metadata_update(new: Any, old: Any) -> list[FieldError]:
    """What may never change, and finalizers, which cannot be added once deletion has begun."""
    errors = []
    for name in ("name", "namespace", "uid", "creationTimestamp"):
        if getattr(new, name) != getattr(old, name):
            errors.append(invalid(f"metadata.{name}", _plain(getattr(new, name)), "field is immutable"))
    added = [each for each in new.finalizers or [] if each not in (old.finalizers or [])]
    if old.deletionTimestamp is not None and added:
        errors.append(
            forbidden(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted, found new finalizers {added}",
            )
        )
    return errors


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else str(value)
