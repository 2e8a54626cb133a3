"""One component of the control plane in the foreground, with the command line `init` would give it.

    python -m bootstrap.component credentials|etcd|apiserver|scheduler|controllers|storage|invite --data-dir DIR ...

For whoever supervises in another way: containers (docker-compose.dev.yml), systemd units. All of them are on one host.
`credentials` writes the certificates and kubeconfigs the others read; `invite`, once the API server is ready, prints
the line that nodes join with; both end. Any other becomes the component.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bootstrap import apiclient, commands, credentials
from bootstrap.commands import ControlPlane
from bootstrap.errors import BootstrapError
from bootstrap.init import invite
from bootstrap.options import DATA_DIR, InitOptions

CREDENTIALS, INVITE = "credentials", "invite"
COMPONENTS = ("etcd", "apiserver", "scheduler", "controllers", "storage")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bootstrap.component", description="Run one component of the control plane.")
    parser.add_argument("name", choices=(CREDENTIALS, *COMPONENTS, INVITE))
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, metavar="DIR")
    parser.add_argument("--address", required=True, metavar="IP", help="where the API server is reached")
    arguments = parser.parse_args(argv)
    options = InitOptions(data_dir=arguments.data_dir, advertise_address=arguments.address)
    if arguments.name == CREDENTIALS:
        server = credentials.server_url("127.0.0.1", options.secure_port)
        credentials.write(options, address=arguments.address, server=server)
        return
    if arguments.name == INVITE:
        print(join_command(options, arguments.address))
        return
    children = {child.name: child for child in commands.control_plane(options, advertise_address=arguments.address)}
    line = children[arguments.name].argv
    try:
        os.execvp(line[0], line)
    except OSError as error:
        sys.exit(f"error: cannot start {line[0]}: {error.strerror}")


def join_command(options: InitOptions, address: str) -> str:
    """Let machines join: the line to run on them. Raises BootstrapError."""
    place = ControlPlane(options.data_dir)
    server = credentials.server_url(address, options.secure_port)
    if not apiclient.wait_ready(server, place.pki / "ca.crt", timeout=options.timeout):
        raise BootstrapError(f"the API server at {server} is not ready")
    return invite(options, place, server).join_command


if __name__ == "__main__":
    main()
