"""From a container of a pod spec to what the runtime is told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lightkube.models.core_v1 import Container
from lightkube.resources.core_v1 import Pod

from api import meta
from kubelet.pods.env import ConfigError, expand_all
from kubelet.pods.resources import container_resources
from kubelet.pods.snapshot import spec_hash
from kubelet.runtime.base import ContainerSpec, Image, Mount, PodRef, SandboxSpec, Security

HOSTS_HEADER = "# Kubernetes-managed hosts file."
HOSTNAME_LIMIT = 63


@dataclass(frozen=True, slots=True)
class ClusterDns:
    server: str
    domain: str


def pod_ref(pod: Pod) -> PodRef:
    return PodRef(meta.namespace(pod), meta.name(pod), meta.uid(pod))


def hostname(pod: Pod) -> str:
    """spec.hostname or the pod's name, as much of it as a host name may have."""
    name = (pod.spec and pod.spec.hostname) or meta.name(pod)
    return name[:HOSTNAME_LIMIT].rstrip("-.")


def sandbox_spec(pod: Pod, attempt: int) -> SandboxSpec:
    spec = pod.spec
    assert spec is not None
    sysctls = (spec.securityContext and spec.securityContext.sysctls) or []
    return SandboxSpec(
        pod=pod_ref(pod),
        attempt=attempt,
        hostname=hostname(pod),
        host_network=bool(spec.hostNetwork),
        host_pid=bool(spec.hostPID),
        host_ipc=bool(spec.hostIPC),
        sysctls={each.name: each.value for each in sysctls},
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which start of the container this is."""

    number: int
    backoff: float
    sandbox_id: str


def container_spec(
    pod: Pod,
    container: Container,
    attempt: Attempt,
    *,
    image: Image,
    env: Mapping[str, str],
    mounts: Iterable[Mount],
    node_memory_bytes: int,
) -> ContainerSpec:
    """Raises ConfigError."""
    spec = pod.spec
    assert spec is not None
    return ContainerSpec(
        pod=pod_ref(pod),
        name=container.name,
        attempt=attempt.number,
        image=image.id,
        image_name=container.image or "",
        sandbox_id=attempt.sandbox_id,
        spec_hash=spec_hash(container),
        backoff=attempt.backoff,
        command=expand_all(container.command, env),
        args=expand_all(container.args, env),
        env=env,
        working_dir=container.workingDir or "",
        mounts=tuple(mounts),
        resources=container_resources(pod, container, node_memory_bytes=node_memory_bytes),
        security=security(pod, container, image),
        host_network=bool(spec.hostNetwork),
        host_pid=bool(spec.hostPID),
        share_pid=bool(spec.shareProcessNamespace),
        tty=bool(container.tty),
        stdin=bool(container.stdin),
        stdin_once=bool(container.stdinOnce),
    )


def security(pod: Pod, container: Container, image: Image) -> Security:
    """The container's securityContext over the pod's. Raises ConfigError when it must not run as root but would."""
    own = container.securityContext
    shared = pod.spec.securityContext if pod.spec else None

    def pick(field: str) -> object:
        value = getattr(own, field, None)
        return value if value is not None else getattr(shared, field, None)

    user, group = pick("runAsUser"), pick("runAsGroup")
    text = "" if user is None else str(user)
    if group is not None:
        text = f"{text or image.user.partition(':')[0] or '0'}:{group}"
    if pick("runAsNonRoot") and (text or image.user or "0").partition(":")[0] in ("0", "root"):
        culprit = (
            "container's runAsUser breaks non-root policy"
            if text
            else "container has runAsNonRoot and image will run as root"
        )
        raise ConfigError(culprit)
    capabilities = own.capabilities if own else None
    groups = [*((shared and shared.supplementalGroups) or [])]
    if shared and shared.fsGroup is not None:
        groups.append(shared.fsGroup)
    return Security(
        user=text,
        privileged=bool(own and own.privileged),
        add_capabilities=tuple((capabilities and capabilities.add) or ()),
        drop_capabilities=tuple((capabilities and capabilities.drop) or ()),
        read_only_root=bool(own and own.readOnlyRootFilesystem),
        no_new_privileges=bool(own and own.allowPrivilegeEscalation is False),
        groups=tuple(str(each) for each in groups),
    )


def hosts_file(pod: Pod, ip: str, dns: ClusterDns) -> str:
    """The pod's /etc/hosts."""
    spec = pod.spec
    assert spec is not None
    name = hostname(pod)
    names = [name]
    if spec.subdomain:
        names.insert(0, f"{name}.{spec.subdomain}.{meta.namespace(pod)}.svc.{dns.domain}")
    lines = [
        HOSTS_HEADER,
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
        "\t".join([ip, *names]),
    ]
    lines += ["\t".join([each.ip, *(each.hostnames or [])]) for each in spec.hostAliases or []]
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Pod, dns: ClusterDns, host_file: str) -> str:
    """The pod's /etc/resolv.conf by its dnsPolicy; `host_file` is the node's own."""
    spec = pod.spec
    assert spec is not None
    policy = spec.dnsPolicy or "ClusterFirst"
    if policy == "ClusterFirst" and spec.hostNetwork:
        policy = "Default"
    servers, searches, options = _parse_resolv(host_file) if policy == "Default" else ([], [], [])
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        namespace = meta.namespace(pod)
        servers = [dns.server]
        searches = [f"{namespace}.svc.{dns.domain}", f"svc.{dns.domain}", dns.domain]
        options = ["ndots:5"]
    extra = spec.dnsConfig
    if extra is not None:
        servers += extra.nameservers or []
        searches += extra.searches or []
        options += [f"{each.name}:{each.value}" if each.value else (each.name or "") for each in extra.options or []]
    lines = [f"nameserver {each}" for each in servers]
    if searches:
        lines.append("search " + " ".join(searches))
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def _parse_resolv(text: str) -> tuple[list[str], list[str], list[str]]:
    words = [line.split() for line in text.splitlines()]
    servers = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
    searches = [name for each in words if each and each[0] == "search" for name in each[1:]]
    options = [name for each in words if each and each[0] == "options" for name in each[1:]]
    return servers, searches, options
