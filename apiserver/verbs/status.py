"""`status`, and `approval` of certificate signing requests: writes that leave the spec alone.

Kubernetes lets approval write only the conditions Approved and Denied, and status everything else. Who may do either is
decided by authorization, which sees the subresource's name; the write itself is the same.
"""

from __future__ import annotations

from functools import partial

from apiserver.registry.kind import Handler, Subresource
from apiserver.registry.write import Part
from apiserver.verbs import get, patch, update

_HANDLERS: dict[str, Handler] = {
    "get": get.handle,
    "update": partial(update.handle, part=Part.STATUS),
    "patch": partial(patch.handle, part=Part.STATUS),
}
STATUS = Subresource("status", _HANDLERS)
APPROVAL = Subresource("approval", _HANDLERS)
