"""The recorded history: what is kept, by whom it was written, and that it does not grow without end."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

from workshop.history.recorder import Kind, Recorder, revision
from workshop.history.store import History, Revision, Store

PODS = Kind("pods", "Pod", "/api/v1/pods")


class NoServer:
    pass


def an_object(version: int, *, managers: Any = (), **more: Any) -> dict[str, Any]:
    fields = [{"manager": name, "subresource": sub, "time": time} for name, sub, time in managers]
    meta = {"name": "web", "namespace": "default", "uid": "u1", "resourceVersion": str(version)}
    return {"metadata": {**meta, "managedFields": fields}, **more}


def recorded(recorder: Recorder) -> list[Revision]:
    found = []
    while not recorder._changes.empty():
        try:
            found.append(recorder._changes.get_nowait())
        except queue.Empty:
            break
    return found


def test_a_revision_is_kept_with_its_writer_and_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "h")
    recorder = Recorder(NoServer(), store)  # type: ignore[arg-type]
    recorder._note("ADDED", PODS, an_object(1, managers=[("kubectl", "", "10")]))
    recorder._note("MODIFIED", PODS, an_object(2, managers=[("kubectl", "", "10"), ("kubelet", "status", "10")]))
    recorder._note("MODIFIED", PODS, an_object(3, managers=[("kubectl", "", "12"), ("kubelet", "status", "10")]))
    recorder._note("DELETED", PODS, an_object(4, managers=[("kubectl", "", "12"), ("kubelet", "status", "10")]))
    store.add(recorded(recorder))
    found = list(History(tmp_path / "h").revisions("kind = ? AND namespace = ?", "Pod", "default"))
    assert [(each.verb, each.version, each.writer) for each in found] == [
        ("ADDED", "1", "kubectl"),
        ("MODIFIED", "2", "kubelet"),
        ("MODIFIED", "3", "kubectl"),
        ("DELETED", "4", ""),
    ]
    assert "managedFields" not in found[0].object["metadata"]


def test_after_a_pause_only_what_differs_is_recorded(tmp_path: Path) -> None:
    store = Store(tmp_path / "h")
    for uid in ("same", "changed", "gone"):
        obj = {"metadata": {"name": uid, "namespace": "ns", "uid": uid, "resourceVersion": "1"}}
        store.add([revision("ADDED", "Pod", obj, "")])
    store.close()
    store = Store(tmp_path / "h")
    recorder = Recorder(NoServer(), store)  # type: ignore[arg-type]
    items = [
        {"metadata": {"name": uid, "namespace": "ns", "uid": uid, "resourceVersion": version}}
        for uid, version in (("same", "1"), ("changed", "2"), ("new", "3"))
    ]
    recorder._get = lambda path, params=None: {"metadata": {"resourceVersion": "9"}, "items": items}  # type: ignore[method-assign]
    assert recorder._list(PODS) == "9"
    assert [(each.verb, each.name, each.namespace) for each in recorded(recorder)] == [
        ("MODIFIED", "changed", "ns"),
        ("LISTED", "new", "ns"),
        ("DELETED", "gone", "ns"),
    ]


def test_what_is_secret_is_not_kept() -> None:
    obj = an_object(1, data={"password": "aHVudGVyMg=="})
    assert revision("ADDED", "Secret", obj, "").object["data"] == {"password": ""}
    assert obj["data"] == {"password": "aHVudGVyMg=="}


def test_the_oldest_goes_when_the_file_is_full(tmp_path: Path) -> None:
    path, limit = tmp_path / "h", 1_000_000
    store = Store(path, limit=limit)
    noise = {"spec": [f"{number * 7919 % 65521:x}" for number in range(2000)]}
    for number in range(400):
        store.add([revision("MODIFIED", "Pod", {**an_object(number), **noise}, "")])
    kept = [int(each.version) for each in History(path).revisions()]
    assert kept[-1] == 399 and kept[0] > 0 and kept == sorted(kept)
    store.close()
    assert path.stat().st_size < 1.5 * limit


def test_kinds_that_come_later_are_followed_and_those_of_one_name_told_apart(tmp_path: Path, monkeypatch: Any) -> None:
    recorder = Recorder(NoServer(), Store(tmp_path / "h"))  # type: ignore[arg-type]
    monkeypatch.setattr(recorder, "_follow", lambda kind: None)
    groups: list[dict[str, Any]] = []
    resources = [{"name": "pods", "kind": "Pod", "verbs": ["list", "watch"]}, {"name": "pods/log", "verbs": ["get"]}]
    answers = {"/apis": {"groups": groups}, "/api/v1": {"resources": resources}}
    answers["/apis/own.example/v1"] = {"resources": [{"name": "pods", "kind": "Pod", "verbs": ["watch"]}]}
    monkeypatch.setattr(recorder, "_get", lambda path, params=None: answers[path])
    assert recorder._start_new()
    groups.append({"preferredVersion": {"groupVersion": "own.example/v1"}})
    assert recorder._start_new()
    assert recorder._followed == {"/api/v1/pods": "Pod", "/apis/own.example/v1/pods": "Pod.own.example"}
