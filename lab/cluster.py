"""The lab: a control plane and N nodes as hosts on one machine, joined like any other machines.

    lab = Lab("minik"); lab.up(progress); lab.stop("node-2"); lab.start("node-2"); lab.add_node(); lab.down()

Invariants:
- Everything a command needs is read from disk and kernel, so any shell can act, also after a crash or reboot.
- up completes whatever is missing and touches nothing that runs; down finds all leftovers by itself.
- There is one way in: hosts are set up by bootstrap.init and bootstrap.join, as real machines are.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lightkube import ApiError
from lightkube.resources.core_v1 import Node, Pod

from bootstrap import apiclient, credentials, preflight
from bootstrap import kubeconfig as kubeconfigs
from bootstrap.commands import ControlPlane
from bootstrap.init import init
from bootstrap.join import join, wait_node_ready
from bootstrap.join_control_plane import join_control_plane
from bootstrap.options import SECURE_PORT, InitOptions, InitResult, JoinOptions, Timing
from lab import cgroups, faults, images, limits, netns, network, processes, recorder, state
from lab.errors import LabError
from lab.host import Host, HostStatus
from lab.progress import Listener, Steps, silent
from lab.tasks import finish, spawn

__all__ = ["LAB_TIMING", "Host", "HostStatus", "Lab", "UpResult"]

PROGRAMS = ("dockerd", "etcd", "haproxy", "nft", "nbdkit", "nbdfuse", "mkfs.ext4", "losetup")

# A dead node's pods are Ready elsewhere within 15 s: lease lost after 5 s, tolerated 2 s, then rescheduled.
LAB_TIMING = Timing(
    node_status_update_frequency=2,
    node_lease_duration=4,
    node_monitor_period=0.5,
    node_monitor_grace_period=5,
    default_toleration=2,
    leader_lease_duration=4,
    leader_renew_deadline=3,
    leader_retry_period=0.5,
    identity_lease_duration=3,
    etcd_election_timeout=0.2,  # one member elects itself after it: so soon it is there at each start
)
# Several members must not lose their leader to a pause of this machine; once they have a new one, so has the rest.
SEVERAL_TIMING = replace(
    LAB_TIMING,
    etcd_election_timeout=0.5,
    leader_lease_duration=3.5,
    leader_renew_deadline=2.8,
    leader_retry_period=0.4,
)


@dataclass(frozen=True)
class UpResult:
    """kubeconfig: the administrator's file. seconds: what it took until every node was Ready."""

    seconds: float
    kubeconfig: Path
    nodes: list[HostStatus]


class Lab:
    """One lab by name. subnet counts only when it is made."""

    def __init__(self, name: str = "minik", subnet: str = "10.89.0.0/24") -> None:
        state.check(name, subnet)
        self.name = name
        self.subnet = subnet

    # --- the whole ------------------------------------------------------------------------------------------------

    def up(
        self, progress: Listener = silent, *, nodes: int = 3, control_planes: int | None = None, kubeconfig: bool = True
    ) -> UpResult:
        """Start what is missing and wait until every node is Ready. Raises BootstrapError.

        nodes: how many a new lab gets. kubeconfig: whether the user's kubeconfig gets the lab's context.
        control_planes: how many there shall be; None: as many as there are, or one.
        """
        steps = Steps(progress)
        preflight.require_root("up")
        preflight.require_programs(PROGRAMS)
        with state.lock(self.name):
            lab = self._with_control_planes(state.load(self.name) or self._new_state(nodes), control_planes)
            self._start_hosts(lab, steps)
            if kubeconfig:
                self._write_kubeconfigs(lab)
        seconds = time.monotonic() - steps.started
        # Only now: while everything boots at once, nobody's time is to spare.
        recorder.start(self.name, self.admin_conf)
        return UpResult(seconds, self.admin_conf, [host for host in self.status() if host.role == "node"])

    def down(self, progress: Listener = silent) -> None:
        """Remove the lab and every leftover of it. Harmless if there is none."""
        steps = Steps(progress)
        preflight.require_root("down")
        with state.lock(self.name):
            hosts = self._all_hosts()
            with steps.step("lab", "stop hosts"):
                recorder.stop(self.name)
                processes.kill([host.owner for host in hosts])
            with steps.step("lab", "remove hosts"):
                finish([spawn(host.clear_volatile) for host in hosts])
            with steps.step("lab", "remove network"):
                network.delete_switch(self.name, last=not self._other_labs())
            self._remove_kubeconfigs()
            with steps.step("lab", "remove files"):
                self._remove_files()

    def exists(self) -> bool:
        return (state.lab_dir(self.name) / "lab.json").exists()

    def status(self) -> list[HostStatus]:
        """Every host of the lab; empty without a lab."""
        lab = state.load(self.name)
        return [self._host(lab, name).status() for name in lab.hosts] if lab else []

    @property
    def admin_conf(self) -> Path:
        return ControlPlane(state.lab_dir(self.name) / state.CONTROL).admin_conf

    def docker_host(self, name: str) -> str:
        """The URL of the node's Docker engine."""
        return self.host(name).docker_host

    def supervisor_directory(self, name: str) -> Path:
        """Where the supervisor of the host's components (not of its engine) keeps status and logs."""
        return self.host(name).services_directory

    def host(self, name: str) -> Host:
        """The host of that name. Raises LabError."""
        lab = state.load(self.name)
        if lab is None:
            raise LabError(f"there is no lab {self.name}; make one with: minikctl up")
        if name not in lab.hosts:
            raise LabError(f"there is no host {name}; the lab has {', '.join(lab.hosts)}")
        return self._host(lab, name)

    # --- single hosts ---------------------------------------------------------------------------------------------

    def add_node(self, progress: Listener = silent, name: str | None = None) -> HostStatus:
        """A new host joins; returns when it is Ready."""
        preflight.require_root("node add")
        steps = Steps(progress)
        with state.lock(self.name):
            lab = self._state()
            name = lab.add(name)
            state.save(lab)
        host = self._host(lab, name)
        result = self._init(self._first_control(lab), steps, lab.control_planes)
        self._start_node(host, steps, lambda: result)
        return host.status()

    def remove_node(self, name: str, progress: Listener = silent) -> None:
        """Take a host away for good; what ran on it is started elsewhere. Drain it first to be gentle."""
        steps = Steps(progress)
        host = self._node(name)
        with steps.step(name, "stop host"):
            host.destroy()
        with steps.step(name, "remove from the cluster"):
            self._forget_node(name)
        with state.lock(self.name):
            lab = self._state()
            lab.nodes.pop(name, None)
            state.save(lab)

    def stop(self, name: str) -> None:
        faults.stop(self._acting(name, "stop"))

    def start(self, name: str, progress: Listener = silent, *, wait: bool = True) -> None:
        """Plug in. wait: until the node is Ready again."""
        steps = Steps(progress)
        host = self._acting(name, "start")
        if processes.is_paused(host.owner):
            faults.resume(host)
        with steps.step(name, "boot"):
            faults.start(host)
        if wait and host.role == "node":
            with steps.step(name, "Ready"):
                wait_node_ready(self.admin_conf, name, timeout=limits.START_TIMEOUT)

    def cut(self, name: str) -> None:
        faults.cut(self._acting(name, "cut"))

    def heal(self, name: str) -> None:
        faults.heal(self._acting(name, "heal"))

    def pause(self, name: str) -> None:
        faults.pause(self._acting(name, "pause"))

    def resume(self, name: str) -> None:
        faults.resume(self._acting(name, "resume"))

    def kill(self, name: str, component: str) -> int:
        return faults.kill(self._acting(name, f"kill {component}"), component)

    def exec(self, name: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program in the host's network namespace, output captured."""
        return self._acting(name).run(argv)

    # --- starting -------------------------------------------------------------------------------------------------

    def _new_state(self, nodes: int) -> state.LabState:
        if nodes < 0:
            raise LabError("a lab cannot have fewer than 0 nodes")
        lab = state.LabState(self.name, self.subnet)
        for _ in range(nodes):
            lab.add()
        state.save(lab)
        return lab

    def _with_control_planes(self, lab: state.LabState, wanted: int | None) -> state.LabState:
        wanted = lab.control_planes if wanted is None else wanted
        if not lab.control_planes <= wanted <= state.MOST_CONTROLS:
            raise LabError(f"a lab has 1 to {state.MOST_CONTROLS} control planes; this one cannot have {wanted}")
        lab.control_planes = wanted
        state.save(lab)
        return lab

    def _start_hosts(self, lab: state.LabState, steps: Steps) -> None:
        """Everything at once: engines start and images are packed while the control plane boots."""
        with steps.step("lab", "network"):
            network.load_modules()
            network.create_switch(self.name, lab.network)
            hosts = [self._host(lab, name) for name in lab.hosts]
            for host in hosts:
                host.plug()
                faults.heal(host)  # whatever was done to it: after `up` all is well
        packed = spawn(images.ensure, self.image_dir)
        first, *others = [host for host in hosts if host.role == "control"]
        new = [host for host in others if not host.services]
        for host in set(others) - set(new):
            host.boot()  # before the first one is waited for: alone it has no majority
        control_plane = spawn(self._init, first, steps, len(others) + 1, bool(new))
        joined = spawn(self._join_control_planes, new, steps, control_plane.result)

        def cluster() -> InitResult:
            packed.result()
            return control_plane.result()

        nodes = [spawn(self._start_node, host, steps, cluster) for host in hosts if host.role == "node"]
        finish([packed, control_plane, joined, *nodes])

    def _init(self, host: Host, steps: Steps, control_planes: int = 1, upload_certs: bool = False) -> InitResult:
        options = InitOptions(
            data_dir=host.directory,
            advertise_address=host.address,
            timing=LAB_TIMING if control_planes == 1 else SEVERAL_TIMING,
            timeout=limits.START_TIMEOUT,
            upload_certs=upload_certs,
        )
        with steps.step(host.name, "control plane"):
            return host.call(lambda: init(options, lambda line: None))

    def _join_control_planes(self, hosts: Sequence[Host], steps: Steps, cluster: Callable[[], InitResult]) -> None:
        """One after the other: each is to have a vote before the next asks for one."""
        for host in hosts:
            result = cluster()
            options = JoinOptions(
                server=result.server,
                token=result.token,
                ca_cert_hashes=(result.ca_cert_hash,),
                control_plane=True,
                certificate_key=result.certificate_key,
                data_dir=host.directory,
                advertise_address=host.address,
                timeout=limits.START_TIMEOUT,
            )
            with steps.step(host.name, "control plane"):
                host.call(partial(join_control_plane, options, lambda line: None))
        if hosts:
            lab = self._state()
            for name in lab.controls:
                servers = [credentials.server_url(lab.address(each), SECURE_PORT) for each in lab.controls]
                kubeconfigs.set_servers(ControlPlane(state.lab_dir(self.name) / name).admin_conf, servers)

    def _start_node(self, host: Host, steps: Steps, cluster: Callable[[], InitResult]) -> None:
        host.plug()
        with steps.step(host.name, "engine"):
            host.start_engine()
            host.wait_engine()
        result = cluster()
        options = JoinOptions(
            server=result.server,
            token=result.token,
            ca_cert_hashes=(result.ca_cert_hash,),
            data_dir=host.directory,
            node_name=host.name,
            node_ip=host.address,
            docker_host=host.docker_host,
            image_dir=self.image_dir,
            cgroup_parent=host.cgroup,
            timeout=limits.START_TIMEOUT,
            wait=False,
        )
        with steps.step(host.name, "join"):
            host.call(lambda: join(options, lambda line: None))
        with steps.step(host.name, "Ready"):
            wait_node_ready(self.admin_conf, host.name, timeout=limits.START_TIMEOUT)

    # --- removing -------------------------------------------------------------------------------------------------

    def _all_hosts(self) -> list[Host]:
        """The hosts of lab.json and those of which only a namespace or a folder is left."""
        found = {state.CONTROL}
        with suppress(LabError):
            found |= set(lab.hosts) if (lab := state.load(self.name)) else set()
        prefix = f"{self.name}-"
        found |= {name.removeprefix(prefix) for name in netns.names(prefix)} - {"switch"}
        for directory in (state.lab_dir(self.name), state.run_dir(self.name)):
            if directory.exists():
                found |= {entry.name for entry in directory.iterdir() if entry.is_dir()}
        found -= {"images", recorder.DIRECTORY}
        return [Host(self.name, name) for name in sorted(found)]

    def _other_labs(self) -> bool:
        return any(name != network.switch_name(self.name) for name in netns.names("") if name.endswith("-switch"))

    def _remove_files(self) -> None:
        for directory in (state.lab_dir(self.name), state.run_dir(self.name)):
            if directory.exists():
                shutil.rmtree(directory)
        cgroups.remove(cgroups.name(self.name))
        (state.RUN / f"{self.name}.lock").unlink(missing_ok=True)
        for directory in (state.RUN, state.LABS, state.LABS.parent):
            with suppress(OSError):  # others are using it
                directory.rmdir()

    def _forget_node(self, name: str) -> None:
        """Delete the Node and what was bound to it: nobody is left there to confirm an end."""
        with apiclient.connect(self.admin_conf) as client, apiclient.one_line_errors():
            with suppress(ApiError):
                client.delete(Node, name)
            for pod in client.list(Pod, namespace="*", fields={"spec.nodeName": name}):
                if pod.metadata and pod.metadata.name:
                    with suppress(ApiError):
                        client.delete(Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period=0)

    # --- kubeconfigs ----------------------------------------------------------------------------------------------

    def _write_kubeconfigs(self, lab: state.LabState) -> None:
        targets = kubeconfigs.user_kubeconfigs()
        for target in targets:
            kubeconfigs.merge(self.admin_conf, target, context=self.name)
        lab.kubeconfigs = sorted({*lab.kubeconfigs, *(str(target.absolute()) for target in targets)})
        state.save(lab)

    def _remove_kubeconfigs(self) -> None:
        with suppress(LabError):
            if lab := state.load(self.name):
                for target in lab.kubeconfigs:
                    kubeconfigs.remove(Path(target), context=self.name)

    # --- looking up -----------------------------------------------------------------------------------------------

    @property
    def image_dir(self) -> Path:
        """The archives every kubelet loads when it starts."""
        return state.lab_dir(self.name) / "images"

    def _state(self) -> state.LabState:
        if lab := state.load(self.name):
            return lab
        raise LabError(f"there is no lab {self.name}; make one with: minikctl up")

    def _host(self, lab: state.LabState, name: str) -> Host:
        return Host(self.name, name, lab.address(name), lab.network.prefixlen)

    def _first_control(self, lab: state.LabState) -> Host:
        """A control plane that is on; the first one if none is."""
        hosts = [self._host(lab, name) for name in lab.controls]
        return next((host for host in hosts if host.is_up()), hosts[0])

    def _acting(self, name: str, what: str = "") -> Host:
        """The host, for something to be done to it; `what` is noted in the lab's history."""
        preflight.require_root("node")
        host = self.host(name)
        if what:
            recorder.note(self.name, name, what)
        return host

    def _node(self, name: str) -> Host:
        host = self._acting(name)
        if host.role != "node":
            raise LabError(f"{name} is a control plane; minikctl down removes the whole lab")
        return host
