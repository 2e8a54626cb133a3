"""`minikctl kubeconfig` and `minikctl config`: which clusters this machine knows, and which one commands talk to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import kubeconfig
from cli.command import group, settings
from cli.errors import CliError
from cli.tables import Columns

HIDDEN = "DATA+OMITTED"
REDACTED = "REDACTED"


def print_kubeconfig() -> None:
    """Print the kubeconfig of the current context, complete with its credentials, for use elsewhere.

    minikctl kubeconfig > ~/lab.kubeconfig
    """
    access = _access()
    cluster: dict[str, Any] = {"server": access.server}
    cluster |= {"certificate-authority-data": _encode(access.ca)} if access.ca else {}
    cluster |= {} if access.verify else {"insecure-skip-tls-verify": True}
    cluster |= {"tls-server-name": access.server_name} if access.server_name else {}
    user: dict[str, Any] = {"token": access.token} if access.token else {}
    if access.certificate and access.key:
        user |= {"client-certificate-data": _encode(access.certificate), "client-key-data": _encode(access.key)}
    name = access.context
    namespace = {} if access.namespace == "default" else {"namespace": access.namespace}
    from cli.documents import to_yaml

    sys.stdout.write(
        to_yaml(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": access.cluster, "cluster": cluster}],
                "users": [{"name": name, "user": user}],
                "contexts": [{"name": name, "context": {"cluster": access.cluster, "user": name, **namespace}}],
                "current-context": name,
            }
        )
    )


def _encode(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _access() -> kubeconfig.Access:
    """The current context, or, where no kubeconfig says, the lab of this machine. Raises CliError."""
    try:
        return kubeconfig.load(settings.kubeconfig, context=settings.context)
    except CliError:
        from cli.lab_choice import lab

        conf = lab("").admin_conf
        if settings.kubeconfig or settings.context or not conf.exists():
            raise
        return kubeconfig.load(str(conf))


def view(raw: Annotated[bool, typer.Option("--raw", help="With certificates and keys.")] = False) -> None:
    """Show the merged kubeconfig."""
    from cli.documents import to_yaml

    merged = kubeconfig.read(settings.kubeconfig)
    whole: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    for plural, singular in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
        whole[plural] = [
            {"name": name, singular: entry if raw else hidden(entry)} for name, entry in sorted(merged[plural].items())
        ]
    whole["current-context"] = merged["current-context"]
    sys.stdout.write(to_yaml(whole))


def hidden(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry without its secrets. Pure."""
    shown = dict(entry)
    for key in shown:
        if key.endswith("-data"):
            shown[key] = HIDDEN
        elif key in ("token", "password"):
            shown[key] = REDACTED
    return shown


def current_context() -> None:
    """Print the name of the current context."""
    current = kubeconfig.read(settings.kubeconfig)["current-context"]
    if not current:
        raise CliError("current-context is not set")
    print(current)


def get_contexts() -> None:
    """List the contexts, the current one with a star."""
    config = kubeconfig.read(settings.kubeconfig)
    rows = [["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]]
    for name, entry in sorted(config["contexts"].items()):
        star = "*" if name == config["current-context"] else ""
        rows.append([star, name, entry.get("cluster", ""), entry.get("user", ""), entry.get("namespace", "")])
    print("\n".join(Columns().render(rows)))


def use_context(name: Annotated[str, typer.Argument(metavar="CONTEXT")]) -> None:
    """Make another context the current one."""
    if name not in kubeconfig.read(settings.kubeconfig)["contexts"]:
        raise CliError(f'no context exists with the name: "{name}"')
    _change(lambda config: config.__setitem__("current-context", name))
    print(f'Switched to context "{name}".')


def set_context(
    context: Annotated[str | None, typer.Argument(metavar="[CONTEXT]")] = None,
    current: Annotated[bool, typer.Option("--current", help="Change the current context.")] = False,
) -> None:
    """Change a context's default namespace: `config set-context --current --namespace kube-system`."""
    name = kubeconfig.read(settings.kubeconfig)["current-context"] if current else context
    if not name:
        raise CliError("you must specify a non-empty context name or --current")

    def change(config: dict[str, Any]) -> None:
        entry = next((each for each in config.get("contexts") or [] if each.get("name") == name), None)
        if entry is None:
            raise CliError(f'no context exists with the name: "{name}"')
        if settings.namespace:
            entry["context"]["namespace"] = settings.namespace

    _change(change)
    print(f'Context "{name}" modified.')


def _change(change: Any) -> None:
    """Rewrite the first kubeconfig file that is there, in one step and readable by its owner only."""
    import os
    import tempfile

    import yaml

    from cli.documents import to_yaml

    path = next((each for each in kubeconfig.files(settings.kubeconfig) if each.exists()), None)
    if path is None:
        raise CliError("no kubeconfig to change")
    path = Path(os.path.realpath(path))
    config = yaml.safe_load(path.read_text()) or {}
    change(config)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(to_yaml(config))
    os.chmod(name, 0o600)
    os.replace(name, path)


def GROUP() -> Any:
    """The `config` commands."""
    functions: dict[str, Callable[..., None]] = {
        "view": view,
        "current-context": current_context,
        "get-contexts": get_contexts,
        "use-context": use_context,
        "set-context": set_context,
    }
    return group(functions, name="config", help="Look at the kubeconfig and choose a context.")
