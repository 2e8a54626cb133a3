"""minikctl starts here: find the command, run it, turn what went wrong into one line and an exit code.

`COMMANDS` is the table of all commands. Only the module of the command that was asked for is imported, so that
`minikctl get pods` answers at once; `--help` imports them all. What kubectl has and this has not is kubectl's to do.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli import command
from cli.errors import CliError
from cli.quick import Quick
from client.errors import ConfigError, Unreachable

HELP = """minikctl controls a Kubernetes cluster, minik's own or any other, and makes and breaks minik labs.

Try: minikctl up, minikctl get nodes, minikctl scale web --replicas 5, minikctl node stop NAME

Every other command of kubectl runs kubectl: minikctl label, minikctl exec, minikctl create, ..."""

COMMANDS: dict[str, str] = {
    # A lab on this machine
    "up": "labs:up",
    "down": "labs:down",
    "status": "labs:status",
    "node": "labs:GROUP",
    # Looking
    "get": "get:get",
    "describe": "describe:describe",
    "logs": "logs:logs",
    "events": "events:events",
    "why": "why:why",
    "timeline": "timeline:timeline",
    "workshop": "workshop:GROUP",
    "wait": "wait:wait",
    # Changing
    "apply": "apply:apply",
    "delete": "delete:delete",
    "scale": "scale:scale",
    "rollout": "rollout:GROUP",
    "run": "create:run",
    "expose": "create:expose",
    # From Docker Compose
    "compose": "compose:GROUP",
    # Nodes
    "cordon": "drain:cordon",
    "uncordon": "drain:uncordon",
    "drain": "drain:drain",
    # Real machines
    "init": "machines:init",
    "join": "machines:join",
    "reset": "machines:reset",
    "token": "machines:TOKEN",
    "kubeconfig": "machines:kubeconfig",
}
"""Command -> module and function in cli/, or a ready group. The order is that of `--help`."""


class LazyGroup(Quick, TyperGroup):
    """The root command: knows all names, imports a command when it is used."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands.get(cmd_name)  # type: ignore[return-value]

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            from cli.kubectl import hand_over

            hand_over(args[0], sys.argv[1:])
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        rest = super().parse_args(ctx, command.normalise(args, self.params) if args else ["--help"])
        command.remember("session", ctx.params)
        return rest


def load(name: str) -> Any:
    """Import the module of a command and build its typer command."""
    module_name, _, attribute = COMMANDS[name].partition(":")
    found = getattr(importlib.import_module(f"cli.{module_name}"), attribute)
    return found() if attribute.isupper() else command.command(found, name=name)


def root() -> Any:
    """The whole command line."""
    help_options = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(cls=LazyGroup, help=HELP, rich_markup_mode=None, context_settings=help_options)
    app.callback(help=HELP)(command.cluster_options)
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
    except (CliError, ConfigError, Unreachable) as error:
        return fail(error.line())
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        return fail(usage_error(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        named = f" {error.filename}:" if error.filename else ""
        return fail(f"error:{named} {error.strerror or error}")


def usage_error(error: Any) -> str:
    """What is wrong with the command line, and where its help is."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    where = f"\nSee '{context.command_path} --help' for usage." if context else ""
    return f"error: {error.format_message()}{where}"


def fail(line: str) -> int:
    sys.stdout.flush()
    print(line, file=sys.stderr)
    return 1
