"""Real processes for integration tests.

`etcd` is a fresh single-member etcd on free ports with its data in a temporary directory; it can be killed and
started again. `etcd_url` is its client URL, for tests that only need a store. Both live as long as one test.

`client` and `namespace` serve modules with a `plane` (control_plane.py) of their own: an administrator's client, and
a namespace for one test.
"""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import shutil
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from control_plane import ControlPlane
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from ports import free_port

from client.config import Client, connect

START_SECONDS = 20.0


class EtcdProcess:
    """One etcd. `kill` pulls its plug (SIGKILL); `start` brings it back on the same data and ports.

    With `tls` (a CA, and a certificate and key that serve both sides) it speaks only to clients of that CA.
    """

    def __init__(self, directory: Path, *, tls: tuple[str, str, str] | None = None) -> None:
        client, peer = free_port(), free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{client}"
        self.directory = directory
        self._options: list[str] = []
        self._context: ssl.SSLContext | None = None
        if tls:
            ca, cert, key = tls
            self._options = [f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={ca}"]
            self._options.append("--client-cert-auth")
            self._context = ssl.create_default_context(cafile=ca)
            self._context.load_cert_chain(cert, key)
        self._peer_url = f"http://127.0.0.1:{peer}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["etcd", "--name=test", f"--data-dir={self.directory}/data", "--log-level=error"]
        command += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        command += [f"--listen-peer-urls={self._peer_url}", f"--initial-advertise-peer-urls={self._peer_url}"]
        command += [f"--initial-cluster=test={self._peer_url}", *self._options]
        command += ["--heartbeat-interval=10", "--election-timeout=100"]  # ms; alone, it elects itself after that
        with (self.directory / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_healthy()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _wait_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=1, context=self._context) as answer:
                    if b'"true"' in answer.read():
                        return
            except OSError:
                pass
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "etcd.log").read_text())
            time.sleep(0.02)


@dataclass
class Identity:
    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        cert, key = directory / f"{name}.crt", directory / f"{name}.key"
        cert.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))
        encoding, no_encryption = serialization.Encoding.PEM, serialization.NoEncryption()
        key.write_bytes(self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_encryption))
        return str(cert), str(key)


def identity(name: str, *groups: str, issuer: Identity | None = None, address: str = "") -> Identity:
    """A certificate signed by `issuer`, or by itself: then it is a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject_name=subject, public_key=key.public_key())
    builder = builder.issuer_name(issuer.cert.subject if issuer else subject).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
        now + datetime.timedelta(hours=1)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    if address:
        names_in = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names_in, critical=False)
    return Identity(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@pytest.fixture
def issue() -> Callable[..., Identity]:
    """Makes certificates: see `identity`."""
    return identity


@pytest.fixture(scope="session")
def etcd_binary() -> str:
    path = shutil.which("etcd")
    if path is None:
        pytest.skip("etcd is not installed")
    return path


@pytest.fixture
def etcd(etcd_binary: str, tmp_path: Path) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def tls_etcd(etcd_binary: str, tmp_path: Path) -> Iterator[EtcdProcess]:
    """As `etcd`, with TLS and client certificates; ca.crt, etcd.crt and etcd.key are in its directory."""
    ca = identity("etcd-ca")
    ca_file, _ = ca.write(tmp_path, "ca")
    process = EtcdProcess(
        tmp_path, tls=(ca_file, *identity("etcd", issuer=ca, address="127.0.0.1").write(tmp_path, "etcd"))
    )
    process.start()
    yield process
    process.kill()


@pytest.fixture
def etcd_url(etcd: EtcdProcess) -> str:
    return etcd.url


@pytest.fixture(scope="session")
def shared_etcd_url(etcd_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One etcd for many tests, each with a prefix of its own."""
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    yield process.url
    process.kill()


_numbers = itertools.count(1)


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Client]:
    client = connect(str(plane.kubeconfig("admin")))
    yield client
    await client.close()


@pytest.fixture
async def namespace(client: Client) -> str:
    name = f"test-{next(_numbers)}"
    await client.create(Namespace(metadata=ObjectMeta(name=name)))
    return name
