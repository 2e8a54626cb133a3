"""minikctl starts here: find the command, run it, turn what went wrong into one line and an exit code.

`COMMANDS` is the table of all commands. Only the module of the command that was asked for is imported, so that
`minikctl get pods` answers at once; `--help` imports them all.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli.command import PlainCommand, command, normalise, remember, shared_options
from cli.errors import CliError
from cli.quick import Quick

HELP = """minikctl controls a Kubernetes cluster, minik's own or any other, and makes and breaks minik labs.

Try: minikctl up, minikctl get nodes, minikctl scale web --replicas 5, minikctl node stop NAME"""

COMMANDS: dict[str, str] = {
    # A lab on this machine
    "up": "lab_commands:up",
    "down": "lab_commands:down",
    "status": "lab_commands:status",
    "node": "lab_nodes:GROUP",
    # Looking
    "get": "get:get",
    "describe": "describe:describe",
    "logs": "logs:logs",
    "events": "events:events",
    "wait": "wait:wait",
    # Changing
    "apply": "apply:apply",
    "create": "create:GROUP",
    "delete": "delete:delete",
    "scale": "scale:scale",
    "rollout": "rollout:GROUP",
    "set": "modify:SET",
    "run": "create:run",
    "expose": "create:expose",
    "label": "modify:label",
    "annotate": "modify:annotate",
    "patch": "modify:patch",
    # Nodes
    "cordon": "drain:cordon",
    "uncordon": "drain:uncordon",
    "drain": "drain:drain",
    "taint": "drain:taint",
    # The cluster itself
    "api-resources": "info:api_resources",
    "cluster-info": "info:cluster_info",
    "version": "info:version",
    "kubeconfig": "config:print_kubeconfig",
    "config": "config:GROUP",
    # Real machines
    "init": "machines:init",
    "join": "machines:join",
    "reset": "machines:reset",
    "token": "machines:TOKEN",
}
"""Command -> module and function in cli/, or a ready group. The order is that of `--help`."""

PLAIN = ("lab_commands", "machines")
"""Modules whose commands need no cluster and so take no --context or --namespace."""


class LazyGroup(Quick, TyperGroup):
    """The root command: knows all names, imports a command when it is used."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands[cmd_name]  # type: ignore[return-value]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        rest = super().parse_args(ctx, normalise(args, self.params) if args else ["--help"])
        remember(ctx.params)
        return rest


def load(name: str) -> Any:
    """Import the module of a command and build its typer command."""
    module_name, _, attribute = COMMANDS[name].partition(":")
    found = getattr(importlib.import_module(f"cli.{module_name}"), attribute)
    if not attribute.isupper():
        return command(found, name=name, cls=PlainCommand) if module_name in PLAIN else command(found, name=name)
    return found()


def root() -> Any:
    """The whole command line."""
    app = typer.Typer(
        cls=LazyGroup,
        help=HELP,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=HELP)(shared_options)
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line and exit: 0, 1 after an error line, 130 after Ctrl-C."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`). Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def run() -> int:
    """The exit code of sys.argv's command; what goes wrong is said in one line on stderr."""
    try:
        result = root()(standalone_mode=False, prog_name="minikctl")
        return result if isinstance(result, int) else 0
    except CliError as error:
        return fail(error.line(), code=error.exit_code)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        return fail(usage_error(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        named = f" {error.filename}" if error.filename else ""
        return fail(f"error:{named}: {error.strerror or error}" if named else f"error: {error.strerror or error}")


def usage_error(error: Any) -> str:
    """What is wrong with the command line, and where its help is."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    where = f"\nSee '{context.command_path} --help' for usage." if context else ""
    return f"error: {error.format_message()}{where}"


def fail(line: str, *, code: int = 1) -> int:
    sys.stdout.flush()
    print(line, file=sys.stderr)
    return code
