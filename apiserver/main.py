"""The API server's boot story: flags, store, cache, first objects, TLS server.

Kubernetes: kube-apiserver, with its flag names. Without --etcd-servers it keeps everything in memory, and without
--tls-cert-file it serves plain HTTP to everybody as an administrator: for development, and only on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path

from api import durations, process
from apiserver import admission, auth, boot, expiry, kinds, kubelet_client, presence
from apiserver.backend import Backend
from apiserver.config import Config
from apiserver.http import server
from apiserver.http.gateway import Gateway, create_app
from apiserver.http.guard import AuthGuard, Guard, Open
from apiserver.registry.registry import Registry
from apiserver.storage.base import Storage
from apiserver.storage.memory import MemoryStorage

log = logging.getLogger("apiserver")


def main() -> None:
    arguments = parser().parse_args()
    process.configure_logging(arguments.v)
    process.run_until_signalled(run(arguments))


def parser() -> argparse.ArgumentParser:
    """The flags; their names and defaults are kube-apiserver's where it has them."""
    result = argparse.ArgumentParser(prog="apiserver", description="The Kubernetes API of a minik cluster.")
    add = result.add_argument
    add("--bind-address", default="0.0.0.0", help="address to listen on")
    add("--secure-port", type=int, default=6443, help="port to listen on")
    add("--advertise-address", default="", help="address other machines reach this server at (default: --bind-address)")
    add("--etcd-servers", default="", help="comma-separated URLs; empty: keep everything in memory")
    add("--etcd-cafile", default="")
    add("--etcd-certfile", default="")
    add("--etcd-keyfile", default="")
    add("--etcd-prefix", default="/registry")
    add("--tls-cert-file", default="")
    add("--tls-private-key-file", default="")
    add("--client-ca-file", default="", help="signs client certificates: CN is the user, O the groups")
    add("--token-auth-file", default="", help="CSV: token,user,uid,groups")
    add("--anonymous-auth", type=_boolean, default=True, nargs="?", const=True)
    add("--enable-bootstrap-token-auth", type=_boolean, default=False, nargs="?", const=True)
    add("--service-account-key-file", action="append", default=[])
    add("--service-account-signing-key-file", default="")
    add("--service-account-issuer", default="https://kubernetes.default.svc.cluster.local")
    add("--service-cluster-ip-range", type=ipaddress.IPv4Network, default=ipaddress.IPv4Network("10.96.0.0/16"))
    add("--service-node-port-range", type=_port_range, default=(30000, 32767))
    add("--kubelet-client-certificate", type=Path)
    add("--kubelet-client-key", type=Path)
    add("--kubelet-certificate-authority", type=Path)
    add("--default-not-ready-toleration-seconds", type=durations.parse_duration, default=300)
    add("--default-unreachable-toleration-seconds", type=durations.parse_duration, default=300)
    add("--event-ttl", type=durations.parse_duration, default=3600, help="seconds, or as in 1h")
    add("--identity-lease-duration-seconds", type=durations.parse_duration, default=15, help="until a dead server goes")
    add("-v", type=int, default=0, help="verbosity; 4 and up is debug")
    return result


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return text.lower() == "true"


def _port_range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    try:
        result = int(first), int(last)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port range such as 30000-32767") from None
    if not 0 < result[0] <= result[1] < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port range")
    return result


async def run(arguments: argparse.Namespace) -> None:
    """Serve until cancelled."""
    storage = await _open_storage(arguments)
    backend = Backend.over(storage, Registry(kinds.builtin()), _config(arguments))
    backend.plugins = admission.PLUGINS
    backend.kubelets = kubelet_client.KubeletClient(backend.config)
    backend.tokens = _service_account_tokens(arguments, backend)
    gateway = create_app(backend, _guard(arguments, backend))
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(backend.cache.run(), name="cache")
        booting = tasks.create_task(boot.keep_trying(lambda: boot.create_boot_objects(backend)), name="boot")
        expiring = tasks.create_task(expiry.run(backend), name="expiry")
        present = tasks.create_task(_present(backend, booting), name="presence")
        try:
            await _serve(arguments, gateway)
        finally:
            present.cancel()
            await presence.withdraw(backend)
            for task in (following, booting, expiring):
                task.cancel()
            await backend.kubelets.close()
            await storage.close()


async def _present(backend: Backend, booting: asyncio.Task[None]) -> None:
    """Others are sent here once the first objects are there."""
    await booting
    await presence.run(backend)


async def _open_storage(arguments: argparse.Namespace) -> Storage:
    if not arguments.etcd_servers:
        log.warning("no --etcd-servers: everything is kept in memory and lost at the end")
        return MemoryStorage()
    from apiserver.storage.etcd import EtcdStorage, TlsFiles  # gRPC is only loaded where it is used

    tls = None
    if arguments.etcd_cafile:
        tls = TlsFiles(arguments.etcd_cafile, arguments.etcd_certfile, arguments.etcd_keyfile)
    return await EtcdStorage.open(arguments.etcd_servers.split(","), prefix=arguments.etcd_prefix, tls=tls)


def _config(arguments: argparse.Namespace) -> Config:
    address = arguments.advertise_address or arguments.bind_address
    return Config(
        service_network=arguments.service_cluster_ip_range,
        node_ports=arguments.service_node_port_range,
        advertise_address="127.0.0.1" if address == "0.0.0.0" else address,
        secure_port=arguments.secure_port,
        not_ready_toleration_seconds=int(arguments.default_not_ready_toleration_seconds),
        unreachable_toleration_seconds=int(arguments.default_unreachable_toleration_seconds),
        kubelet_client_certificate=arguments.kubelet_client_certificate,
        kubelet_client_key=arguments.kubelet_client_key,
        kubelet_certificate_authority=arguments.kubelet_certificate_authority,
        event_ttl_seconds=int(arguments.event_ttl),
        identity_lease_seconds=arguments.identity_lease_duration_seconds,
    )


def _service_account_tokens(arguments: argparse.Namespace, backend: Backend) -> auth.ServiceAccountTokens | None:
    keys, signing = arguments.service_account_key_file, arguments.service_account_signing_key_file
    if not keys and not signing:
        return None
    return auth.ServiceAccountTokens.from_files(
        backend.cache.get, issuer=arguments.service_account_issuer, key_files=keys, signing_key_file=signing
    )


def _guard(arguments: argparse.Namespace, backend: Backend) -> Guard:
    if not arguments.tls_cert_file:
        if not ipaddress.ip_address(arguments.bind_address).is_loopback:
            raise SystemExit("without --tls-cert-file everybody is an administrator: --bind-address must be 127.0.0.1")
        return Open()
    known: list[Callable[[str], auth.User | None]] = []
    if arguments.token_auth_file:
        known.append(auth.StaticTokens.from_file(arguments.token_auth_file))
    if arguments.enable_bootstrap_token_auth:
        known.append(auth.BootstrapTokens(backend.cache.get))
    if backend.tokens is not None:
        known.append(backend.tokens)
    backend.authenticator = auth.Authenticator(known, anonymous=arguments.anonymous_auth)
    return AuthGuard(backend.authenticator, backend.authorizer)


async def _serve(arguments: argparse.Namespace, gateway: Gateway) -> None:
    """Until cancelled; then watches end, requests under way finish."""
    http = server.make_server(
        gateway,
        host=arguments.bind_address,
        port=arguments.secure_port,
        cert=arguments.tls_cert_file or None,
        key=arguments.tls_private_key_file or None,
        client_ca=arguments.client_ca_file or None,
    )
    serving = asyncio.create_task(http.serve(), name="http")
    log.info("listening on %s:%d", arguments.bind_address, arguments.secure_port)
    try:
        await asyncio.shield(serving)
    finally:
        http.should_exit = True
        await serving
