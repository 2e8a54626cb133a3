"""What every command shares: how kubectl writes flags, the options that say which cluster, and the way there.

    command(function)        a typer command that also takes --namespace, --context, --kubeconfig, ...
    cluster()                the API server those options name, connected once per run

kubectl's flags differ from typer's in three ways, and people have them in their fingers: a flag may be written
`--wait=false`, a short option `-o=json`, and some options may stand without their value (`--dry-run`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli.cluster import Cluster
from cli.quick import Quick

OPTIONAL_VALUES = {"--dry-run": "client", "--cascade": "background", "--validate": "strict"}
"""Options that may stand alone, and what they mean then."""

TRUE, FALSE = ("true", "t", "1"), ("false", "f", "0")


@dataclass
class Settings:
    """Which cluster, as the command line says; the same options are understood before and after the command."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    server: str | None = None
    token: str | None = None


settings = Settings()


def shared_options(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="The namespace to act in.")] = None,
    context: Annotated[str | None, typer.Option(help="The kubeconfig context to use.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="The kubeconfig file to use.")] = None,
    server: Annotated[str | None, typer.Option("--server", "-s", help="Address of the API server, as a URL.")] = None,
    token: Annotated[str | None, typer.Option(help="Bearer token to authenticate with.")] = None,
) -> None:
    """Options every command has."""


def remember(params: dict[str, Any]) -> None:
    """Take the shared options out of a command's parameters and into the settings."""
    for field in fields(Settings):
        value = params.pop(field.name, None)
        if value is not None:
            setattr(settings, field.name, value)


@lru_cache(maxsize=1)
def cluster() -> Cluster:
    """The API server to talk to. Raises CliError when no kubeconfig says which."""
    from dataclasses import replace

    from cli import kubeconfig

    access = kubeconfig.load(settings.kubeconfig, context=settings.context)
    if settings.server:
        access = replace(access, server=settings.server.rstrip("/"))
    if settings.token:
        access = replace(access, token=settings.token, certificate=None, key=None, basic=None)
    return Cluster(access, namespace=settings.namespace)


class Command(Quick, TyperCommand):
    """A command that has the shared options and reads flags as kubectl does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *_shared_params()]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        rest = super().parse_args(ctx, normalise(args, self.params))
        remember(ctx.params)
        return rest


class PlainCommand(Quick, TyperCommand):
    """A command that talks to no cluster of the kubeconfig's (up, join, ...)."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        return super().parse_args(ctx, normalise(args, self.params))


class Group(Quick, TyperGroup):
    """A command of commands."""


def command(function: Callable[..., None], *, name: str, cls: type[TyperCommand] = Command) -> TyperCommand:
    """The typer command of a function, named `name`."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=cls)(function)
    return typer.main.get_command(app)  # type: ignore[return-value]


def group(functions: dict[str, Callable[..., None]], *, name: str, help: str, cls: type[TyperCommand] = Command) -> Any:
    """A command of commands, as `rollout status`."""
    app = typer.Typer(
        name=name, help=help, cls=Group, add_completion=False, rich_markup_mode=None, no_args_is_help=True
    )
    app.callback()(lambda: None)
    for each, function in functions.items():
        app.command(each, cls=cls)(function)
    made = typer.main.get_command(app)
    made.name, made.help = name, help
    return made


def add_shared(made: Any) -> Any:
    """Give the shared options to a group that acts on a cluster itself."""
    made.params = [*made.params, *_shared_params()]
    return made


@lru_cache(maxsize=1)
def _shared_params() -> list[Any]:
    return command(shared_options, name="shared", cls=TyperCommand).params


def normalise(args: list[str], params: list[Any]) -> list[str]:
    """kubectl's spellings in typer's: `--wait=false`, `-o=json`, a lone `--dry-run`. Pure."""
    options = {opt: param for param in params if param.param_type_name == "option" for opt in param.opts}
    result: list[str] = []
    for index, arg in enumerate(args):
        if arg == "--":
            return [*result, *args[index:]]
        result += _normalise_one(arg, options)
    return result


def _normalise_one(arg: str, options: dict[str, Any]) -> list[str]:
    name, equals, value = arg.partition("=")
    option = options.get(name)
    if option is None:
        return [arg]
    if not equals:
        return [f"{name}={OPTIONAL_VALUES[name]}"] if name in OPTIONAL_VALUES and not option.is_flag else [arg]
    if option.is_flag:
        if value.lower() in TRUE:
            return [name]
        if value.lower() in FALSE:
            return [option.secondary_opts[0]] if option.secondary_opts else []
        return [arg]
    return [arg] if name.startswith("--") else [name, value]
