"""Short forms and their long ones, and what YAML is made of."""

from __future__ import annotations

from typing import Any

import pytest

from compose.canonical import Context, devices, hosts, ports, seconds, size, volumes
from compose.document import Map, read
from compose.errors import ComposeError

HERE = Context("/shop")


@pytest.mark.parametrize(
    ("port", "found"),
    [
        ("80", [{"target": 80}]),
        (80, [{"target": 80}]),
        ("8080:80", [{"target": 80, "published": "8080"}]),
        ("8080:80/udp", [{"target": 80, "published": "8080", "protocol": "udp"}]),
        ("127.0.0.1:8080:80", [{"target": 80, "published": "8080", "host_ip": "127.0.0.1"}]),
        ("127.0.0.1::80", [{"target": 80, "host_ip": "127.0.0.1"}]),
        ("[::1]:8080:80", [{"target": 80, "published": "8080", "host_ip": "::1"}]),
        ("8080-8090:80", [{"target": 80, "published": "8080-8090"}]),
        ("90-91:80-81", [{"target": 80, "published": "90"}, {"target": 81, "published": "91"}]),
        ("80-81", [{"target": 80}, {"target": 81}]),
    ],
)
def test_ports(port: Any, found: list[dict[str, Any]]) -> None:
    defaults = {"mode": "ingress", "protocol": "tcp"}
    assert ports([port], HERE) == [{**defaults, **each} for each in found]


@pytest.mark.parametrize("port", ["web", "80:", "1-3:1-2", "70000", "9-8", "1:2:3:4"])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(ComposeError):
        ports([port], HERE)


@pytest.mark.parametrize(
    ("volume", "found"),
    [
        ("/data", {"type": "volume", "target": "/data"}),
        ("data:/data/", {"type": "volume", "source": "data", "target": "/data"}),
        ("./conf:/etc/conf:ro", {"type": "bind", "source": "/shop/conf", "target": "/etc/conf", "read_only": True}),
        ("../up:/up", {"type": "bind", "source": "/up", "target": "/up"}),
        ("data:/d:nocopy", {"type": "volume", "source": "data", "target": "/d", "volume": {"nocopy": True}}),
        (
            "/a:/a:rslave,z",
            {"type": "bind", "source": "/a", "target": "/a", "bind": {"selinux": "z", "propagation": "rslave"}},
        ),
    ],
)
def test_volumes(volume: str, found: dict[str, Any]) -> None:
    assert volumes([volume], HERE) == [found]


def test_amounts() -> None:
    assert [size(each, HERE) for each in ("64m", "1.5gb", "10", 10, "2k", "1Gb")] == [
        64 << 20,
        3 << 29,
        10,
        10,
        2048,
        1 << 30,
    ]
    assert [seconds(each, HERE) for each in ("1m30s", "1.5s", "500ms", "2h")] == [90, 1.5, 0.5, 7200]
    with pytest.raises(ComposeError):
        seconds("90", HERE)
    with pytest.raises(ComposeError):
        size("much", HERE)
    assert hosts(["a:1.2.3.4", "a=[::1]", "b=5.6.7.8"], HERE) == {"a": ["1.2.3.4", "::1"], "b": ["5.6.7.8"]}
    assert devices(["/dev/fuse"], HERE) == [{"source": "/dev/fuse", "target": "/dev/fuse", "permissions": "rwm"}]


def test_scalars_are_read_as_compose_reads_them() -> None:
    (found,) = read("a: yes\nb: 22:22\nc: 0440\nd: true\ne: 1e3\nf: 2024-01-01\ng: ~\nh: 0o17\ni: !reset\n", "x")
    assert [found[each] for each in "abcdefgh"] == ["yes", "22:22", 288, True, 1000.0, "2024-01-01", None, 15]
    assert found["i"].tag == "!reset" and found.mark("c") == ("x", 3)


def test_anchors_keep_the_lines_they_were_written_on() -> None:
    (found,) = read("x-a: &a\n  one: 1\nb:\n  <<: [*a]\n  two: 2\n", "f.yaml")
    assert found["b"] == {"one": 1, "two": 2}
    assert isinstance(found["b"], Map) and str(found["b"].mark("one")) == "f.yaml:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", 'f:1: mapping key "a" already defined'),
        ("a: [", "f:2: did not find"),
        ("- a", "f: top-level object must be a mapping"),
        ("a: !unknown x", "f:1"),
        ("a: {[1]: 2}", "f:1: a key must be a plain word"),
        ("a: *b", "f:1"),
    ],
)
def test_what_is_no_compose_file(text: str, message: str) -> None:
    with pytest.raises(ComposeError) as error:
        list(read(text, "f"))
    assert message in str(error.value)
