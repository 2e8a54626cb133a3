from __future__ import annotations

from typing import Any

import pytest

from cli.describe import generic_lines
from cli.describe_node import amount_text, pod_amounts
from cli.describe_pod import pod_lines, probe_text
from cli.layout import event_age, events, tabulate


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["a:\tb", "long:\tc"], "a:     b\nlong:  c\n"),
        (["a:\tb", "no tab", "long:\tc"], "a:  b\nno tab\nlong:  c\n"),
        (["a\tb\tc", "aaa\tb", "a\tbbb\tc"], "a    b  c\naaa  b\na    bbb  c\n"),
        (["A:\tx", "\ty"], "A:  x\n    y\n"),
        (["a:\tb\nc"], "a:  b\nc\n"),
        ([], ""),
    ],
)
def test_columns_reach_as_far_as_lines_have_them(lines: list[str], text: str) -> None:
    assert tabulate(lines) == text


def pending(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Pending", **status},
    }


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 full."}
                ]
            },
            "Waiting For:\t0/3 nodes are available: 3 full.",
        ),
        (
            {
                "conditions": [{"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [
                    {"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "no i"}}}
                ],
            },
            "Waiting For:\tcontainer c: no i",
        ),
    ],
)
def test_a_pending_pod_explains_itself(status: dict[str, Any], line: str) -> None:
    assert line in pod_lines(pending(**status))


def test_a_bare_pod_can_be_described() -> None:
    text = tabulate([*pod_lines(pending()), *events([])])
    assert "Node:         <none>\n" in text
    assert text.endswith("Events:           <none>\n")


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        (
            {"httpGet": {"path": "/x", "port": 80}},
            "http-get http://:80/x delay=0s timeout=1s period=10s #success=1 #failure=3",
        ),
        (
            {"exec": {"command": ["cat", "/x"]}, "periodSeconds": 2},
            "exec [cat /x] delay=0s timeout=1s period=2s #success=1 #failure=3",
        ),
        ({"tcpSocket": {"port": "http"}}, "tcp-socket :http delay=0s timeout=1s period=10s #success=1 #failure=3"),
    ],
)
def test_probes(probe: dict[str, Any], text: str) -> None:
    assert probe_text(probe) == text


def test_events_are_in_order_of_time() -> None:
    def event(reason: str, last: str, **more: Any) -> dict[str, Any]:
        return {
            "metadata": {},
            "type": "Normal",
            "reason": reason,
            "message": "m\n",
            "firstTimestamp": "2020-01-01T00:00:00Z",
            "lastTimestamp": last,
            "source": {"component": "kubelet"},
            **more,
        }

    lines = events([event("Second", "2020-01-01T00:00:02Z"), event("First", "2020-01-01T00:00:01Z")])
    assert [line.split("\t")[1] for line in lines[3:]] == ["First", "Second"]
    assert lines[3].endswith("\tkubelet\tm")
    assert "(x3 over " in event_age(event("Often", "2020-01-01T00:00:01Z", count=3))
    assert "(x5 over " in event_age(event("New", "", series={"count": 5, "lastObservedTime": "2020-01-01T00:00:01.5Z"}))


def test_any_kind_can_be_described() -> None:
    obj = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "uid": "u", "managedFields": [{}]},
        "spec": {"on": True, "list": ["a", {"b": None}], "empty": {}},
        "size": 3,
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Why", "message": "because"}]},
    }
    assert tabulate(generic_lines(obj)) == (
        "Name:               t\n"
        "Labels:             <none>\n"
        "Annotations:        <none>\n"
        "CreationTimestamp:  <unset>\n"
        "API Version:        example.com/v1\n"
        "Kind:               Thing\n"
        "Metadata:\n"
        "  uid: u\n"
        "Spec:\n"
        "  empty: {}\n"
        "  list:\n"
        "  - a\n"
        "  - b: null\n"
        '  "on": true\n'
        "Size:  3\n"
        "Conditions:\n"
        "  Type   Status  Reason  Message\n"
        "  ----   ------  ------  -------\n"
        "  Ready  False   Why     because\n"
    )


def test_a_secret_stays_one() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}}
    text = tabulate(generic_lines(secret))
    assert "password: 7 bytes" in text and "aHVudGVyMg" not in text


def test_a_pod_asks_for_the_sum_of_its_containers() -> None:
    def container(cpu: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}}

    pod = {"spec": {"containers": [container("250m"), container("0.5"), {}], "initContainers": [container("1")]}}
    assert amount_text(pod_amounts(pod, "requests")["cpu"], "cpu") == "1"
    assert pod_amounts(pod, "limits") == {}
