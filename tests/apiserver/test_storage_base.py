"""Keys and stamps."""

from __future__ import annotations

import json

import pytest

from apiserver.storage.base import resource_key, restamp, split_key, stamp


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("pods", "default", "web"), "/pods/default/web"),
        (("nodes", "", "n1"), "/nodes/n1"),
        (("deployments.apps", "a-b", "x.y"), "/deployments.apps/a-b/x.y"),
    ],
)
def test_keys_split_into_what_they_were_made_of(parts: tuple[str, str, str], key: str) -> None:
    assert resource_key(*parts) == key
    assert split_key(key) == parts


@pytest.mark.parametrize("value", [b'{"metadata":{}}', b'{"kind":"Pod","metadata":{"name":"a"},"spec":{}}'])
def test_a_stamp_is_the_first_member_of_metadata(value: bytes) -> None:
    stamped = stamp(value, 17)
    plain = json.loads(value)
    assert json.loads(stamped) == {**plain, "metadata": {"resourceVersion": "17", **plain["metadata"]}}
    assert restamp(stamped, 12345) == stamp(value, 12345)


def test_only_objects_can_be_stamped() -> None:
    with pytest.raises(ValueError, match="metadata"):
        stamp(b'{"kind":"Pod"}', 1)


def test_the_stamp_goes_to_the_objects_own_metadata() -> None:
    value = b'{"kind":"Deployment","metadata":{"name":"a"},"spec":{"template":{"metadata":{"name":"b"}}}}'
    assert json.loads(stamp(value, 3))["spec"]["template"]["metadata"] == {"name": "b"}
