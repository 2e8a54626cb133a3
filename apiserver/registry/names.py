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

Rule = Callable[[str], list[str]]
"""Says what is wrong with a text; nothing: it is fine."""


def shaped(form: str, what: str, *examples: str, most: int = 0) -> Rule:
    """A rule: of at most so many characters, and of this form."""
    pattern, shown = re.compile(form), "',  or '".join(examples)
    wrong = f"{what} (e.g. '{shown}', regex used for validation is '{form}')"

    def rule(text: str) -> list[str]:
        if most and len(text) > most:
            return [f"must be no more than {most} characters"]
        return [] if pattern.fullmatch(text) else [wrong]

    return rule


dns_label = shaped(
    _LABEL,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character",
    "my-name", "123-abc", most=63,
)  # fmt: skip
dns_subdomain = shaped(
    _SUBDOMAIN,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character",
    "example.com", most=253,
)  # fmt: skip
"""What most objects are named by."""
dns_1035_label = shaped(
    "[a-z]([-a-z0-9]*[a-z0-9])?",
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    "my-name", "abc-123", most=63,
)  # fmt: skip
"""The older label that Services are named by: it begins with a letter."""
label_value = shaped(
    f"({_QUALIFIED})?",
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    "MyValue", "my_value", "12345", most=63,
)  # fmt: skip
env_name = shaped(
    "[-._a-zA-Z][-._a-zA-Z0-9]*",
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not "
    "start with a digit",
    "my.env-name", "MY_ENV.NAME", "MyEnvName1",
)  # fmt: skip
_name_part = shaped(
    _QUALIFIED,
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character",
    "MyName", "my.name", "123-abc",
)  # fmt: skip
_config_key = shaped(
    "[-._a-zA-Z0-9]+",
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    "key.name", "KEY_NAME", "key-name", most=253,
)  # fmt: skip


def qualified_name(text: str) -> list[str]:
    """A label key: `name` or `example.com/name`."""
    prefix, slash, name = text.rpartition("/")
    wrong = []
    if slash:
        wrong += [f"prefix part {each}" for each in (dns_subdomain(prefix) if prefix else ["must be non-empty"])]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append("name part must be no more than 63 characters")
    return wrong + _name_part(name)


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    if wrong := _config_key(text):
        return wrong
    if text in (".", ".."):
        return [f"must not be '{text}'"]
    return ["must not start with '..'"] if text.startswith("..") else []


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
