"""Who is asking, and may they: authentication, then authorization, before anything else looks at a request.

    TLS connection --api/tls.py--> certificate subject --+
                                                     +--> Authenticator --> User --> Authorizer --> yes, or no and why
    Authorization: Bearer ... --tokens.py, ----------+
                    service_accounts.py

How a user is found (https://kubernetes.io/docs/reference/access-authn-authz/authentication/), first answer wins:
1. A client certificate signed by our CA: the common name is the user, the organizations are the groups.
2. A bearer token: from the token file, a bootstrap token of a node that joins, or a service account's JWT.
   A token that nobody knows is 401 Unauthorized; it never falls back to anonymous.
3. Nothing at all: `system:anonymous`, who may ask for health and for what a joining node needs (or 401, if disabled).

What a user may do, roles and bindings say (`rbac.py`, the first of them in `default_roles.yaml`); nodes additionally
`node.py`, because what a node may do depends on which pods are bound to it. Everything not allowed is forbidden.
Who may, acts as somebody else (`impersonation.py`); nobody hands out more than they have (`escalation.py`).

For the boot: give uvicorn `http=TlsProtocol`, `ssl_cert_reqs=ssl.CERT_OPTIONAL` and the client CA. For each request:

    user = authenticator.authenticate(scope)                    # raises api.errors.Unauthorized
    decision = authorizer.authorize(user, request_info)         # `allowed` and `reason`

Both are plain functions of what the watch cache holds: no I/O, nothing to await.
"""

from api.tls import TlsProtocol
from apiserver.auth.attributes import Asked, Attributes
from apiserver.auth.authenticator import Authenticator
from apiserver.auth.authorizer import Authorizer, Decision
from apiserver.auth.node import NodeAuthorizer
from apiserver.auth.rbac import Roles
from apiserver.auth.service_accounts import ServiceAccountTokens
from apiserver.auth.tokens import BootstrapTokens, StaticTokens
from apiserver.auth.users import ANONYMOUS, User

__all__ = [
    "ANONYMOUS",
    "Asked",
    "Attributes",
    "Authenticator",
    "Authorizer",
    "BootstrapTokens",
    "Decision",
    "NodeAuthorizer",
    "Roles",
    "ServiceAccountTokens",
    "StaticTokens",
    "TlsProtocol",
    "User",
]
