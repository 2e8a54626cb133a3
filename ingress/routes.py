"""What Ingresses ask for: routes, backends, certificates, and what cannot be done. Pure.

Kubernetes: https://kubernetes.io/docs/concepts/services-networking/ingress/ for what a rule means. What it leaves open:

- Of rules that apply to a request the most specific host wins (name, wildcard, none), then an Exact path, then the
  longest Prefix; a request that no rule of its host takes goes on to the rules of the wildcard and of no host.
- ImplementationSpecific is Prefix; a `*` at its end, which some controllers want there, says the same.
- `defaultBackend` takes what no rule takes: first of the request's own host, then of everything.
- When two Ingresses want the same, the older one has it.

Invariant: everything in a Plan is checked, so no text of an API object reaches HAProxy's language as anything but a
key of a map, a name or a number.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lightkube.models import core_v1, networking_v1
from lightkube.resources.core_v1 import Secret, Service
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.resources.networking_v1 import Ingress

from api import meta
from api.endpoints import serving

ANY_HOST = ""
TLS = {"https", "kubernetes.io/wss", "wss"}
HTTP2 = {"grpc", "h2c", "kubernetes.io/h2c"}

_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_PATH = re.compile(r"/[!-~]*")
"""What the path of a request can look like: others are percent-encoded."""
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True)
class World:
    """What a plan is made from. Services, slices and Secrets are asked for by namespace/name."""

    ingresses: Iterable[Ingress]
    service: Callable[[str], Service | None]
    slices: Callable[[str], Iterable[EndpointSlice]]
    secret: Callable[[str], Secret | None]
    wrong_certificate: Callable[[str], str] = lambda pem: ""
    """Why a certificate with its key cannot be served; empty: it can."""
    has_parameters: Callable[[Ingress], bool] = lambda ingress: False
    """Whether its class has parameters."""


@dataclass(frozen=True)
class Backend:
    """The pods behind a port of a Service. `servers`: addresses with ports. `protocol`: "", "h2" or "tls"."""

    servers: tuple[str, ...] = ()
    protocol: str = ""


@dataclass(frozen=True)
class Certificate:
    """A chain with its key (PEM), and the names it is shown for; none: those it carries itself."""

    pem: str
    hosts: tuple[str, ...] = ()


@dataclass
class Plan:
    """Routes lead from a host and a path to the name of a backend."""

    exact: dict[tuple[str, str], str] = field(default_factory=dict)
    prefix: dict[tuple[str, str], str] = field(default_factory=dict)
    """Without the slash at the end."""
    otherwise: dict[str, str] = field(default_factory=dict)
    """Default backends by host."""
    backends: dict[str, Backend] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    """By name of the Secret: namespace_name."""
    problems: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Key of an Ingress -> (reason, message)."""


def seniority(ingress: Ingress) -> tuple[str, str]:
    created = meta.metadata(ingress).creationTimestamp
    return (created.isoformat() if created else "", meta.key(ingress))


def secrets(ingresses: Iterable[Ingress]) -> set[str]:
    """The keys of the Secrets that the Ingresses name."""
    named = ((each, tls.secretName) for each in ingresses for tls in (each.spec and each.spec.tls) or [])
    return {f"{meta.namespace(ingress)}/{name}" for ingress, name in named if name}


def plan(world: World) -> Plan:
    made = Plan()
    for ingress in sorted(world.ingresses, key=seniority):
        if ingress.spec is not None:
            _Reader(ingress, ingress.spec, world, made).read()
        if world.has_parameters(ingress):
            problem = ("UnsupportedParameters", "the parameters of its IngressClass are not taken")
            made.problems.setdefault(meta.key(ingress), []).append(problem)
    return made


class _Reader:
    """One Ingress on its way into the plan."""

    def __init__(self, ingress: Ingress, spec: networking_v1.IngressSpec, world: World, made: Plan) -> None:
        self._key, self._namespace = meta.key(ingress), meta.namespace(ingress)
        self._spec, self._world, self._plan = spec, world, made

    def read(self) -> None:
        default = self._spec.defaultBackend and self._backend(self._spec.defaultBackend)
        for rule in self._spec.rules or []:
            host = rule.host or ANY_HOST
            if host and not _HOST.fullmatch(host):
                self._problem("InvalidHost", f"host {host!r} cannot be served")
                continue
            if default:
                self._plan.otherwise.setdefault(host, default)
            for path in (rule.http and rule.http.paths) or []:
                self._route(host, path)
        if default:
            self._plan.otherwise.setdefault(ANY_HOST, default)
        for tls in self._spec.tls or []:
            self._certificate(tls)

    def _problem(self, reason: str, message: str) -> None:
        self._plan.problems.setdefault(self._key, []).append((reason, message))

    def _route(self, host: str, rule: networking_v1.HTTPIngressPath) -> None:
        path = rule.path or "/"
        if not _PATH.fullmatch(path):
            self._problem("InvalidPath", f"no request has the path {path!r}")
            return
        if rule.pathType == "Exact":
            routes = self._plan.exact
        else:
            if rule.pathType == "ImplementationSpecific":
                path = path.removesuffix("*")
            routes, path = self._plan.prefix, path.rstrip("/")
        name = self._backend(rule.backend)
        if name and routes.setdefault((host, path), name) != name:
            what = f"host {host or '*'}, path {path or '/'}"
            self._problem("Conflict", f"{what} ({rule.pathType}) belongs to an older rule")

    def _backend(self, wanted: networking_v1.IngressBackend) -> str:
        """The name of the backend; empty if it cannot be one. A Service that is not there (yet) answers 503."""
        if wanted.service is None:
            what = f"{wanted.resource.kind} {wanted.resource.name}" if wanted.resource else "nothing"
            self._problem("UnsupportedBackend", f"only a Service can be a backend, not {what}")
            return ""
        port = wanted.service.port or networking_v1.ServiceBackendPort()
        name = f"{self._namespace}_{wanted.service.name}_{port.number or port.name}"
        if not all(_LABEL.fullmatch(part) for part in name.split("_")):
            self._problem("UnsupportedBackend", f"{name!r} is no name of a Service with its port")
            return ""
        if name not in self._plan.backends:
            self._plan.backends[name] = self._servers(wanted.service.name, port)
        return name

    def _servers(self, name: str, wanted: networking_v1.ServiceBackendPort) -> Backend:
        key = f"{self._namespace}/{name}"
        service = self._world.service(key)
        if service is None or service.spec is None:
            self._problem("ServiceNotFound", f"Service {key} does not exist")
            return Backend()
        if service.spec.type == "ExternalName":
            self._problem("UnsupportedBackend", f"Service {key} is of type ExternalName")
            return Backend()
        port = _port(service.spec.ports or [], wanted)
        if port is None:
            self._problem("ServicePortNotFound", f"Service {key} has no TCP port {wanted.number or wanted.name}")
            return Backend()
        found = serving(service, port, self._world.slices(key))
        protocol = "tls" if port.appProtocol in TLS else "h2" if port.appProtocol in HTTP2 else ""
        return Backend(tuple(f"{each.ip}:{each.port}" for each in found), protocol)

    def _certificate(self, tls: networking_v1.IngressTLS) -> None:
        if not tls.secretName:
            return
        key = f"{self._namespace}/{tls.secretName}"
        secret = self._world.secret(key) if _LABEL.fullmatch(tls.secretName) else None
        if secret is None:
            self._problem("SecretNotFound", f"Secret {key} does not exist: its hosts get the default certificate")
            return
        pem, why = _pem(secret)
        if why := why or self._world.wrong_certificate(pem):
            self._problem("InvalidCertificate", f"Secret {key}: {why}")
            return
        taken = {host for each in self._plan.certificates.values() for host in each.hosts}
        hosts = tuple(host for host in tls.hosts or [] if host not in taken and _HOST.fullmatch(host))
        if len(hosts) < len(tls.hosts or []):
            self._problem("Conflict", f"hosts of {key} get the certificate of an older Ingress")
        if hosts or not tls.hosts:
            name = key.replace("/", "_")
            before = self._plan.certificates.get(name, Certificate(pem)).hosts
            self._plan.certificates[name] = Certificate(pem, before + hosts)


def _port(ports: Iterable[core_v1.ServicePort], wanted: networking_v1.ServiceBackendPort) -> core_v1.ServicePort | None:
    for each in ports:
        same = each.port == wanted.number if wanted.number else each.name == wanted.name
        if same and (each.protocol or "TCP") == "TCP":
            return each
    return None


def _pem(secret: Secret) -> tuple[str, str]:
    """The certificate with its key, or why there is none."""
    parts = []
    for name in ("tls.crt", "tls.key"):
        try:
            parts.append(base64.b64decode((secret.data or {})[name], validate=True).decode().strip())
        except KeyError:
            return "", f"it has no {name}"
        except (binascii.Error, UnicodeDecodeError):
            return "", f"its {name} is not PEM"
    return "\n".join(parts) + "\n", ""
