"""A plan as HAProxy reads it. Pure: plan in, files out.

Routes are maps, looked up by host and path: finding one takes as long with ten thousand as with one. Servers are named
by their address, so that a running HAProxy can be told which come and go (haproxy.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ingress.routes import Plan

CONFIG, CERTIFICATES, DEFAULT = "haproxy.cfg", "certificates.txt", "default"
SOCKET = "admin.sock"

_SERVER = {"": "", "h2": " proto h2", "tls": " ssl verify none"}

_HEAD = """\
global
    log stderr format raw daemon notice
    user haproxy
    group haproxy
    maxconn {connections}
    nbthread {threads}
    hard-stop-after {drain:g}s
    stats socket unix@{socket} mode 600 level admin
    ssl-default-bind-options ssl-min-ver TLSv1.2
    tune.ssl.default-dh-param 2048

defaults
    mode http
    balance roundrobin
    timeout connect 3s
    timeout http-request 15s
    timeout http-keep-alive 60s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    retries 3
    retry-on conn-failure empty-response
    option redispatch 1
    option forwardfor
    # In a generation that ends, a connection that is kept alive gets its next answer before it is closed.
    option idle-close-on-response

frontend requests
"""

_ROUTING = """\
    http-request disable-l7-retry unless METH_GET
    http-request del-header X-Forwarded-For
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    http-request set-var(txn.host) req.hdr(host),field(1,:),lower
    http-request set-var(txn.wild) var(txn.host),regsub(^[^.]*,*)
    http-request set-var(txn.path) path
{lookups}
    http-request return status 404 content-type text/plain string "no Ingress for this host and path\\n" if !{{ var(txn.to) -m found }}
    use_backend %[var(txn.to)]
"""  # noqa: E501


@dataclass(frozen=True)
class Configuration:
    """`files` without servers: what differs there needs a new generation. `servers`: by backend, addresses; `options`
    is what a server of the backend is declared with."""

    files: dict[str, str]
    servers: dict[str, tuple[str, ...]]
    options: dict[str, str]

    def text(self) -> str:
        """The whole of haproxy.cfg."""
        lines = [self.files[CONFIG]]
        for name, servers in self.servers.items():
            lines.append(f"\nbackend {name}\n")
            lines += [f"    server {each} {each}{self.options[name]}\n" for each in servers]
        return "".join(lines)


def render(
    plan: Plan, *, http: int | None, https: int | None, default: str, threads: int, connections: int, drain: float
) -> Configuration:
    """`http` and `https` are descriptors of listening sockets; `default` is the certificate (PEM) without a host."""
    binds = [f"    bind fd@{http}\n"] if http is not None else []
    if https is not None:
        binds.append(f"    bind fd@{https} ssl crt-list {CERTIFICATES} alpn h2,http/1.1\n")
    head = _HEAD.format(connections=connections, threads=threads, drain=drain, socket=SOCKET)
    backends = [f"# {name} {backend.protocol}\n" for name, backend in sorted(plan.backends.items())]
    files = {
        CONFIG: head + "".join(binds) + _ROUTING.format(lookups="\n".join(_lookups())) + "".join(backends),
        "exact.map": _map((host + path, to) for (host, path), to in plan.exact.items()),
        "prefix.map": _map((f"{host}{path}/", to) for (host, path), to in plan.prefix.items()),
        "otherwise.map": _map((host or "*", to) for host, to in plan.otherwise.items()),
        CERTIFICATES: "".join(_certificates(plan)),
        f"{DEFAULT}.pem": default,
        **{f"{name}.pem": certificate.pem for name, certificate in plan.certificates.items()},
    }
    backends_sorted = sorted(plan.backends.items())
    return Configuration(
        files,
        {name: backend.servers for name, backend in backends_sorted},
        {name: _SERVER[backend.protocol] for name, backend in backends_sorted},
    )


def _lookups() -> Iterable[str]:
    """From the most specific host to none, first exact, then by the longest prefix; then the default backends."""
    unless = " if !{ var(txn.to) -m found }"
    for host in ("var(txn.host),concat(,txn.path)", "var(txn.wild),concat(,txn.path)", "var(txn.path)"):
        yield f"    http-request set-var(txn.to) {host},map(exact.map){unless}"
        yield f"    http-request set-var(txn.to) {host},concat(/),map_beg(prefix.map){unless}"
    for host in ("var(txn.host)", "var(txn.wild)", "str(*)"):
        yield f"    http-request set-var(txn.to) {host},map(otherwise.map){unless}"


def _map(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{key} {value}\n" for key, value in sorted(entries))


def _certificates(plan: Plan) -> Iterable[str]:
    """The first is the default; the names after a file limit whom it is shown to."""
    yield f"{DEFAULT}.pem\n"
    for name, certificate in plan.certificates.items():
        yield " ".join((f"{name}.pem", *certificate.hosts)) + "\n"
