"""One component of the control plane in the foreground, with the command line `init` would give it.

    python -m bootstrap.component credentials|etcd|apiserver|scheduler|controllers|storage --data-dir DIR --address IP

For whoever supervises in another way: containers (docker-compose.dev.yml), systemd units. `credentials` writes the
certificates and kubeconfigs the others read, and ends; any other becomes the component.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bootstrap import commands, credentials
from bootstrap.options import DATA_DIR, InitOptions

CREDENTIALS = "credentials"
COMPONENTS = ("etcd", "apiserver", "scheduler", "controllers", "storage")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bootstrap.component", description="Run one component of the control plane.")
    parser.add_argument("name", choices=(CREDENTIALS, *COMPONENTS))
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, metavar="DIR")
    parser.add_argument("--address", required=True, metavar="IP", help="where the API server is reached")
    arguments = parser.parse_args(argv)
    options = InitOptions(data_dir=arguments.data_dir, advertise_address=arguments.address)
    if arguments.name == CREDENTIALS:
        server = credentials.server_url(arguments.address, options.secure_port)
        credentials.write(options, address=arguments.address, server=server)
        return
    children = {child.name: child for child in commands.control_plane(options, advertise_address=arguments.address)}
    line = children[arguments.name].argv
    try:
        os.execvp(line[0], line)
    except OSError as error:
        sys.exit(f"error: cannot start {line[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
