"""How `minikctl compose up` gets there, and `down` back.

Images are built first, for a lab; then everything but the workloads is applied, then the workloads, each when what it
depends on has started, is healthy, or has ended well. A job that has ended runs again, as under Compose.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from cli import rollout
from cli.apply import apply_one
from cli.command import Write
from cli.errors import CliError, StatusError
from cli.labs import lab, of_server, told
from cli.session import Object, Ref, Session
from cli.wait import deadline, existing, until_gone, wait_for
from compose.convert import COMPLETED, STARTED, Conversion, Manifest, image_of
from compose.names import MANAGED_BY, MANAGER, NAME, PROJECT, query
from compose.report import Finding

WORKLOADS = ("deployments.apps", "daemonsets.apps", "cronjobs.batch", "jobs.batch")
KINDS = (*WORKLOADS, "services", "networkpolicies.networking.k8s.io", "configmaps", "secrets")
CLAIMS = "persistentvolumeclaims"
IMAGE_ID = "minik.dev/image-id"
"""Annotation of a pod's template: a service built anew gets new pods."""
FORCE = {"force": "true"}
BALANCER_SECONDS = 10.0
"""How long a load balancer may take to give an address."""


class Up:
    def __init__(self, session: Session, conversion: Conversion, *, timeout: str) -> None:
        self._session, self._conversion, self._project = session, conversion, conversion.project
        self._write, self._ends = Write(), deadline(timeout)
        self._refs: dict[str, Ref] = {}

    def run(self, *, remove_orphans: bool) -> None:
        self._build()
        workloads = [each for each in self._conversion.manifests if each.service]
        for each in self._conversion.manifests:
            if not each.service:
                self._apply(each)
        for each in workloads:
            for other, condition in self._conversion.waits[each.service].items():
                self._until(other, condition)
            self._apply(each)
        orphans = self._orphans()
        if orphans and remove_orphans:
            _delete(self._session, orphans, self._ends)
        elif orphans:
            names = ", ".join(sorted(each.label for each in orphans))
            print(f"Warning: not in the file any more: {names}; remove them with --remove-orphans", file=sys.stderr)
        for each in workloads:
            if self._refs[each.service].kind.plural != "jobs":
                self._until(each.service, "healthy")
        self._show()

    # Applying

    def _apply(self, each: Manifest) -> None:
        obj = each.obj
        kind = self._session.kind_of(obj)
        if kind is None:
            raise CliError(f"the server has no {obj['kind']} ({obj['apiVersion']})")
        obj["metadata"]["namespace"] = self._session.namespace
        ref = Ref(kind, obj["metadata"]["name"], self._session.namespace, "", obj)
        there = self._session.find(ref)
        if there is not None:
            self._ours(ref, there)
            if kind.plural == "jobs":  # a job's template never changes, and its end is for good
                _delete(self._session, [ref], self._ends, say=False)
        apply_one(self._session, ref, self._write.params | FORCE)
        self._write.say(ref.label, "serverside-applied")
        if each.service:
            self._refs[each.service] = ref

    def _ours(self, ref: Ref, there: Object) -> None:
        """Raises CliError for an object of another project, or of nobody's, that would be taken over."""
        labels = there["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) != MANAGER or labels.get(PROJECT) != (ref.obj or {})["metadata"]["labels"][PROJECT]:
            owner = labels.get(PROJECT)
            whose = f"belongs to the project {owner}" if owner else "was not made by compose up"
            raise CliError(f"{ref.label} {whose}; take another namespace, as in: minikctl compose up -n NAMESPACE")

    # Images

    def _build(self) -> None:
        built = {name: service for name, service in self._project.services.items() if service.get("build")}
        if not built:
            return
        name = of_server(self._session.access.server)
        for service, data in built.items():
            image = image_of(self._project.name, service, data)
            if not name:
                text = f"{image} is to be on the nodes already: only for labs are images built here"
                print(Finding(data.mark("build"), f"services.{service}.build", "ignored", text), file=sys.stderr)
                continue
            from lab.builds import build

            arguments, dockerfile = build_arguments(data["build"])
            with told():
                found = build(
                    lab(name), image, arguments, dockerfile=dockerfile, say=lambda line: print(line, flush=True)
                )
            for each in self._conversion.manifests:
                if each.service == service:
                    metadata = each.obj["spec"]["template"]["metadata"]
                    metadata["annotations"] = {**metadata.get("annotations", {}), IMAGE_ID: found}

    # Waiting

    def _until(self, service: str, condition: str) -> None:
        """Until a service has started, is healthy, or has ended well. Raises CliError."""
        ref = self._refs.get(service)
        if ref is None:
            return  # in another project, or of a provider
        if condition == STARTED:
            self._until_pods(service, lambda pod: _has_started(pod))
            return
        done = _completed if condition == COMPLETED or ref.kind.plural == "jobs" else _healthy
        message = f"{service} is not {'done' if done is _completed else 'healthy'} in time; see: minikctl describe pods"
        message += f" -l {query(self._project.name, service)}"
        wait_for(self._session, ref, lambda obj: done(existing(obj, ref)), ends=self._ends, message=message)

    def _until_pods(self, service: str, holds: Callable[[Object], bool]) -> None:
        """Until one of a service's pods is so."""
        pods = self._session.resolve("pods")
        chosen = {"labelSelector": query(self._project.name, service), "namespace": self._session.namespace}
        while time.monotonic() < self._ends:
            listing = self._session.list_all(pods, **chosen)
            if any(map(holds, listing.get("items") or [])):
                return
            version = listing["metadata"]["resourceVersion"]
            try:
                for type_, pod in self._session.watch_once(pods, version=version, timeoutSeconds="5", **chosen):
                    if type_ != "BOOKMARK" and holds(pod):
                        return
            except StatusError as error:
                if error.reason not in ("Expired", "Gone"):
                    raise
        raise CliError(f"{service} has not started in time; see: minikctl compose ps")

    # The end

    def _orphans(self) -> list[Ref]:
        kept = {(each.obj["kind"], each.obj["metadata"]["name"]) for each in self._conversion.manifests}
        found = _of_project(self._session, self._project.name, KINDS)
        return [each for each in found if (each.kind.kind, each.name) not in kept]

    def _show(self) -> None:
        """Where the published ports answer."""
        for each in self._conversion.manifests:
            if each.obj["kind"] != "Service" or each.obj["spec"].get("type") not in ("NodePort", "LoadBalancer"):
                continue
            ref = self._session.ref("services", each.obj["metadata"]["name"])
            balanced = each.obj["spec"]["type"] == "LoadBalancer"
            addresses = (self._addresses(ref) or ["<pending>"]) if balanced else ["<any node>"]
            for port in self._session.get(ref)["spec"]["ports"]:
                number = port["port"] if balanced else port["nodePort"]
                where = ", ".join(f"{address}:{number}" for address in addresses)
                print(f"{each.obj['metadata']['labels'][NAME]} port {port['targetPort']}: {where}")

    def _addresses(self, ref: Ref) -> list[str]:
        """Where a load balancer answers, once it does; none where the cluster has none."""
        found: list[str] = []

        def balanced(obj: Object | None) -> bool:
            status = (existing(obj, ref).get("status") or {}).get("loadBalancer") or {}
            found[:] = [each.get("ip") or each.get("hostname") or "" for each in status.get("ingress") or []]
            return bool(found)

        with suppress(CliError):
            wait_for(self._session, ref, balanced, ends=min(self._ends, time.monotonic() + BALANCER_SECONDS))
        return found


def build_arguments(build: Any) -> tuple[list[str], str]:
    """`docker build`'s arguments, the context last, and the Dockerfile's text if it stands in the file. Pure."""
    found: list[str] = []
    inline = str(build.get("dockerfile_inline") or "")
    context = str(build["context"])
    dockerfile = str(build.get("dockerfile", "Dockerfile"))
    found += ["--file", "-" if inline else dockerfile if dockerfile.startswith("/") else f"{context}/{dockerfile}"]
    for key, option in (("args", "--build-arg"), ("labels", "--label")):
        for name, value in (build.get(key) or {}).items():
            found += [option, name if value is None else f"{name}={value}"]
    found += ["--target", str(build["target"])] if build.get("target") else []
    found += ["--network", str(build["network"])] if build.get("network") else []
    found += ["--no-cache"] if build.get("no_cache") else []
    return [*found, context], inline


def _has_started(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    gone = pod["metadata"].get("deletionTimestamp")
    return not gone and any({"running", "terminated"} & set(each.get("state") or {}) for each in statuses)


def _healthy(workload: Object) -> bool:
    if workload.get("kind") == "DaemonSet" or "desiredNumberScheduled" in (workload.get("status") or {}):
        state = workload.get("status") or {}
        seen = state.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
        wanted = state.get("desiredNumberScheduled", 0)
        return bool(seen and state.get("numberReady", 0) == wanted == state.get("updatedNumberScheduled", 0))
    return rollout.progress(workload)[1]


def _completed(job: Object) -> bool:
    conditions = {each["type"]: each for each in (job.get("status") or {}).get("conditions") or []}
    if (conditions.get("Failed") or {}).get("status") == "True":
        name = job["metadata"]["name"]
        raise CliError(f"{name} did not complete successfully: {conditions['Failed'].get('message', '')}")
    return (conditions.get("Complete") or {}).get("status") == "True"


def _of_project(session: Session, project: str, kinds: Sequence[str]) -> list[Ref]:
    found = []
    for name in kinds:
        kind = session.resolve(name)
        for obj in session.objects(kind, labelSelector=query(project)):
            # Pods, ReplicaSets and slices carry labels of ours too, but what owns them removes them.
            if not obj["metadata"].get("ownerReferences"):
                found.append(Ref(kind, obj["metadata"]["name"], session.namespace, "", obj))
    return found


def _delete(session: Session, refs: Sequence[Ref], ends: float, *, say: bool = True) -> None:
    """Delete objects with what they own, and wait until all of it is gone."""
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
    for ref in refs:
        try:
            session.call("DELETE", ref.path(), body=options)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
        if say:
            print(f'{ref.kind.qualified_kind} "{ref.name}" deleted', flush=True)
    for ref in refs:
        until_gone(session, ref, uid="", ends=ends)


def remove(session: Session, project: str, *, volumes: bool, timeout: str) -> None:
    """Delete everything of a project, pods last seen; its claims only if asked to."""
    ends = deadline(timeout)
    refs = _of_project(session, project, KINDS)
    _delete(session, refs, ends)
    for pod in session.objects("pods", labelSelector=query(project)):
        until_gone(session, session.ref("pods", pod["metadata"]["name"]), uid=pod["metadata"]["uid"], ends=ends)
    claims = _of_project(session, project, [CLAIMS])
    if volumes:
        _delete(session, claims, ends)
    if not refs and not (volumes and claims):
        print(f"nothing of the project {project} is in the namespace {session.namespace}", file=sys.stderr)
