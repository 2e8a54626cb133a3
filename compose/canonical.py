"""Every short form of a Compose file in its long form, with paths made absolute: what files are then merged in. Pure.

    document(doc, folder)    a new Map; `folder` is what relative paths start from
Values that may be written as text and as a number are text: `environment: {PORT: 80}` is {"PORT": "80"}.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from compose.document import NOWHERE, Map, Mark, Tagged
from compose.errors import ComposeError

BINDS = re.compile(r"[./~]|[a-zA-Z]:\\")
"""How the source of a bind begins; anything else is the name of a volume."""
URLS = re.compile(r"[a-z][a-z0-9+.-]*://|git@|github\.com/")


@dataclass(frozen=True)
class Context:
    """Where a value stands: its folder for paths, its line for complaints."""

    folder: str
    mark: Mark = NOWHERE

    def path(self, text: str) -> str:
        return posixpath.normpath(posixpath.join(self.folder, os.path.expanduser(text)))

    def wrong(self, text: str) -> ComposeError:
        return ComposeError(f"{self.mark}: {text}" if self.mark.file else text)


Form = Callable[[Any, Context], Any]


def document(doc: Map, folder: str) -> Map:
    result = Map(doc, marks=doc.marks)
    for section, forms in SECTIONS.items():
        if isinstance(found := result.get(section), Map):
            named = {name: _each(value, forms, Context(folder, found.mark(name))) for name, value in found.items()}
            result[section] = Map(named, marks=found.marks)
    return result


def _each(value: Any, forms: dict[str, Form], context: Context) -> Any:
    if isinstance(value, Tagged):
        return Tagged(value.tag, _each(value.value, forms, context))
    return _apply(value or Map(), forms, context) if isinstance(value, Map | None) else value


def _apply(value: Map, forms: dict[str, Form], context: Context) -> Map:
    """The mapping with the long form of each key that has one."""
    result = Map(marks=value.marks)
    for key, each in value.items():
        inner = Context(context.folder, value.mark(key, context.mark))
        result[key] = _formed(each, forms[key], inner) if key in forms else each
    return result


def _formed(value: Any, form: Form, context: Context) -> Any:
    if isinstance(value, Tagged):
        return value if value.tag == "!reset" else Tagged(value.tag, form(value.value, context))
    return None if value is None else form(value, context)


def nested(forms: dict[str, Form]) -> Form:
    return lambda value, context: _apply(value, forms, context)


# Text and lists


def text(value: Any, context: Context = Context("")) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return "" if value is None else str(value)


def texts(value: Any, context: Context) -> list[str]:
    return [text(each) for each in (value if isinstance(value, list) else [value])]


def words(value: Any, context: Context) -> list[str]:
    if isinstance(value, list):
        return texts(value, context)
    try:
        return shlex.split(str(value))
    except ValueError as error:
        raise context.wrong(f"{value!r}: {error}") from None


def pairs(value: Any, context: Context) -> Map:
    """NAME=value or a mapping. A name alone, in a list, has no value: None."""
    if isinstance(value, list):
        split = [text(each).partition("=") for each in value]
        listed = {name: rest if equals else None for name, equals, rest in split}
        return Map(listed, marks=dict.fromkeys(listed, context.mark))
    found: dict[str, Any] = {k: v if v is None or isinstance(v, Tagged) else text(v) for k, v in value.items()}
    return Map(found, marks=value.marks)


def labels(value: Any, context: Context) -> Map:
    found = pairs(value, context)
    return Map({key: "" if each is None else each for key, each in found.items()}, marks=found.marks)


def hosts(value: Any, context: Context) -> Map:
    """Name -> addresses; `name:address` and `name=address` in a list."""
    if isinstance(value, Map):
        return Map({name: texts(each, context) for name, each in value.items()}, marks=value.marks)
    result = Map()
    for each in value:
        name, address = re.split("[=:]", text(each), maxsplit=1) if re.search("[=:]", text(each)) else (text(each), "")
        result.setdefault(name, []).append(address.strip("[]"))
        result.marks[name] = context.mark
    return result


def number(value: Any, context: Context) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise context.wrong(f"{value!r} is no whole number") from None


def decimal(value: Any, context: Context) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise context.wrong(f"{value!r} is no number") from None


def boolean(value: Any, context: Context) -> bool:
    known = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}
    known |= {"y": True, "n": False}
    if text(value).lower() not in known:
        raise context.wrong(f"{value!r} is neither true nor false")
    return known[text(value).lower()]


def path(value: Any, context: Context) -> str:
    return context.path(text(value))


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([bkmgtp]?)i?b?\Z", re.IGNORECASE)


def size(value: Any, context: Context) -> int:
    """Bytes: `64m`, `1.5gb`; units are powers of 1024."""
    match = _SIZE.match(text(value).strip())
    if not match:
        raise context.wrong(f"invalid size: {value!r}")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower().replace("b", "") or " "))


_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|µs|ms|s|m|h|d|w)")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(value: Any, context: Context) -> float:
    """`1m30s`."""
    parts = _SPAN.findall(text(value))
    if not parts or "".join("".join(each) for each in parts) != text(value):
        raise context.wrong(f"invalid duration: {value!r}")
    return sum(float(amount) * _SECONDS[unit] for amount, unit in parts)


# Ports, volumes and what else has a language of its own


def ports(value: Any, context: Context) -> list[Map]:
    return [
        port for each in value for port in (_port(each, context) if isinstance(each, Map) else _ports(each, context))
    ]


def _port(value: Map, context: Context) -> list[Map]:
    defaults = {"mode": "ingress", "protocol": "tcp"}
    forms: dict[str, Form] = {"target": number, "published": text, "protocol": text}
    result = _apply(value, forms, context)
    if not result.get("published"):
        result.pop("published", None)
    return [Map({**defaults, **result}, marks=value.marks)]


_PORT = re.compile(
    r"(?:(?P<ip>\[[^]]*\]|[^:]*):)??(?:(?P<published>[0-9-]*):)?(?P<target>[0-9-]+)(?:/(?P<protocol>\w+))?\Z"
)


def _ports(value: Any, context: Context) -> Iterator[Map]:
    match = _PORT.match(text(value))
    if not match:
        raise context.wrong(f"invalid port: {value!r}")
    targets = _range(match["target"], context)
    published = _range(match["published"], context) if match["published"] else []
    if len(published) != len(targets) and published and len(targets) > 1:
        raise context.wrong(f"invalid port: {value!r}: the ranges have different lengths")
    for index, target in enumerate(targets):
        port = Map({"mode": "ingress", "target": target, "protocol": match["protocol"] or "tcp"})
        if match["ip"]:
            port["host_ip"] = match["ip"].strip("[]")
        if published:
            port["published"] = match["published"] if len(targets) == 1 else str(published[index])
        yield port


def _range(value: str, context: Context) -> list[int]:
    first, _, last = value.partition("-")
    start = number(first, context)
    end = number(last or first, context)
    if not 0 < start <= end < 65536:
        raise context.wrong(f"invalid port: {value!r}")
    return list(range(start, end + 1))


def volumes(value: Any, context: Context) -> list[Map]:
    return [_volume(each if isinstance(each, Map) else _short_volume(text(each), context), context) for each in value]


def _short_volume(value: str, context: Context) -> Map:
    parts = value.split(":")
    if len(parts) == 1:
        return Map({"type": "volume", "target": value})
    source, target, options = parts[0], parts[1], parts[2].split(",") if len(parts) > 2 else []
    kind = "bind" if BINDS.match(source) else "volume"
    result = Map({"type": kind, "source": source, "target": target})
    if "ro" in options:
        result["read_only"] = True
    inner = Map({"nocopy": True}) if "nocopy" in options else Map()
    for each in options if kind == "bind" else ():
        if each in ("z", "Z"):
            inner["selinux"] = each
        elif re.fullmatch("r?(private|shared|slave)", each):
            inner["propagation"] = each
    if inner:
        result[kind] = inner
    return result


def _volume(value: Map, context: Context) -> Map:
    result = Map(value, marks=value.marks)
    if "read_only" in result:
        result["read_only"] = boolean(result["read_only"], context)
    if result.get("type") == "bind" and result.get("source"):
        result["source"] = context.path(result["source"])
    if isinstance(tmpfs := result.get("tmpfs"), Map):
        result["tmpfs"] = _apply(tmpfs, {"size": size, "mode": number}, context)
    result["target"] = posixpath.normpath(text(result.get("target")))
    return result


def devices(value: Any, context: Context) -> list[Map]:
    result = []
    for each in value:
        if isinstance(each, Map):
            result.append(each)
            continue
        source, target, permissions = (*text(each).split(":"), "", "")[:3]
        result.append(Map({"source": source, "target": target or source, "permissions": permissions or "rwm"}))
    return result


def files(default: str) -> Form:
    """The secrets or configs of a service; `default` is the folder of those with a relative target."""

    def form(value: Any, context: Context) -> list[Map]:
        result = []
        for each in value:
            file = each if isinstance(each, Map) else Map({"source": text(each)})
            target = text(file.get("target")) or (text(file["source"]) if default else "")
            if target:
                file = Map({**file, "target": posixpath.join(default, target)}, marks=file.marks)
            if isinstance(file.get("mode"), int):
                file = Map({**file, "mode": f"{file['mode']:04o}"}, marks=file.marks)
            result.append(file)
        return result

    return form


def env_files(value: Any, context: Context) -> list[Map]:
    given = value if isinstance(value, list) else [value]
    found = [each if isinstance(each, Map) else Map({"path": text(each)}) for each in given]
    return [Map({**each, "path": context.path(text(each["path"]))}, marks=each.marks) for each in found]


def named(default: Callable[[], Any]) -> Form:
    """A list of names as a mapping of them."""

    def form(value: Any, context: Context) -> Map:
        if isinstance(value, Map):
            return value
        return Map({text(each): default() for each in value}, marks={text(each): context.mark for each in value})

    return form


def depends_on(value: Any, context: Context) -> Map:
    found = named(Map)(value, context)
    defaults = {"condition": "service_started", "required": True}
    each = {name: Map({**defaults, **(how or {})}, marks=getattr(how, "marks", {})) for name, how in found.items()}
    for how in each.values():
        how.update({key: boolean(how[key], context) for key in ("required", "restart") if key in how})
    return Map(each, marks=found.marks)


def build(value: Any, context: Context) -> Map:
    given = value if isinstance(value, Map) else Map({"context": value}, marks={"context": context.mark})
    result = _apply(given, BUILD, context)
    result.setdefault("context", context.path("."))
    if "dockerfile_inline" not in result:
        result.setdefault("dockerfile", "Dockerfile")
    return result


def places(value: Any, context: Context) -> Map:
    return Map({k: _place(v, context) for k, v in pairs(value, context).items()}, marks=getattr(value, "marks", {}))


def _place(value: Any, context: Context) -> str:
    return text(value) if URLS.match(text(value)) else context.path(text(value))


def health_test(value: Any, context: Context) -> list[str]:
    return texts(value, context) if isinstance(value, list) else ["CMD-SHELL", text(value)]


def ulimits(value: Any, context: Context) -> Map:
    limits = {name: each if isinstance(each, Map) else number(each, context) for name, each in value.items()}
    return Map(limits, marks=value.marks)


def extends(value: Any, context: Context) -> Map:
    given = value if isinstance(value, Map) else Map({"service": value})
    return Map({**given, "file": context.path(given["file"])}) if given.get("file") else Map(given)


def hooks(value: Any, context: Context) -> list[Map]:
    return [_apply(each, {"command": words, "environment": pairs}, context) for each in value]


BUILD: dict[str, Form] = {
    "context": _place,
    "additional_contexts": places,
    "args": pairs,
    "labels": labels,
    **dict.fromkeys(("tags", "cache_from", "cache_to", "platforms", "entitlements"), texts),
    "extra_hosts": hosts,
    "shm_size": size,
    "ulimits": ulimits,
    **dict.fromkeys(("no_cache", "privileged", "pull"), boolean),
}
_AMOUNTS: dict[str, Form] = {"cpus": decimal, "memory": size, "pids": number}
_UPDATE: dict[str, Form] = {"parallelism": number, "delay": seconds, "monitor": seconds, "max_failure_ratio": decimal}
_DEPLOY: dict[str, Form] = {
    "labels": labels,
    "replicas": number,
    "resources": nested({"limits": nested(_AMOUNTS), "reservations": nested(_AMOUNTS)}),
    "update_config": nested(_UPDATE),
    "rollback_config": nested(_UPDATE),
    "restart_policy": nested({"delay": seconds, "window": seconds, "max_attempts": number}),
    "placement": nested({"max_replicas_per_node": number}),
}
_HEALTH: dict[str, Form] = {
    "test": health_test,
    "retries": number,
    "disable": boolean,
    **dict.fromkeys(("interval", "timeout", "start_period", "start_interval"), seconds),
}
SERVICE: dict[str, Form] = {
    **dict.fromkeys(("annotations", "labels"), labels),
    **dict.fromkeys(("environment", "sysctls"), pairs),
    **dict.fromkeys(("command", "entrypoint"), words),
    **dict.fromkeys(("dns", "dns_search", "dns_opt", "tmpfs", "profiles", "expose", "group_add", "links"), texts),
    **dict.fromkeys(("cap_add", "cap_drop", "external_links", "volumes_from", "security_opt"), texts),
    **dict.fromkeys(("mem_limit", "mem_reservation", "memswap_limit", "shm_size"), size),
    **dict.fromkeys(("init", "tty", "stdin_open", "privileged", "read_only"), boolean),
    **dict.fromkeys(("post_start", "pre_stop", "pre_start"), hooks),
    **dict.fromkeys(("user", "hostname", "working_dir", "image", "restart", "container_name"), text),
    "label_file": lambda value, context: [context.path(each) for each in texts(value, context)],
    "env_file": env_files,
    "extra_hosts": hosts,
    "cpus": decimal,
    "scale": number,
    **dict.fromkeys(("pids_limit", "mem_swappiness"), number),
    "stop_grace_period": seconds,
    "networks": named(lambda: None),
    "depends_on": depends_on,
    "build": build,
    "ports": ports,
    "volumes": volumes,
    "devices": devices,
    "configs": files(""),
    "secrets": files("/run/secrets"),
    "healthcheck": nested(_HEALTH),
    "deploy": nested(_DEPLOY),
    "ulimits": ulimits,
    "extends": extends,
}


def schedules(value: Any, context: Context) -> list[Map]:
    return [each if isinstance(each, Map) else Map({"cron": text(each)}) for each in value]


SERVICE["triggers"] = nested({"schedule": schedules, "manual": boolean})
_STORED: dict[str, Form] = {"file": path, "labels": labels, "name": text}
SECTIONS: dict[str, dict[str, Form]] = {
    "services": SERVICE,
    "jobs": SERVICE,
    "volumes": {"labels": labels, "driver_opts": labels},
    "networks": {"labels": labels, "driver_opts": labels, "internal": boolean},
    "secrets": _STORED,
    "configs": _STORED,
}
