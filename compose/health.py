"""healthcheck -> startup and readiness probes, and depends_on's conditions as init containers. Pure."""

from __future__ import annotations

import math

from compose.names import Object
from compose.report import Keys

INTERVAL = TIMEOUT = 30.0
START_INTERVAL = 5.0
RETRIES = 3
"""What Compose takes where a healthcheck says nothing."""


def probes(service: Keys) -> Object:
    """The probes of a container. One that is not healthy gets no requests and is not restarted, as under Compose."""
    check = service.sub("healthcheck")
    test = check.get("test", [])
    command = _command(test)
    if check.get("disable", False) or not command:
        for key in check.data:
            check.get(key)
        if test[:1] != ["NONE"] and check.data and not check.get("disable", False):
            check.approximate("", "the image's own HEALTHCHECK is not known here: write its test")
        return {}
    interval, timeout = check.get("interval", INTERVAL), check.get("timeout", TIMEOUT)
    retries = check.get("retries", RETRIES)
    readiness = {"exec": {"command": command}, "periodSeconds": _whole(interval), "timeoutSeconds": _whole(timeout)}
    readiness |= {"failureThreshold": max(1, retries)}
    found: Object = {"readinessProbe": readiness}
    start = check.get("start_period", 0.0)
    every = check.get("start_interval", min(START_INTERVAL, interval))
    # The first readiness probe comes at once and the next an interval later: a startup probe looks more often.
    if start or interval > every:
        tries = math.ceil(max(start, interval * retries) / _whole(every)) + retries
        startup = {"exec": {"command": command}, "periodSeconds": _whole(every), "timeoutSeconds": _whole(timeout)}
        found = {"startupProbe": {**startup, "failureThreshold": tries}} | found
        if "start_period" in check:
            check.approximate("start_period", f"a container not healthy within {tries * _whole(every)} s is restarted")
    for key in ("interval", "timeout", "start_interval"):
        if check.data.get(key) and check.data[key] != _whole(check.data[key]):
            check.approximate(key, "probes count in whole seconds")
    return found


def _command(test: list[str]) -> list[str]:
    if not test or test[0] == "NONE":
        return []
    return ["/bin/sh", "-c", " ".join(test[1:])] if test[0] == "CMD-SHELL" else test[1:] if test[0] == "CMD" else test


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))


WAIT_IMAGE = "busybox:1.37"


def waiting_for(name: str, port: int | None) -> Object:
    """An init container that ends when a Service has an endpoint: one that is ready."""
    # Not every busybox has `nc -z`, and its nslookup does not search a pod's domains. The name of a service without
    # ports is there when one of its pods is ready, whatever answers at any port.
    wrong = "^nc: " if port else "bad address"
    attempt = f"timeout 2 nc -w 1 {name} {port or 1} < /dev/null 2>&1"
    command = f"while {attempt} | grep -q '{wrong}'; do sleep 1; done"
    return {"name": f"wait-for-{name}"[:63].rstrip("-"), "image": WAIT_IMAGE, "command": ["sh", "-c", command]}
