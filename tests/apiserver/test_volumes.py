"""PersistentVolumes, claims, classes, attachments: defaults, rules, columns."""

from __future__ import annotations

import pytest

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
TABLE = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def storage_class(name: str, *, default: bool = False, **fields: object) -> dict[str, object]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.com/disk", **fields}


def claim(name: str = "data", *, size: str = "1Gi", **spec: object) -> dict[str, object]:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"metadata": {"name": name}, "spec": wanted}


def volume(name: str = "pv", **spec: object) -> dict[str, object]:
    wanted = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"}, **spec}
    return {"metadata": {"name": name}, "spec": wanted}


async def test_a_claim_without_a_class_gets_the_default_one(api):
    assert "storageClassName" not in (await api.post(CLAIMS, claim("before"))).json["spec"]
    await api.post(CLASSES, storage_class("plain"))
    await api.post(CLASSES, storage_class("usual", default=True))
    await api.backend.cache.fresh()
    made = (await api.post(CLAIMS, claim())).json
    assert made["spec"]["storageClassName"] == "usual" and made["status"] == {"phase": "Pending"}
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert (await api.post(CLAIMS, claim("none", storageClassName=""))).json["spec"]["storageClassName"] == ""


@pytest.mark.parametrize(
    ("spec", "path", "why"),
    [
        ({"accessModes": []}, "spec.accessModes", "at least 1 access mode is required"),
        ({"accessModes": ["Often"]}, "spec.accessModes[0]", "supported values"),
        (
            {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            "spec.accessModes",
            "may not use ReadWriteOncePod with other access modes",
        ),
        ({"size": "0"}, "spec.resources[storage]", "must be greater than zero"),
        ({"dataSource": {"kind": "Snapshot", "name": "s"}}, "spec.dataSource", "not made from others"),
    ],
)
async def test_wrong_claims_are_refused(api, spec, path, why):
    answer = await api.post(CLAIMS, claim(**spec))
    assert (answer.status, answer.json["details"]["causes"][0]["field"]) == (422, path)
    assert why in answer.json["message"]


@pytest.mark.parametrize(
    ("spec", "path", "why"),
    [
        ({"capacity": {}}, "spec.capacity", "Required value"),
        ({"hostPath": None}, "spec", "must specify a volume type"),
        ({"nfs": {"server": "s", "path": "/"}}, "spec.nfs", "may not specify more than 1 volume type"),
        ({"hostPath": {"path": "/a/../b"}}, "spec.hostPath.path", "must not contain '..'"),
        ({"hostPath": None, "local": {"path": "/l"}}, "spec.nodeAffinity", "Local volume requires node affinity"),
        ({"persistentVolumeReclaimPolicy": "Burn"}, "spec.persistentVolumeReclaimPolicy", "supported values"),
    ],
)
async def test_wrong_volumes_are_refused(api, spec, path, why):
    answer = await api.post(VOLUMES, volume(**spec))
    assert (answer.status, answer.json["details"]["causes"][0]["field"]) == (422, path)
    assert why in answer.json["message"]


async def test_a_volume_keeps_its_source(api):
    made = (await api.post(VOLUMES, volume())).json
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain" and made["status"] == {"phase": "Pending"}
    made["spec"]["hostPath"]["path"] = "/elsewhere"
    answer = await api.put(f"{VOLUMES}/pv", made)
    assert answer.status == 422 and "is immutable after creation" in answer.json["message"]


async def test_a_claim_grows_only_where_its_class_lets_it(api):
    await api.post(CLASSES, storage_class("fixed"))
    await api.post(CLASSES, storage_class("elastic", allowVolumeExpansion=True))
    await api.backend.cache.fresh()
    for name in ("fixed", "elastic"):
        made = (await api.post(CLAIMS, claim(name, storageClassName=name))).json
        made["spec"]["volumeName"] = "pv"
        made = (await api.put(f"{CLAIMS}/{name}", made)).json
        made["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
        made = (await api.put(f"{CLAIMS}/{name}/status", made)).json
        made["spec"]["resources"]["requests"]["storage"] = "2Gi"
        grown = await api.put(f"{CLAIMS}/{name}", made)
        assert grown.status == (200 if name == "elastic" else 403), grown.json
        made["spec"]["resources"]["requests"]["storage"] = "1Mi"
        made["metadata"].pop("resourceVersion")
        shrunk = await api.put(f"{CLAIMS}/{name}", made)
        assert shrunk.status == 422 and "can not be less than status.capacity" in shrunk.json["message"]


async def test_what_get_prints(api):
    await api.post(CLASSES, storage_class("usual", default=True))
    await api.post(VOLUMES, volume(claimRef={"namespace": "default", "name": "data"}, storageClassName="usual"))
    source = {"persistentVolumeName": "pv"}
    attachment = {"attacher": "example.com/disk", "nodeName": "n", "source": source}
    await api.post(ATTACHMENTS, {"metadata": {"name": "a"}, "spec": attachment})
    assert await row(api, CLASSES) == ["usual (default)", "example.com/disk", "Delete", "Immediate", "false"]
    assert (await row(api, VOLUMES))[:8] == [
        "pv",
        "1Gi",
        "RWO",
        "Retain",
        "Pending",
        "default/data",
        "usual",
        "<unset>",
    ]
    assert await row(api, ATTACHMENTS) == ["a", "example.com/disk", "pv", "n", "false"]


async def row(api, path: str) -> list[object]:
    """The cells before AGE."""
    table = (await api.get(path, **TABLE)).json
    age = [each["name"] for each in table["columnDefinitions"]].index("Age")
    return table["rows"][0]["cells"][:age]


async def test_a_stateful_set_mounts_what_its_templates_will_be(api):
    mounts = [{"name": "data", "mountPath": "/data"}]
    template = {"labels": {"app": "db"}}, {"containers": [{"name": "c", "image": "i", "volumeMounts": mounts}]}
    spec = {
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": template[0], "spec": template[1]},
    }
    path = "/apis/apps/v1/namespaces/default/statefulsets"
    refused = await api.post(path, {"metadata": {"name": "db"}, "spec": spec})
    assert refused.status == 422 and 'volumeMounts[0].name: Not found: "data"' in refused.json["message"]
    spec["volumeClaimTemplates"] = [claim()]
    made = await api.post(path, {"metadata": {"name": "db"}, "spec": spec})
    assert made.status == 201, made.json
