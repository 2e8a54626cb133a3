"""ServiceAccounts: who pods are."""

from __future__ import annotations

from lightkube.resources.core_v1 import ServiceAccount

from apiserver.registry.columns import AGE, NAME, Column, count
from apiserver.registry.kind import Kind
from apiserver.verbs.token import TOKEN

SERVICE_ACCOUNT = Kind(
    ServiceAccount,
    short_names=("sa",),
    subresources=(TOKEN,),
    columns=(NAME, Column("Secrets", count("secrets"), "integer"), AGE),
    returns_deleted=True,
)
