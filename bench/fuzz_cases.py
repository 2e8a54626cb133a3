"""Requests for an API server, valid and not, made from its own OpenAPI v3 documents: the generator of `bench.fuzz`.

Interface: `Cases(documents, seed)`; `make()` gives the next `Case`, `learn(case, status, body)` tells what came of it,
so that later cases name objects that exist, and continue from tokens that were given.

Most of a case is right and one thing in it is not: what is wrong everywhere is refused at the door and finds nothing.
Nothing here makes the server dial anybody: logs, exec and proxies are asked of objects that do not exist.
"""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import yaml

PREFIX = "#/components/schemas/"
YAML, APPLY = "application/yaml", "application/apply-patch+yaml"
DEPTH = 9
"""Deeper optional members are left out."""

QUANTITIES = (
    "1", "100m", "0.5", "1Gi", "1e3", "0", 2, "1500M", "-1", "1e999999999", "1e-999999999", "9" * 60, "1Ki1", "1.5.5",
    "Ki", "+5", "1n", "9223372036854775808Ei", "0.0000000000000000001", "1E", " 1", "\u0661", "0x10", 1.5,
    10**30, "1e", ".",
)  # fmt: skip
VALID_QUANTITIES = QUANTITIES[:8]
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, -(2**31) - 1, 2**63, 2**64, 1e308, -0.5, "", " ", "a" * 300, "\x00", "é" * 64,
    "../..", "a/b", "-a", "a-", "A_b", "1e999999999", "9" * 100, "٣", "0x10", ".", "%", "{}", "\n", [], {}, [[]],
    [None], {"": ""}, {"$patch": "delete"}, {"$patch": "replace"}, {"$retainKeys": ["x"]}, [{"$patch": "replace"}], [1],
    "2026-01-01T00:00:00Z", "9999-99-99T99:99:99Z", "0000-00-00T00:00:00Z", "1.2.3.4", "::1", "a" * 5000,
)  # fmt: skip
SELECTORS = (
    "app=fuzz", "app!=fuzz", "app in (fuzz,b)", "app notin (c)", "app", "!app", "app=fuzz,x!=y", "", "a==b", "x>1",
    "x<1", "app in (", "(((", "=", ",", "a=b," * 2000, "a" * 20000, "!", "app in ()", "a in (b", "app=\x00", "é=ü",
    "a//b=c", "app notin (" + "a," * 5000 + ")", "!!a", "a=b=c", "app=fuzz,,x", "in in (in)", "x>1.5",
    "x>99999999999999999999",
)  # fmt: skip
FIELDS = (
    "metadata.name=a", "metadata.namespace=default", "metadata.name!=a", "spec.nodeName=", "status.phase=Running", "",
    "metadata.name=a,metadata.namespace!=b", "spec.replicas=1", "a.b.c=d", "=", "metadata.name", "metadata.name=\\",
    "metadata.name=\\,", "metadata.name==a", "type=Opaque", "\x00=\x00", "metadata.name=" + "a" * 20000, "reason=x",
)  # fmt: skip
VERSIONS = ("", "0", "1", "5", "99999999999999999999999", "-1", "abc", "٣", "1.5", " 1", "1" * 400)
TOKENS = ("", "x", "e30=", "e30", "bnVsbA", "W10", "AAAA", "=" * 9, "é", "a" * 5000)
ACCEPTS = (
    "application/json", "*/*", "application/yaml", "application/vnd.kubernetes.protobuf,application/json", "",
    "text/html", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/json;as=;v=;g=", ";;;", "a/b;q=x",
    "application/json;as=Table;v=v9;g=x", "application/json;stream=watch", "application/vnd.kubernetes.protobuf",
    "," * 500, "application/json;q=0", "application/yaml;as=Table;v=v1;g=meta.k8s.io", 'application/json;as="Table',
    "*", "/",
)  # fmt: skip
GOOD_ACCEPTS = (*ACCEPTS[:4], *(f"{each},application/json" for each in ACCEPTS[6:10]))
MEDIA = (
    "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", "", "application/json; charset=latin-1",
    "application/merge-patch+json", "application/apply-patch+yaml", "application/json-patch+json", "x", ";",
    "text/yaml",
)  # fmt: skip
WORDS = {
    "protocol": ("TCP", "UDP", "SCTP"), "restartPolicy": ("Always", "OnFailure", "Never"), "effect": ("NoSchedule",),
    "operator": ("In", "Exists", "NotIn", "Equal"), "imagePullPolicy": ("Always", "IfNotPresent"),
    "scope": ("Namespaced",), "concurrencyPolicy": ("Allow", "Forbid", "Replace"), "schedule": ("* * * * *", "@daily"),
    "status": ("True", "False"), "completionMode": ("NonIndexed", "Indexed"),
    "type": ("ClusterIP", "Opaque", "RollingUpdate", "Utilization", "Ready"), "pathType": ("Prefix", "Exact"),
    "path": ("/x", "/"), "mountPath": ("/data", "/etc/x"), "timeZone": ("Europe/Berlin",), "addressType": ("IPv4",),
    "policyTypes": ("Ingress", "Egress"), "accessModes": ("ReadWriteOnce",), "verbs": ("get",),
    "apiGroup": ("rbac.authorization.k8s.io", ""), "apiVersion": ("v1", "apps/v1"),
    "kind": ("Pod", "Deployment", "Role"), "cidr": ("10.0.0.0/8",), "clusterIP": ("", "None"), "ip": ("10.1.2.3",),
    "whenScaled": ("Retain",), "dryRun": ("All",), "propagationPolicy": ("Background", "Orphan", "Foreground"),
    "finalizers": ("fuzz.dev/hold",), "usages": ("client auth",),
    "signerName": ("kubernetes.io/kube-apiserver-client",), "resourceVersion": ("",), "uid": ("",),
    "topologyKey": ("kubernetes.io/hostname",), "whenUnsatisfiable": ("DoNotSchedule",),
    "dnsPolicy": ("ClusterFirst",),
}  # fmt: skip
NAMES = ("a", "b", "c", "web", "x-1")
_POD = {"containers": [{"name": "web", "image": "minik/web:1"}]}
_TEMPLATE = {"metadata": {"labels": {"app": "fuzz"}}, "spec": _POD}
_SELECTED = {"selector": {"matchLabels": {"app": "fuzz"}}, "template": _TEMPLATE}
_ONCE = {"template": {"spec": {**_POD, "restartPolicy": "Never"}}}
_SCALED = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_REQUEST = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
SOUND: dict[str, dict[str, Any]] = {
    "Pod": {"spec": _POD}, "PodTemplate": {"template": _TEMPLATE}, "Deployment": {"spec": _SELECTED},
    "ReplicaSet": {"spec": _SELECTED}, "DaemonSet": {"spec": _SELECTED}, "StatefulSet": {"spec": _SELECTED},
    "ReplicationController": {"spec": {"template": _TEMPLATE}}, "Job": {"spec": _ONCE},
    "CronJob": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": _ONCE}}},
    "Service": {"spec": {"ports": [{"port": 80}], "selector": {"app": "fuzz"}}},
    "HorizontalPodAutoscaler": {"spec": {"scaleTargetRef": _SCALED, "maxReplicas": 3}},
    "PersistentVolumeClaim": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    "NetworkPolicy": {"spec": {"podSelector": {}}}, "PodDisruptionBudget": {"spec": {"minAvailable": 1}},
    "Endpoints": {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}]},
    "RoleBinding": {"roleRef": _ROLE}, "ClusterRoleBinding": {"roleRef": _ROLE}, "Lease": {"spec": {}},
    "Role": {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}, "ClusterRole": {"rules": []},
    "SubjectAccessReview": {"spec": {**_REQUEST, "user": "x"}}, "SelfSubjectAccessReview": {"spec": _REQUEST},
    "SelfSubjectRulesReview": {"spec": {"namespace": "default"}}, "TokenReview": {"spec": {"token": "x"}},
    "TokenRequest": {"spec": {"audiences": []}}, "ControllerRevision": {"revision": 1}, "Secret": {}, "ConfigMap": {},
    "Ingress": {"spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}, "Namespace": {},
    "ServiceAccount": {}, "Node": {}, "PriorityClass": {"value": 1}, "IngressClass": {"spec": {"controller": "a.b/c"}},
}  # fmt: skip
"""What each kind needs to be accepted; the rest of an object is made from the schema."""
PATCHES = {
    "json patch": "application/json-patch+json",
    "merge patch": "application/merge-patch+json",
    "strategic patch": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
OTHER_PATHS = (
    "/openapi/v2", "/openapi/v3", "/openapi/v3/apis/apps/v1?hash=x", "/openapi/v3/api/v1", "/openapi/v3/%00",
    "/version", "/healthz", "/readyz?verbose", "/livez/ping", "/metrics", "/api", "/apis", "/apis/apps",
    "/apis/apps/v1", "/api/v1", "/", "/apis/none", "/apis/apps/v9", "/api/v1/", "/api/v1/pods/",
    "/api/v1/namespaces/default/pods/a/b/c", "/api/v1/watch/pods", "/api/v1/namespaces//pods",
    "/api/v1/namespaces/default/none", "/api//v1", "/%", "/api/v1/namespaces/%2e%2e/pods",
    "/api/v1/namespaces/default/pods/%00", "/api/v1/namespaces/default/pods/a%2Fb", "/api/v1/namespaces/%ff/pods",
    "//", "/.well-known/openid-configuration", "/openid/v1/jwks", "/api/v1/namespaces/" + "a" * 9000,
    "/apis/" + "x/" * 3000,
)  # fmt: skip


@dataclass
class Case:
    """One request. `about` is the row of the table it counts in; `valid` when nothing in it is meant to be wrong."""

    about: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    valid: bool = False
    watch: bool = False
    collection: str = ""
    """The path at which an object that was made can be found under its name."""


@dataclass(frozen=True)
class Operation:
    path: str
    method: str
    action: str
    spec: dict[str, Any]
    schemas: dict[str, Any]


class Cases:
    def __init__(self, documents: list[dict[str, Any]], seed: int) -> None:
        self.random = random.Random(seed)
        self._operations = list(_operations(documents))
        self._by_method = {
            method: [each for each in self._operations if each.method == method and "requestBody" in each.spec]
            for method in ("post", "put", "patch", "delete")
        }
        self._by_method["get"] = [each for each in self._operations if "requestBody" not in each.spec]
        self._objects: list[tuple[str, dict[str, Any]]] = []
        """(path, object) of some that were made."""
        self._tokens: list[str] = list(TOKENS)
        self._versions: list[str] = list(VERSIONS)

    # --- the next case ------------------------------------------------------------------------------------------

    def make(self) -> Case:
        kinds: dict[Callable[[], Case], int] = {
            self._create: 34, self._update: 10, self._patch: 24, self._read: 20, self._delete: 6, self._other: 6,
        }  # fmt: skip
        return self._dressed(self.random.choices([*kinds], [*kinds.values()])[0]())

    def learn(self, case: Case, status: int, body: bytes) -> None:
        if status == 404 or case.method == "DELETE":
            gone = case.path.partition("?")[0]
            self._objects = [each for each in self._objects if each[0] != gone]
        if status not in (200, 201) or case.watch or not body.startswith(b"{"):
            return
        try:
            document = json.loads(body)
        except ValueError:
            return
        metadata = document.get("metadata") or {}
        if version := metadata.get("resourceVersion"):
            self._versions = [*VERSIONS, *self._versions[len(VERSIONS) :][-50:], version]
        if token := metadata.get("continue"):
            self._tokens = [*TOKENS, *self._tokens[len(TOKENS) :][-50:], token]
        partial = document.get("apiVersion", "").startswith("meta.k8s.io")
        if case.collection and case.method == "POST" and metadata.get("uid") and not partial:
            self._objects.append((f"{case.collection}/{quote(metadata['name'])}", document))
            if len(self._objects) > 600:
                del self._objects[self.random.randrange(300)]

    def _create(self) -> Case:
        operation = self._pick("post")
        path = self._path(operation)
        valid = self._chance(0.4)
        body = self._made(operation)
        encoded, media = self._encoded(body if valid or self._chance(0.3) else self._mutated(body), valid=valid)
        case = Case("create", "POST", path, {"content-type": media}, encoded, valid)
        if "{name}" not in operation.path:
            case.collection = path
        return self._asked(case, operation)

    def _update(self) -> Case:
        if not self._objects or self._chance(0.2):
            operation = self._pick("put")
            body = self._made(operation)
            path = self._path(operation)
        else:
            path, known = self.random.choice(self._objects)
            body, operation = copy.deepcopy(known), None
            if self._chance(0.6):
                (body.get("metadata") or {}).pop("resourceVersion", None)
            path += self._below(path, "put")
        encoded, media = self._encoded(self._mutated(body), valid=self._chance(0.7))
        return self._asked(Case("update", "PUT", path, {"content-type": media}, encoded), operation)

    def _patch(self) -> Case:
        about, media = self.random.choice([*PATCHES.items()])
        if self._objects and self._chance(0.85):
            path, known = self.random.choice(self._objects)
            path += self._below(path, "patch")
            operation = self._operation_at(path, "patch")
        else:
            operation = self._pick("patch")
            path, known = self._path(operation), {}
        fresh: Any = {}
        if operation is not None:
            fresh = self._made(operation)
        body: Any
        if about == "json patch":
            if known and self._chance(0.6):
                body = [self._addition(known, fresh) for _ in range(self.random.choice((1, 1, 2)))]
            else:
                body = [self._json_operation(known or fresh, fresh) for _ in range(self.random.randrange(1, 5))]
        elif about == "apply":
            body = fresh if self._chance(0.5) else self._mutated(fresh)
            if known and isinstance(body, dict):
                body["apiVersion"], body["kind"] = known.get("apiVersion"), known.get("kind")
                body["metadata"] = {"name": (known.get("metadata") or {}).get("name")}
        else:
            body = self._part(known if self._chance(0.5) else fresh)
            body = body if self._chance(0.5) or not body else self._mutated(body)
        encoded = self._encoded(body, valid=self._chance(0.85))[0]
        case = Case(about, "PATCH", path, {"content-type": media}, encoded)
        return self._asked(case, operation, fieldManager="fuzz" if self._chance(0.9) else None)

    def _read(self) -> Case:
        if self._objects and self._chance(0.25):
            path = self.random.choice(self._objects)[0] + self.random.choice(("", "", "/status", "/scale"))
            return Case("get", "GET", path)
        operation = self._pick("get")
        case = Case("get", operation.method.upper(), self._path(operation))
        if operation.action != "list":
            return self._asked(case, operation)
        case.about = "list"
        query: dict[str, Any] = {}
        if self._chance(0.4):
            query["labelSelector"] = self.random.choice(SELECTORS)
        if self._chance(0.3):
            query["fieldSelector"] = self.random.choice(FIELDS)
        if self._chance(0.4):
            query["limit"] = self.random.choice((1, 2, 3, 0, -1, "x", 2**63, "1e3", "٣"))
        if self._chance(0.3):
            query["continue"] = self._token()
        if self._chance(0.3):
            query["resourceVersion"] = self.random.choice(self._versions)
        if self._chance(0.2):
            query["resourceVersionMatch"] = self.random.choice(("Exact", "NotOlderThan", "", "x"))
        if self._chance(0.15):
            case.about, case.watch = "watch", True
            query |= {"watch": self.random.choice(("1", "true", "True", "x")), "timeoutSeconds": 1}
            if self._chance(0.5):
                query["sendInitialEvents"] = self.random.choice(("true", "x"))
            if self._chance(0.5):
                query["allowWatchBookmarks"] = "true"
            if self._chance(0.05):
                query["timeoutSeconds"] = self.random.choice((0.5, "x", -1))
        return self._asked(case, None, **query)

    def _delete(self) -> Case:
        options = self._value(
            {"$ref": PREFIX + "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"}, self._operations[0].schemas, 0, ""
        )
        if isinstance(options, dict):
            options.pop("apiVersion", None), options.pop("kind", None)
        body = self._encoded(options if self._chance(0.6) else self._mutated(options), valid=True)[0]
        if self._objects and self._chance(0.8):
            path = self.random.choice(self._objects)[0]
        else:
            path = self._path(self._pick("delete"))
        case = Case("delete", "DELETE", path, {"content-type": "application/json"}, body if self._chance(0.5) else b"")
        query = {"gracePeriodSeconds": self.random.choice((0, 1, -1, "x", 2**64))} if self._chance(0.5) else {}
        if path.count("/") and not self._chance(0.7):
            query["labelSelector"] = self.random.choice(SELECTORS)
        return self._asked(case, None, **query)

    def _other(self) -> Case:
        method = self.random.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "PATCH", "DELETE"))
        path = self.random.choice(OTHER_PATHS)
        if method == "DELETE":
            path = "/api/v1/namespaces/none/pods/none"
        if self._chance(0.1):
            path += "?" + "".join(self.random.choice("a=&%;+é\x7f0") for _ in range(self.random.randrange(40)))
        return Case("other paths", method, quote(path, safe="/?&=%;+"))

    # --- parts of a request -------------------------------------------------------------------------------------

    def _pick(self, method: str) -> Operation:
        return self.random.choice(self._by_method[method])

    def _below(self, path: str, method: str) -> str:
        """At times a subresource of the object at a path, that is there or not."""
        below = self.random.choice(("", "", "", "/status", "/scale", "/finalize", "/approval", "/ephemeralcontainers"))
        return below if self._operation_at(path + below, method) or self._chance(0.02) else ""

    def _operation_at(self, path: str, method: str) -> Operation | None:
        steps = path.split("/")
        for each in self._by_method[method]:
            wanted = each.path.split("/")
            if len(wanted) == len(steps) and all(a == b or a[:1] == "{" for a, b in zip(wanted, steps, strict=True)):
                return each
        return None

    def _path(self, operation: Operation) -> str:
        namespace = (
            self.random.choice(("default", "default", "default", "kube-system", "fuzz"))
            if self._chance(0.97)
            else "none"
        )
        name = self.random.choice((*NAMES, "none", "A_", "a" * 254)) if self._chance(0.9) else str(self._nasty())
        known = [path for path, _ in self._objects if _within(path, operation.path)] if self._chance(0.9) else []
        if known and operation.action != "connect":
            namespace, name = _named(self.random.choice(known))
        if operation.action == "connect" or operation.path.endswith("/log"):
            name = "never-there"
        return operation.path.replace("{namespace}", namespace).replace("{name}", quote(name, safe="") or "x")

    def _asked(self, case: Case, operation: Operation | None, **query: Any) -> Case:
        """With query parameters: those named, and at times some that the operation says it has."""
        for parameter in operation.spec.get("parameters", ()) if operation else ():
            if not case.valid and self._chance(0.12) and parameter["name"] not in query:
                schema = parameter["schema"]
                value = self._value(schema, {}, 0, parameter["name"]) if self._chance(0.7) else self._nasty()
                query[parameter["name"]] = json.dumps(value) if isinstance(value, bool) else value
        pairs = [f"{quote(key)}={quote(str(value))}" for key, value in query.items() if value is not None]
        case.path += ("?" + "&".join(pairs)) if pairs else ""
        return case

    def _dressed(self, case: Case) -> Case:
        if self._chance(0.5):
            case.headers["accept"] = self.random.choice(
                ACCEPTS if self._chance(0.15) and not case.valid else GOOD_ACCEPTS
            )
        if case.valid:
            return case
        if self._chance(0.02):
            case.headers["content-type"] = self.random.choice(MEDIA)
        if self._chance(0.02):
            users = ("system:serviceaccount:default:x", "system:node:n", "", "x", "é", "system:serviceaccount::", "\t")
            case.headers["impersonate-user"] = self.random.choice(users)
            if self._chance(0.5):
                case.headers["impersonate-group"] = self.random.choice(("system:masters", "", "x"))
            if self._chance(0.3):
                case.headers["impersonate-extra-%zz%00"] = "x"
        if self._chance(0.01):
            jwt = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().strip("=")
            tokens = (
                "Bearer",
                "Bearer x",
                f"Bearer {jwt}.{jwt}.",
                f"Bearer {jwt}.e30.AA",
                "Basic eDp5",
                "Bearer é",
                "x",
            )
            case.headers["authorization"] = self.random.choice(tokens)
        if self._chance(0.01):
            case.headers[self.random.choice(("if-none-match", "audit-id", "x-forwarded-for", "range", "te"))] = "é" * 40
        return case

    def _token(self) -> str:
        token = self.random.choice(self._tokens)
        if self._chance(0.3) and len(token) > 4:
            place = self.random.randrange(len(token))
            return token[:place] + self.random.choice("Aa0_-=") + token[place + 1 :]
        return token

    def _encoded(self, body: Any, *, valid: bool) -> tuple[bytes, str]:
        encoded = json.dumps(body, ensure_ascii=self._chance(0.5)).encode("utf-8", "surrogatepass")
        if valid or self._chance(0.75):
            if self._chance(0.1):
                return yaml.dump(body, Dumper=yaml.CSafeDumper).encode("utf-8", "surrogatepass"), "application/yaml"
            return encoded, "application/json"
        place = self.random.randrange(max(1, len(encoded)))
        match self.random.randrange(8):
            case 0:
                return encoded[:place], "application/json"
            case 1:
                return encoded[:place] + bytes([self.random.randrange(256)]) + encoded[place + 1 :], "application/json"
            case 2:
                return b"k8s\x00" + self.random.randbytes(
                    self.random.randrange(80)
                ), "application/vnd.kubernetes.protobuf"
            case 3:
                return b"[" * 3000 + b"]" * 3000, "application/json"
            case 4:
                return encoded.replace(
                    b'"metadata"', b'"metadata":{"name":"\\ud800"},"metadata"', 1
                ), "application/json"
            case 5:
                return encoded.replace(
                    b"1", self.random.choice((b"1e999", b"NaN", b"9" * 400, b"-0")), 1
                ), "application/json"
            case 6:
                return b"a: &a [x]\nb: *a\n? {c: d}\n: !!python/object:os.system x", "application/yaml"
        return self.random.choice((b"", b"null", b"[]", b'"x"', b"\xff", b"{}", b"1")), "application/json"

    def _made(self, operation: Operation) -> Any:
        """A sound object with a few members more, or, at times, one from the schema alone."""
        kind = operation.spec["x-kubernetes-group-version-kind"]["kind"]
        content = operation.spec["requestBody"]["content"]
        schema = next(each["schema"] for name, each in content.items() if name in (YAML, "application/json", APPLY))
        if kind in SOUND and operation.path.count("{name}/") == 0 and self._chance(0.85):
            body = copy.deepcopy(SOUND[kind])
            for _ in range(self.random.choice((0, 1, 1, 2, 3))):
                self._grow(body, schema, operation.schemas)
        else:
            body = self._value(schema, operation.schemas, 0, "")
        self._identify(body, operation)
        return body

    def _grow(self, body: Any, schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> None:
        """Make a member that is not there, somewhere in an object."""
        schema = schema["allOf"][0] if "allOf" in schema else schema
        schema = schemas[schema["$ref"].removeprefix(PREFIX)] if "$ref" in schema else schema
        if isinstance(body, list) and body and "items" in schema:
            self._grow(body[0], schema["items"], schemas, depth + 1)
        members = schema.get("properties")
        if not isinstance(body, dict) or not members:
            return
        present = [key for key in body if key in members and isinstance(body[key], dict | list)]
        if present and self._chance(0.75):
            key = self.random.choice(present)
            self._grow(body[key], members[key], schemas, depth + 1)
        else:
            key = self.random.choice([*members])
            if key not in body:
                body[key] = self._value(members[key], schemas, depth + 1, key)

    def _identify(self, body: Any, operation: Operation) -> None:
        """Say what the object is, as a client would."""
        if not isinstance(body, dict):
            return
        kind = operation.spec["x-kubernetes-group-version-kind"]
        if "{name}" not in operation.path or operation.path.endswith("{name}"):
            group = f"{kind['group']}/" if kind["group"] else ""
            body["apiVersion"], body["kind"] = group + kind["version"], kind["kind"]
        else:
            body.pop("apiVersion", None), body.pop("kind", None)
        metadata = body["metadata"] = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
        assert isinstance(metadata, dict)
        for name in ("namespace", "resourceVersion", "uid", "generateName", "selfLink", "deletionTimestamp"):
            metadata.pop(name, None)
        metadata["name"] = f"{self.random.choice(NAMES)}-{self.random.randrange(400)}"
        if self._chance(0.1):
            metadata["generateName"] = metadata.pop("name") + "-"

    # --- values -------------------------------------------------------------------------------------------------

    def _value(self, schema: dict[str, Any], schemas: dict[str, Any], depth: int, name: str) -> Any:
        """What a schema allows, and nearly always what its member's name means."""
        if "allOf" in schema:
            schema = schema["allOf"][0]
        if "$ref" in schema:
            reference = schema["$ref"].removeprefix(PREFIX)
            if reference.endswith(".Quantity"):
                return self.random.choice(VALID_QUANTITIES)
            if reference.endswith(".IntOrString"):
                return self.random.choice((1, 80, "50%", "http"))
            schema = schemas[reference]
        match schema.get("type"):
            case "object" if "properties" in schema:
                return self._object(schema, schemas, depth)
            case "object" if isinstance(schema.get("additionalProperties"), dict):
                if name in ("labels", "matchLabels", "selector", "nodeSelector"):
                    return {"app": "fuzz"}
                inner = schema["additionalProperties"]
                keys = self.random.sample(("cpu", "memory", "a", "b.c"), self.random.randrange(3))
                return {key: self._value(inner, schemas, depth + 1, key) for key in keys}
            case "array":
                count = self.random.choice((0, 1, 1, 1, 2))
                return [self._value(schema["items"], schemas, depth + 1, name) for _ in range(count)]
            case "integer":
                return self.random.choice((0, 1, 1, 2, 3, 80, 8080, 30))
            case "number":
                return self.random.choice((0, 1.5))
            case "boolean":
                return self._chance(0.5)
            case "string":
                return self._text(schema, name)
        return {} if schema.get("type") == "object" else self.random.choice((1, "x", {}, None, [1]))

    def _object(self, schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        chance = max(0.0, 0.55 - 0.06 * depth) * min(1.0, 12 / (len(schema["properties"]) + 1))
        result = {}
        for key, inner in schema["properties"].items():
            if key in ("managedFields", "ownerReferences") and not self._chance(0.05):
                continue
            wanted = key in ("spec", "template", "data", "rules", "containers", "selector") and depth < 4
            if key in required or (depth < DEPTH and (self._chance(0.9 if wanted else chance))):
                result[key] = self._value(inner, schemas, depth + 1, key)
        return result

    def _text(self, schema: dict[str, Any], name: str) -> Any:
        if words := (schema.get("enum") or WORDS.get(name)):
            return self.random.choice(words)
        match schema.get("format"):
            case "date-time":
                return "2026-01-01T00:00:00Z"
            case "byte":
                return base64.b64encode(self.random.randbytes(4)).decode()
        return self.random.choice(NAMES)

    def _nasty(self) -> Any:
        return copy.deepcopy(self.random.choice(QUANTITIES if self._chance(0.2) else NASTY))

    def _mutated(self, body: Any) -> Any:
        """One thing in it, or a few, is something else."""
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 4))):
            places = list(_places(body))
            if not places:
                return self._nasty()
            holder, key = self.random.choice(places)
            match self.random.randrange(10):
                case 0:
                    del holder[key]
                case 1 if isinstance(holder, dict):
                    holder[str(self._nasty())] = copy.deepcopy(holder[key])
                case 2 if isinstance(holder, list):
                    holder.append(copy.deepcopy(holder[key]))
                case 3 if isinstance(holder, list):
                    holder *= 30
                case _:
                    holder[key] = self._nasty()
        return body

    def _part(self, body: Any) -> Any:
        """Some members of an object."""
        if not isinstance(body, dict):
            return body
        if known_metadata := body.get("metadata"):  # what is written once is not patched
            body = {
                **body,
                "metadata": {
                    each: known_metadata[each] for each in ("labels", "annotations") if each in known_metadata
                },
            }
        members = [key for key in body if key not in ("status", "apiVersion", "kind") and self._chance(0.6)]
        return copy.deepcopy({key: body[key] for key in members})

    def _addition(self, known: Any, fresh: Any) -> dict[str, Any]:
        """A member of a new object, put where the present one has room for it."""
        path = "/" + self.random.choice(
            [key for key in fresh if key not in ("apiVersion", "kind", "metadata")] or ["x"]
        )
        value = fresh.get(path[1:], {})
        known = known.get(path[1:])
        while isinstance(known, dict) and isinstance(value, dict) and value and self._chance(0.9):
            key = self.random.choice([*value])
            path, value, known = f"{path}/{key.replace('~', '~0').replace('/', '~1')}", value[key], known.get(key)
        return {"op": "add", "path": path, "value": value}

    def _json_operation(self, known: Any, fresh: Any) -> dict[str, Any]:
        def pointer() -> str:
            steps: list[str] = []
            value = self.random.choice((known, fresh))
            while isinstance(value, dict | list) and value and not (steps and self._chance(0.25)):
                key = self.random.choice([*value] if isinstance(value, dict) else range(len(value)))
                steps.append(str(key).replace("~", "~0").replace("/", "~1"))
                value = value[key]
            if self._chance(0.15):
                steps.append(self.random.choice(("-", "0", "x", "~2", "", "01", "-1", "9" * 30)))
            return "".join(f"/{step}" for step in steps)

        name = self.random.choice(("add", "remove", "replace", "move", "copy", "test", "add", "replace"))
        result: dict[str, Any] = {"op": name, "path": pointer()}
        if name in ("move", "copy"):
            result["from"] = pointer()
        elif name != "remove":
            result["value"] = self._nasty() if self._chance(0.5) else self._part(fresh)
        if self._chance(0.05):
            result[self.random.choice([*result])] = self._nasty()
        return result

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of every member, at any depth."""
    for key in [*value] if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _within(path: str, operation: str) -> bool:
    """Whether an object can be what an operation is about."""
    wanted, steps = operation.partition("/{name}")[0].split("/"), path.split("/")[:-1]
    return len(wanted) == len(steps) and all(a in (b, "{namespace}") for a, b in zip(wanted, steps, strict=True))


def _named(path: str) -> tuple[str, str]:
    steps = path.split("/")
    return (steps[-3] if "namespaces" in steps[:-2] else "default"), unquote(steps[-1])


def _operations(documents: list[dict[str, Any]]) -> Iterator[Operation]:
    for document in documents:
        schemas = document["components"]["schemas"]
        for path, members in document["paths"].items():
            for method, operation in members.items():
                if method != "parameters":
                    yield Operation(path, method, operation["x-kubernetes-action"], operation, schemas)
