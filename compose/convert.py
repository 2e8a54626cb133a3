"""Project -> the objects of a cluster, a service at a time, and a report on every key. Pure.

    convert(project, files, waits=...) -> Conversion
`waits`: dependencies become init containers, for manifests that are applied all at once. Without, whoever applies
them waits (`minikctl compose up`): then Conversion.order says for what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from compose import health, networks, pods
from compose.document import Map
from compose.errors import ComposeError
from compose.names import Object, dns, labels, manifest, pruned, selector
from compose.project import Project
from compose.report import IGNORED, Finding, Keys, Report
from compose.storage import Files, Storage, claims

QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
BUILT = ("context", "dockerfile", "dockerfile_inline", "args", "target", "labels", "no_cache", "network")
"""What of `build` becomes an option of `docker build`."""
STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"


@dataclass
class Manifest:
    """One object, and what a reader should know about it."""

    obj: Object
    about: str = ""
    findings: list[Finding] = field(default_factory=list)
    service: str = ""


@dataclass
class Conversion:
    """manifests: in the order in which to apply them, workloads after what they wait for."""

    project: Project
    manifests: list[Manifest]
    findings: list[Finding]
    waits: dict[str, dict[str, str]]
    """Service -> the services it waits for, and their condition."""


def convert(project: Project, files: Files, *, waits: bool) -> Conversion:
    return _Converter(project, files, waits=waits).run()


class _Converter:
    def __init__(self, project: Project, files: Files, *, waits: bool) -> None:
        self._project, self._waits = project, waits
        self._report = Report()
        called = {dns(name): name for name in project.services}
        if lost := [name for name in project.services if called[dns(name)] != name]:
            both = f"services {lost[0]} and {called[dns(lost[0])]} are both called {dns(lost[0])} in Kubernetes"
            raise ComposeError(f"{project.services.mark(lost[0])}: {both}")
        services = Keys(project.services, "services", self._report)
        self._services = {name: services.sub(name) for name in ordered(project.services)}
        for name in [name for name, keys in self._services.items() if "provider" in keys]:
            del self._services[name]  # reported as ignored
        self._storage = Storage(project, files, self._report)
        self._awaited = {
            (other, how["condition"])
            for _, service in project.workloads()
            for other, how in (service.get("depends_on") or {}).items()
        }
        for key, value in project.document.items():
            if key == "models" and value:
                self._report.note(Finding(project.document.mark(key), key, IGNORED, "no counterpart is made of it"))
        jobs = Keys(project.section("jobs"), "jobs", self._report)
        self._jobs = {name: jobs.sub(name) for name in jobs.data}

    def run(self) -> Conversion:
        parts = {name: list(self._service(name, keys)) for name, keys in self._services.items()}
        jobs = [each for name, keys in self._jobs.items() for each in self._scheduled(name, keys)]
        aliases = [each for keys in self._services.values() for each in self._links(keys)]
        policies = [Manifest(each) for each in networks.policies(self._project, self._report)]
        stored = [Manifest(self._storage.objects[key]) for key in sorted(self._storage.objects)]
        findings = self._report.findings()
        for name, found in parts.items():
            for each in found[:1]:
                each.findings = [
                    finding for finding in self._report.findings(f"services.{name}") if finding.grade != "exact"
                ]
        waits = {} if self._waits else {name: self._dependencies(name) for name in self._services}
        manifests = [*stored, *(each for found in parts.values() for each in found), *jobs, *aliases, *policies]
        by_name = {(each.obj["kind"], each.obj["metadata"]["name"]): each for each in reversed(manifests)}
        return Conversion(self._project, list(reversed(by_name.values())), findings, waits)

    def _service(self, name: str, service: Keys) -> Iterator[Manifest]:
        project = self._project.name
        if dns(name) != name:
            service.approximate("", f"called {dns(name)}: names have lower case letters, digits and hyphens")
        service.get("profiles"), service.get("restart"), service.get("scale")
        depends = service.sub("depends_on")
        for other in depends.data:
            how = depends.sub(other)
            how.get("condition"), how.get("required")
        self._build(service)
        pod = self._pod(name)
        deploy = service.sub("deploy")
        annotations = self._annotations(service, "labels") | self._annotations(service, "annotations")
        template = {"metadata": pruned({"labels": {**labels(project, name), **networks.members(service)}})}
        template["metadata"] |= pruned({"annotations": annotations})
        folded = self._waits and self._is_job(name) and (name, COMPLETED) in self._awaited
        if not folded:  # otherwise it runs inside those who wait for it
            workload = self._workload(name, service, template, pod)
            if own := self._annotations(deploy, "labels"):
                workload["metadata"]["annotations"] = own
            mark = self._project.services.mark(name)
            yield Manifest(workload, f"{name}: {mark}", service=name)
        if not self._is_job(name):
            for each in networks.services(service, project, name):
                yield Manifest(each)
        for _ in networks.linked(service):
            pass

    def _pod(self, name: str) -> Object:
        service = self._services[name]
        spec = pods.pod(service, name, image_of(self._project.name, name, service.data), self._storage)
        init = list(self._init_containers(name)) if self._waits else []
        if not init:
            return spec
        first = {key: value for key, value in spec.items() if key not in ("containers", "volumes")}
        extra = [volume for each in init for volume in each.pop("volumes", [])]
        known = spec.get("volumes", [])
        volumes = known + [each for each in extra if each not in known]
        rest = {"initContainers": init, "containers": spec["containers"], "volumes": volumes}
        return pruned({**first, **rest})

    def _scheduled(self, name: str, job: Keys) -> Iterator[Manifest]:
        """A CronJob for each of a job's schedules; one that is only run by hand waits, suspended, to be run."""
        triggers = job.sub("triggers")
        for key in ("depends_on", "profiles", "restart", "build", "image", "healthcheck"):
            job.get(key)
        if "depends_on" in job:
            job.ignored("depends_on", "a CronJob waits for nobody")
        spec = pods.pod(job, name, image_of(self._project.name, name, job.data), self._storage)
        template = {"metadata": {"labels": {**labels(self._project.name, name), **networks.members(job)}}}
        body = {"spec": {"backoffLimit": 0, "template": {**template, "spec": {"restartPolicy": "Never", **spec}}}}
        schedules = triggers.items("schedule")
        triggers.get("manual")
        for number, each in enumerate(schedules or [None]):
            called = dns(name) if number == 0 else f"{dns(name)}-{number + 1}"
            when = _when(each) if each else {"schedule": "0 0 1 1 *", "suspend": True}
            owner = labels(self._project.name, name)
            about = f"{name}: {job.mark}" + (
                "" if each else f"; run it by: kubectl create job {called}-1 --from=cronjob/{called}"
            )
            obj = manifest("batch/v1", "CronJob", called, owner, spec={**when, "jobTemplate": body})
            yield Manifest(obj, about)

    def _init_containers(self, name: str) -> Iterator[Object]:
        """One for each service to wait for: a look at its Service, or the job itself."""
        for other, condition in self._dependencies(name).items():
            if condition == COMPLETED and self._is_job(other):
                self._services[name].sub("depends_on").approximate(other, f"{other} runs before each pod of {name}")
                spec = self._pod(other)
                yield from spec.get("initContainers", [])
                kept = ("readinessProbe", "startupProbe", "ports", "lifecycle")
                own = {key: value for key, value in spec["containers"][0].items() if key not in kept}
                yield own | pruned({"volumes": spec.get("volumes")})
            elif not self._is_job(other):
                ports = [port for port, protocol in pods.ports_of(self._services[other]) if protocol == "TCP"]
                yield health.waiting_for(dns(other), next(iter(ports), None))

    def _dependencies(self, name: str) -> dict[str, str]:
        depends = self._project.services[name].get("depends_on") or {}
        return {other: how["condition"] for other, how in depends.items() if other in self._services}

    def _is_job(self, name: str) -> bool:
        """Whether a service runs once: somebody waits for its end, or it is not started again and serves nobody."""
        service = self._project.services[name]
        if (name, COMPLETED) in self._awaited:
            return True
        deploy = service.get("deploy") or Map()
        policy = (deploy.get("restart_policy") or {}).get("condition") or service.get("restart")
        once = policy in ("no", "none") or str(deploy.get("mode", "")).endswith("-job")
        return once and not (service.get("ports") or service.get("expose") or service.get("healthcheck"))

    def _workload(self, name: str, service: Keys, template: Object, pod: Object) -> Object:
        project, deploy = self._project.name, service.sub("deploy")
        chosen = {"matchLabels": selector(project, name)}
        replicas = deploy.get("replicas")
        mode = deploy.get("mode", "replicated")
        restart = self._restart(service, job=self._is_job(name))
        if self._is_job(name):
            tries = {"backoffLimit": restart, "parallelism": replicas, "completions": replicas}
            again = {"restartPolicy": "OnFailure" if restart else "Never"}
            spec = pruned({**tries, "template": {**template, "spec": {**again, **pod}}})
            return manifest("batch/v1", "Job", dns(name), labels(project, name), spec=spec)
        body: Object = {"selector": chosen, **self._update(service, mode, pod), "template": {**template, "spec": pod}}
        if mode == "global":
            return manifest("apps/v1", "DaemonSet", dns(name), labels(project, name), spec=body)
        number = {} if replicas is None else {"replicas": replicas}
        return manifest("apps/v1", "Deployment", dns(name), labels(project, name), spec={**number, **body})

    @staticmethod
    def _restart(service: Keys, *, job: bool) -> int:
        """How often a job is tried again; of anything else, what is not as under Compose."""
        policy = service.sub("deploy").sub("restart_policy")
        key = "condition" if "condition" in policy else "restart"
        keys = policy if key == "condition" else service
        condition = str(keys.get(key, "no"))
        name, _, count = condition.partition(":")
        tries = policy.get("max_attempts", int(count) if count.isdigit() else 6)
        if job:
            return tries if name == "on-failure" else 0
        if name in ("no", "none", "on-failure") and key in keys:
            keys.approximate(key, "a pod of a Deployment that ends is always started again")
        for each in ("delay", "window", "max_attempts"):
            if each in policy:
                policy.ignored(each, "the kubelet starts again after 10 s, 20 s, 40 s, ... up to 5 minutes")
        return 0

    @staticmethod
    def _update(service: Keys, mode: str, pod: Object) -> Object:
        """strategy and minReadySeconds from deploy.update_config; one at a time for what has a claim."""
        update = service.sub("deploy").sub("update_config")
        field_, rolling = ("updateStrategy", "RollingUpdate") if mode == "global" else ("strategy", "RollingUpdate")
        found: Object = {}
        if update.data:
            count = update.get("parallelism", 1) or "100%"
            first = update.get("order", "stop-first") == "start-first"
            amounts = {"maxSurge": count if first else 0, "maxUnavailable": 0 if first else count}
            found = {field_: {"type": rolling, "rollingUpdate": amounts}}
            if delay := update.get("delay"):
                found = {"minReadySeconds": int(delay)} | found
                update.approximate("delay", "a new pod must be Ready for so long before it counts")
            if update.get("failure_action", "pause") not in ("pause", "continue"):
                update.ignored("failure_action", "a rollout that fails stops; go back with: minikctl rollout undo")
        elif claims(pod) and mode != "global":
            found = {"strategy": {"type": "Recreate"}}
        return found

    @staticmethod
    def _annotations(keys: Keys, key: str) -> dict[str, str]:
        found = keys.get(key, {})
        if wrong := [each for each in found if not QUALIFIED.match(each)]:
            keys.ignored(key, f"{wrong[0]} is no name of an annotation")
        return {name: value for name, value in found.items() if QUALIFIED.match(name)}

    @staticmethod
    def _build(service: Keys) -> None:
        service.get("image")
        build = service.sub("build")
        for key in build.data:
            if key in BUILT:
                build.get(key)
            else:
                build.ignored(key, "build it with docker build and bring the image to the nodes")

    def _links(self, service: Keys) -> Iterator[Manifest]:
        for target, alias in networks.linked(service):
            if target in self._services and dns(alias) == alias and alias not in self._services:
                found = next(networks.services(self._services[target], self._project.name, target))
                found["metadata"]["name"] = alias
                yield Manifest(found)


def _when(schedule: Keys) -> Object:
    """One that comes while another runs is skipped, unless it is to wait its turn; one that was missed comes late."""
    if schedule.get("concurrency") == "queue":
        schedule.approximate("concurrency", "a run that comes while another runs is skipped")
    late = {"startingDeadlineSeconds": 60} if schedule.get("missed_fires") == "skip" else {}
    zone = schedule.get("timezone")
    return pruned({"schedule": schedule.get("cron"), "timeZone": zone, "concurrencyPolicy": "Forbid", **late})


def image_of(project: str, name: str, service: Map) -> str:
    """The image of a service; one that is built and has no name is called as Compose calls it."""
    return str(service.get("image") or f"{project}-{name}:latest")


def ordered(services: Map) -> list[str]:
    """The services, each after those it depends on. Raises ComposeError for a circle."""
    found: list[str] = []

    def visit(name: str, seen: tuple[str, ...]) -> None:
        if name in found or name not in services:
            return
        if name in seen:
            raise ComposeError(f"{services.mark(name)}: services {', '.join(seen)} depend on each other")
        for other in services[name].get("depends_on") or {}:
            visit(other, (*seen, name))
        found.append(name)

    for name in services:
        visit(name, ())
    return found
