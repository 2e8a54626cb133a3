"""What becomes of a service's keys, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from compose.convert import Conversion, convert
from compose.errors import ComposeError
from compose.project import load
from compose.render import render


class Disk(dict[str, Mapping[str, bytes]]):
    def folder(self, path: str) -> Mapping[str, bytes] | None:
        return self.get(path)


def conversion(
    text: str, *, disk: Disk | None = None, waits: bool = False, files: Mapping[str, str] | None = None, **options: Any
) -> Conversion:
    known = {"/shop/compose.yaml": text, **(files or {})}

    def read(path: str) -> str:
        if path not in known:
            raise FileNotFoundError(path)
        return known[path]

    loaded = load(["/shop/compose.yaml"], read=read, environment={}, **options)
    return convert(loaded, disk or Disk(), waits=waits)


def service(body: str, **options: Any) -> Conversion:
    return conversion(f"services:\n  web: {{image: 'web:1', {body}}}\n", **options)


def found(result: Conversion, kind: str, name: str) -> dict[str, Any]:
    return next(
        each.obj for each in result.manifests if (each.obj["kind"], each.obj["metadata"]["name"]) == (kind, name)
    )


def pod(result: Conversion, name: str = "web", kind: str = "Deployment") -> dict[str, Any]:
    return found(result, kind, name)["spec"]["template"]["spec"]


def names(result: Conversion) -> list[str]:
    return [f"{each.obj['kind']}/{each.obj['metadata']['name']}" for each in result.manifests]


def grades(result: Conversion) -> dict[str, str]:
    return {each.path: each.grade for each in result.findings}


CONTAINER = [
    ("command: serve --port 80", {"args": ["serve", "--port", "80"]}),
    ("entrypoint: [a], command: []", {"command": ["a"]}),
    ("command: 'echo $$(X)'", {"args": ["echo", "$$(X)"]}),
    ("environment: [A=1, B=$$(A)]", {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$$(A)"}]}),
    ("working_dir: /srv, tty: true, stdin_open: true", {"workingDir": "/srv", "tty": True, "stdin": True}),
    ("pull_policy: always", {"imagePullPolicy": "Always"}),
    (
        "cap_add: [CAP_NET_ADMIN], cap_drop: [all]",
        {"securityContext": {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}},
    ),
    (
        "user: '1000:50', read_only: true",
        {"securityContext": {"readOnlyRootFilesystem": True, "runAsUser": 1000, "runAsGroup": 50}},
    ),
    ("cpus: 1.5, mem_limit: 1g", {"resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}),
    (
        "deploy: {resources: {reservations: {cpus: '0.25', memory: 64M}}}",
        {"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}},
    ),
    ("ports: [{target: 80, published: 80, mode: host}]", {"ports": [{"containerPort": 80, "hostPort": 80}]}),
    ("pre_stop: [{command: ./end}]", {"lifecycle": {"preStop": {"exec": {"command": ["./end"]}}}}),
]
POD = [
    ("stop_grace_period: 1m", {"terminationGracePeriodSeconds": 60}),
    ("hostname: Web_1", {"hostname": "web-1"}),
    (
        "sysctls: [net.core.somaxconn=5]",
        {"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "5"}]}},
    ),
    ("extra_hosts: ['a:1.1.1.1', 'b:1.1.1.1']", {"hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a", "b"]}]}),
    ("network_mode: host, pid: host", {"hostNetwork": True, "hostPID": True, "dnsPolicy": "ClusterFirstWithHostNet"}),
    ("deploy: {placement: {constraints: [node.labels.disk==ssd]}}", {"nodeSelector": {"disk": "ssd"}}),
    ("platform: linux/arm64/v8", {"nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}}),
    (
        "dns_opt: ['ndots:1'], dns_search: x.org",
        {"dnsConfig": {"searches": ["x.org"], "options": [{"name": "ndots", "value": "1"}]}},
    ),
    (
        "tmpfs: '/run:size=64m'",
        {"volumes": [{"name": "tmpfs-0", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}]},
    ),
    ("volumes: [/data]", {"volumes": [{"name": "data", "emptyDir": {}}]}),
    ("volumes: [/var/lib/x:/x]", {"volumes": [{"name": "x", "hostPath": {"path": "/var/lib/x"}}]}),
]


@pytest.mark.parametrize(("body", "container"), CONTAINER)
def test_a_container(body: str, container: dict[str, Any]) -> None:
    made = pod(service(body))["containers"][0]
    assert {key: made.get(key) for key in container} == container


@pytest.mark.parametrize(("body", "spec"), POD)
def test_a_pod(body: str, spec: dict[str, Any]) -> None:
    made = pod(service(body))
    assert {key: made.get(key) for key in spec} == spec


def test_ports_answer_inside_and_outside() -> None:
    result = service("ports: ['8080:80', '127.0.0.1:81:81'], expose: [90]")
    assert [each["port"] for each in found(result, "Service", "web")["spec"]["ports"]] == [80, 81, 90]
    outside = found(result, "Service", "web-published")["spec"]
    assert outside["type"] == "LoadBalancer"
    assert outside["ports"] == [{"name": "tcp-8080", "port": 8080, "targetPort": 80}]
    assert grades(result)["services.web.ports[1]"] == "approximate"


def test_a_port_of_the_node_ports_is_one() -> None:
    outside = found(service("ports: ['30080:80']"), "Service", "web-published")["spec"]
    assert (outside["type"], outside["ports"][0]["nodePort"]) == ("NodePort", 30080)
    by_chance = found(service("ports: [80]"), "Service", "web-published")["spec"]
    assert (by_chance["type"], by_chance["ports"]) == ("NodePort", [{"name": "tcp-80", "port": 80, "targetPort": 80}])


def test_a_service_without_ports_has_a_name() -> None:
    assert found(service(""), "Service", "web")["spec"]["clusterIP"] == "None"


def test_other_names_are_services() -> None:
    result = conversion(
        "services:\n"
        "  web: {image: w, links: ['db:database']}\n"
        "  db: {image: d, container_name: the-db, networks: {default: {aliases: [sql, Bad_Name]}}}\n"
    )
    assert {"Service/database", "Service/the-db", "Service/sql", "Service/db"} <= set(names(result))
    assert grades(result)["services.db.networks"] == "ignored"


def test_a_healthcheck_is_two_probes() -> None:
    check = "healthcheck: {test: 'curl -f x', interval: 20s, timeout: 3s, retries: 2, start_period: 1m}"
    made = pod(service(check))["containers"][0]
    command = {"command": ["/bin/sh", "-c", "curl -f x"]}
    assert made["readinessProbe"] == {"exec": command, "periodSeconds": 20, "timeoutSeconds": 3, "failureThreshold": 2}
    assert made["startupProbe"] == {"exec": command, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 14}
    assert "readinessProbe" not in pod(service("healthcheck: {test: [NONE]}"))["containers"][0]
    assert "readinessProbe" not in pod(service("healthcheck: {disable: true, test: x}"))["containers"][0]


DEPENDING = """
services:
  web:
    image: w
    depends_on: {migrate: {condition: service_completed_successfully}, cache: {condition: service_started}}
  migrate: {image: m, command: up, depends_on: {db: {condition: service_healthy}}}
  db: {image: d, expose: [5432]}
  cache: {image: c}
"""


def test_manifests_wait_for_themselves() -> None:
    result = conversion(DEPENDING, waits=True)
    init = pod(result)["initContainers"]
    assert [each["name"] for each in init] == ["wait-for-db", "migrate", "wait-for-cache"]
    assert "nc -w 1 db 5432" in init[0]["command"][2] and init[1]["args"] == ["up"]
    assert "Job/migrate" not in names(result)


def test_or_are_applied_in_order() -> None:
    result = conversion(DEPENDING)
    order = [each.service for each in result.manifests if each.service]
    assert order.index("db") < order.index("migrate") < order.index("web")
    assert "initContainers" not in pod(result) and "Job/migrate" in names(result)
    assert result.waits["web"] == {"migrate": "service_completed_successfully", "cache": "service_started"}


def test_volumes_are_claims_and_shared_when_several_use_them() -> None:
    result = conversion(
        "services:\n  a: {image: a, volumes: ['one:/x', 'two:/y']}\n  b: {image: b, volumes: ['two:/y:ro']}\n"
        "volumes: {one: , two: , unused: }\n"
    )
    claims = {
        each.obj["metadata"]["name"]: each.obj["spec"]["accessModes"]
        for each in result.manifests
        if each.obj["kind"] == "PersistentVolumeClaim"
    }
    assert claims == {"one": ["ReadWriteOnce"], "two": ["ReadWriteMany"]}
    assert found(result, "Deployment", "a")["spec"]["strategy"] == {"type": "Recreate"}


def test_small_files_are_config_maps() -> None:
    disk = Disk({"/shop/nginx.conf": {"nginx.conf": b"x"}, "/shop/html": {"a.html": b"a", "b.png": b"\xff"}})
    result = service("volumes: ['./nginx.conf:/etc/nginx.conf:ro', './html:/html']", disk=disk)
    assert found(result, "ConfigMap", "web-html") | {"metadata": None} == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": None,
        "data": {"a.html": "a"},
        "binaryData": {"b.png": "/w=="},
    }
    mounts = pod(result)["containers"][0]["volumeMounts"]
    assert mounts[0] == {
        "name": "nginx-conf",
        "mountPath": "/etc/nginx.conf",
        "readOnly": True,
        "subPath": "nginx.conf",
    }
    assert grades(result)["services.web.volumes[1].source"] == "approximate"


def test_files_no_config_map_can_hold_stay_on_the_node() -> None:
    disk = Disk({"/shop/a": {"with space": b"x"}, "/shop/b": {"big": bytes(1 << 20)}})
    made = pod(service("volumes: ['./a:/a', './b:/b', './gone:/gone']", disk=disk))
    assert [each["hostPath"]["path"] for each in made["volumes"]] == ["/shop/a", "/shop/b", "/shop/gone"]


def test_names_are_made_fit() -> None:
    result = conversion("services: {3proxy: {image: x}, My_App: {image: y}}\n")
    assert {"Deployment/x-3proxy", "Deployment/my-app", "Service/my-app"} <= set(names(result))
    assert grades(result)["services.My_App"] == "approximate"


def test_secrets_and_configs() -> None:
    text = (
        "services:\n  web: {image: w, secrets: [s], configs: [{source: c, target: /etc/c, mode: 0440}]}\n"
        "secrets: {s: {file: ./s.txt}}\nconfigs: {c: {content: 'a=1'}}\n"
    )
    result = conversion(text, disk=Disk({"/shop/s.txt": {"s.txt": b"hidden"}}))
    assert found(result, "Secret", "s")["data"] == {"s": "aGlkZGVu"}
    config, secret = pod(result)["volumes"]
    assert config["configMap"] == {"name": "c", "items": [{"key": "c", "path": "c"}], "defaultMode": 0o440}
    assert secret["secret"]["secretName"] == "s"
    with pytest.raises(ComposeError, match=r"compose.yaml:3: secrets.s: /shop/s.txt: no such file"):
        conversion(text)


def test_networks_are_policies() -> None:
    result = conversion(
        "services:\n  web: {image: w, networks: [front, back], ports: ['80:80']}\n  db: {image: d, networks: [back]}\n"
        "networks: {front: , back: {internal: true}}\n"
    )
    assert {"NetworkPolicy/network-front", "NetworkPolicy/network-back", "NetworkPolicy/published-web"} <= set(
        names(result)
    )
    out = found(result, "NetworkPolicy", "internal-back")["spec"]
    assert out["podSelector"]["matchExpressions"] == [{"key": "network.minik.dev/front", "operator": "DoesNotExist"}]
    assert not [each for each in names(service("")) if each.startswith("NetworkPolicy")]
    alone = found(service("network_mode: none"), "NetworkPolicy", "none-web")["spec"]
    assert alone["policyTypes"] == ["Ingress", "Egress"]


def test_kinds_of_workloads() -> None:
    assert "DaemonSet/web" in names(service("deploy: {mode: global}"))
    assert "Job/web" in names(service("restart: 'no'"))
    assert "Deployment/web" in names(service("restart: 'no', ports: [80]"))
    again = "restart_policy: {condition: on-failure, max_attempts: 2}"
    job = found(service(f"deploy: {{mode: replicated-job, replicas: 3, {again}}}"), "Job", "web")
    assert (job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (3, 2)
    update = "deploy: {replicas: 4, update_config: {parallelism: 2, order: start-first, delay: 5s}}"
    spec = found(service(update), "Deployment", "web")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 0}
    assert (spec["replicas"], spec["minReadySeconds"]) == (4, 5)


def test_jobs_are_cron_jobs() -> None:
    triggers = "{schedule: ['0 3 * * *', {cron: '0 * * * 1', timezone: Europe/Paris, missed_fires: skip}]}"
    text = f"services: {{}}\njobs:\n  dump: {{image: d, command: run, triggers: {triggers}}}\n"
    result = conversion(text + "  hand: {image: h, triggers: {manual: true}}\n")
    first, second = (found(result, "CronJob", each)["spec"] for each in ("dump", "dump-2"))
    assert (first["schedule"], first["concurrencyPolicy"]) == ("0 3 * * *", "Forbid")
    assert (second["timeZone"], second["startingDeadlineSeconds"]) == ("Europe/Paris", 60)
    assert first["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] == ["run"]
    assert found(result, "CronJob", "hand")["spec"]["suspend"] is True


def test_every_key_is_accounted_for() -> None:
    result = service(
        "ulimits: {nofile: 5}, environment: {A: 1}, stop_signal: USR1, init: true, made_up: {x: 1}, x-own: 1"
    )
    assert grades(result) == {
        "services.web.image": "exact",
        "services.web.environment": "exact",
        "services.web.init": "approximate",
        "services.web.ulimits": "ignored",
        "services.web.stop_signal": "ignored",
        "services.web.made_up": "ignored",
    }
    assert str(next(each for each in result.findings if each.path.endswith("made_up"))).startswith("compose.yaml:2: ")


def test_what_is_rendered_is_what_was_made() -> None:
    result = conversion(DEPENDING, waits=True)
    text = render(result)
    assert list(yaml.safe_load_all(text)) == [each.obj for each in result.manifests]
    assert "# web: compose.yaml:3\n" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {image: x, ports: [x]}}", "compose.yaml:1: invalid port: 'x'"),
        ("services: {a: {}}", 'service "a" has neither an image nor a build context'),
        ("services: {a: {image: x, depends_on: [b]}}", 'service "a" depends on undefined service "b"'),
        ("services: {a: {image: x, volumes: ['b:/b']}}", "undefined volume b"),
        ("services: {a: {image: x, networks: [b]}}", "undefined network b"),
        ("services: {a: {image: x, extends: a}}", "circular extends"),
        ("services: {a: {image: x, extends: {service: b}}}", "extends b, which is not there"),
        ("services: {a: {image: x, extends: {service: b, file: no.yaml}}}", "/shop/no.yaml: no such file"),
        ("services: {a: {image: x, env_file: no.env}}", "no.env: no such file"),
        ("services: {a: {image: [x]}}", "compose.yaml:1: services.a.image: must be string"),
        ("services:\n  a:\n    image: '${X:?set X}'", "compose.yaml:3: required variable X is missing a value: set X"),
        ("include: [other.yaml]\nservices: {a: {image: x}}", "/shop/other.yaml: no such file"),
        ("services: {a_b: {image: x}, a-b: {image: x}}", "compose.yaml:1: services a_b and a-b are both called a-b"),
        ("services: {a: {image: x, healthcheck: {test: t, interval: soon}}}", "invalid duration: 'soon'"),
    ],
)
def test_what_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(ComposeError) as error:
        conversion(text)
    assert message in str(error.value)


def test_profiles_choose_services() -> None:
    text = "services:\n  a: {image: a}\n  b: {image: b, profiles: [debug]}\n"
    assert "Deployment/b" not in names(conversion(text))
    assert "Deployment/b" in names(conversion(text, profiles=["debug"]))
    assert "Deployment/b" in names(conversion(text, profiles=["*"]))


def test_circles_of_dependencies_end() -> None:
    text = "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: b, depends_on: [a]}\n"
    with pytest.raises(ComposeError, match="depend on each other"):
        conversion(text)
