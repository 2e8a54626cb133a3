"""The boot story of the storage host.

    python -m storage --kubeconfig FILE --data-dir DIR --address IP

Of several control plane machines the first is the storage host of the cluster, for the disks lie there: it has written
its id on the driver's object, and the others stand by. Classes that are missing are made at each start.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError, ConfigError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.storage_v1 import CSIDriverSpec
from lightkube.resources.core_v1 import PersistentVolume
from lightkube.resources.storage_v1 import CSIDriver, StorageClass

from api import meta, storage
from api.process import configure_logging, run_until_signalled
from client import rest
from client.backoff import Backoff
from client.config import Client, connect
from client.informer import Informer
from storage.attacher import Attacher
from storage.disks import Disks
from storage.provisioner import Provisioner

RETRY = Backoff(0.1, 2.0)
STAND_BY_SECONDS = 30.0
"""Between looks whether there still is a host."""
log = logging.getLogger("storage")
_DEFAULT = {storage.DEFAULT_CLASS: "true"}
_HOST = "minik.dev/storage-host"
FURNITURE: tuple[Any, ...] = (
    CSIDriver(CSIDriverSpec(attachRequired=False, fsGroupPolicy="File"), metadata=ObjectMeta(name=storage.LOCAL_PATH)),
    StorageClass(storage.SHARED, metadata=ObjectMeta(name="shared", annotations=_DEFAULT)),
    StorageClass(storage.LOCAL_PATH, metadata=ObjectMeta(name="local-path"), volumeBindingMode="WaitForFirstConsumer"),
)


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    configure_logging(options.v)
    try:
        run_until_signalled(run(options))
    except ConfigError as error:
        log.error("%s", error)
        sys.exit(1)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="storage", description="Network disks for the storage class `shared`.")
    parser.add_argument("--kubeconfig", required=True, help="how to reach the API server")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="where the disks lie")
    parser.add_argument("--address", required=True, metavar="IP", help="the address nodes reach this host at")
    parser.add_argument("-v", type=int, default=0, help="log verbosity; 4 and up is debug")
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> None:
    """Connect, learn what there is, serve it."""
    client = connect(options.kubeconfig)
    await become_host(client, _identity(options.data_dir), options.address)
    volumes = Informer(client, PersistentVolume)
    disks = Disks(options.data_dir, options.address, ended=lambda disk: attacher.again(disk))
    attacher = Attacher(client, disks)
    provisioner = Provisioner(client, disks, volumes, attacher)
    informers: tuple[Informer[Any], ...] = (volumes, attacher.attachments, provisioner.claims, provisioner.classes)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(provisioner.events.run())
        tasks.create_task(furnish(client))
        for informer in informers:
            tasks.create_task(informer.run())
        for informer in informers:
            await informer.wait_synced()
        for disk in disks.sessions():
            if not attacher.attachments.by_index("volume", disk):
                await disks.close(disk)  # its attachment went while nobody was here
        tasks.create_task(attacher.controller.run())
        tasks.create_task(provisioner.controller.run())


def _identity(directory: Path) -> str:
    """Of the disks in the directory, not of the machine."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "host"
    if not path.exists():
        path.write_text(meta.new_uid())
    return path.read_text()


async def become_host(client: Client, identity: str, address: str) -> None:
    """Return when the cluster's disks are ours to serve: none is the host yet, or we are."""
    spec = CSIDriverSpec(attachRequired=True, fsGroupPolicy="File")
    wanted = CSIDriver(spec, metadata=ObjectMeta(name=storage.SHARED, annotations={_HOST: f"{identity}@{address}"}))
    failures, said = 0, ""
    while True:
        try:
            present = await rest.get(client, CSIDriver, storage.SHARED) or await client.create(wanted)
            host = meta.annotations(present).get(_HOST, "")
            if host.partition("@")[0] == identity:
                return
            if host != said:
                log.info("the disks of this cluster lie at %s: standing by", host.partition("@")[2])
            said = host
            await asyncio.sleep(STAND_BY_SECONDS)
        except (ApiError, httpx2.HTTPError, OSError):
            failures += 1
            await asyncio.sleep(RETRY.delay(failures))


async def furnish(client: Client) -> None:
    """Make the drivers' objects and the classes that are not there, until it has worked."""
    failures, missing = 0, list(FURNITURE)
    while missing:
        try:
            await client.create(missing[-1])
        except (ApiError, httpx2.HTTPError, OSError) as error:
            if not isinstance(error, ApiError) or error.status.code != 409:
                failures += 1
                await asyncio.sleep(RETRY.delay(failures))
                continue
        missing.pop()
