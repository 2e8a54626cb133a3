"""What every command shares: the options that say which cluster and which objects, and kubectl's way of writing flags.

    command(function, name=...)     a typer command; a parameter called `session`, `chosen` or `write` is not an option:
        access      the way there, for who asks no server: a function, as there may be none
        session     the API server --kubeconfig, --context, --namespace, ... name, connected once per run
        chosen      what the user named: kinds, names, -f, -l, -A, --all (objects.py finds the objects)
        write       how to change things: --dry-run
kubectl's flags differ from typer's in three ways, and people have them in their fingers: a flag may be written
`--wait=false`, a short option `-o=json`, and some options may stand without their value (`--dry-run`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from cli import completion
from cli.errors import CliError
from cli.quick import Quick
from cli.session import GIVEN, Session, chosen_access, connect

OPTIONAL_VALUES = {"--dry-run": "client", "--cascade": "background"}
"""Options that may stand alone, and what they mean then."""

DRY_RUN_NOTES = {"none": "", "client": " (dry run)", "server": " (server dry run)"}
TRUE, FALSE = ("true", "t", "1"), ("false", "f", "0")


@dataclass
class Chosen:
    """Which objects the user named; objects.py finds them."""

    resources: list[str] = field(default_factory=list)
    filename: list[str] = field(default_factory=list)
    recursive: bool = False
    kustomize: str = ""
    selector: str = ""
    field_selector: str = ""
    all_: bool = False
    all_namespaces: bool = False

    def __post_init__(self) -> None:
        if self.kustomize:
            raise CliError(
                "-k is not supported: build the manifests first, as in: kubectl kustomize DIR | minikctl apply -f -"
            )
        if self.filename and self.resources:
            raise CliError(
                "when paths, URLs, or stdin is provided as resource input, you may not specify a resource by "
                "arguments as well"
            )
        if self.all_ and self.selector:
            raise CliError("setting 'all' parameter but found a non empty selector.")

    @property
    def selects(self) -> bool:
        """Whether objects are chosen by what they are like, not by name."""
        return bool(self.selector or self.field_selector or self.all_)


@dataclass(frozen=True)
class Write:
    """How to change things: for real, or only as far as the server's checks, or not even that."""

    dry_run: str = "none"

    def __post_init__(self) -> None:
        if self.dry_run not in DRY_RUN_NOTES:
            raise CliError(f'Invalid dry-run value ({self.dry_run}). Must be "none", "server", or "client".')

    @property
    def params(self) -> dict[str, str]:
        return {"fieldManager": "minikctl"} | ({"dryRun": "All"} if self.dry_run == "server" else {})

    @property
    def real(self) -> bool:
        return self.dry_run == "none"

    def send(self, session: Session, method: str, path: str, body: Any, **options: Any) -> Any:
        """Ask for a change. None when nothing is to be asked. Raises StatusError."""
        if self.dry_run == "client":
            return None
        return session.call(method, path, params=self.params, body=body, **options)

    def say(self, subject: str, what: str) -> None:
        print(f"{subject} {what}{DRY_RUN_NOTES[self.dry_run]}", flush=True)


def cluster_options(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="The namespace to act in.")] = None,
    context: Annotated[str | None, typer.Option(help="The kubeconfig context to use.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="The kubeconfig file to use.")] = None,
    server: Annotated[str | None, typer.Option("--server", "-s", help="Address of the API server, as a URL.")] = None,
    token: Annotated[str | None, typer.Option(help="Bearer token to authenticate with.")] = None,
) -> None: ...


def _chosen_options(
    resources: Annotated[
        list[str] | None,
        typer.Argument(metavar="(KIND[,KIND] [NAME...] | KIND/NAME...)", autocompletion=completion.resources),
    ] = None,
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", help="File, folder, URL, or - for standard input.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Folders with what is below them.")] = False,
    kustomize: Annotated[str, typer.Option("--kustomize", "-k", hidden=True)] = "",
    selector: Annotated[
        str, typer.Option("--selector", "-l", help="Objects with these labels: app=web,tier!=db.")
    ] = "",
    field_selector: Annotated[str, typer.Option(help="Objects with these fields: status.phase=Running.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")] = False,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
) -> None: ...


def _write_options(
    dry_run: Annotated[str, typer.Option(metavar="none|client|server", help="Only say what would be done.")] = "none",
) -> None: ...


_OPTIONS: dict[str, Callable[..., None]] = {
    "session": cluster_options,
    "access": cluster_options,
    "chosen": _chosen_options,
    "write": _write_options,
}
GIVEN_OPTIONS: dict[str, dict[str, Any]] = {"session": GIVEN, "access": GIVEN, "chosen": {}, "write": {}}
"""What the command line said, by injected parameter; cluster options count before and after the command's name."""


_MAKERS: dict[str, Callable[[], Any]] = {
    "session": connect,
    "access": lambda: chosen_access,
    "chosen": lambda: Chosen(**{name: value for name, value in GIVEN_OPTIONS["chosen"].items() if value}),
    "write": lambda: Write(**GIVEN_OPTIONS["write"]),
}


class Command(Quick, TyperCommand):
    """A command that may have the shared options and reads flags as kubectl does."""

    shared: tuple[str, ...] = ()
    """Which groups of shared options it has."""

    def share(self, names: tuple[str, ...]) -> None:
        """Add groups of shared options, but those whose spelling means something else here (`logs -f`)."""
        self.shared = names
        own = {opt for param in self.params for opt in param.opts}
        self.params += [param for name in names for param in params_of(name) if own.isdisjoint(param.opts)]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        rest = super().parse_args(ctx, normalise(args, self.params))
        for name in self.shared:
            if not (ctx.resilient_parsing and name == "chosen"):  # a completion looks at what was named so far
                remember(name, ctx.params)
        return rest


class Group(Quick, TyperGroup):
    """A command of commands."""


def command(function: Callable[..., None], *, name: str) -> Any:
    """The typer command of a function."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    called, shared = _without_shared(function)
    app.command(name, cls=Command)(called)
    made: Any = typer.main.get_command(app)
    made.share(shared)
    return made


def group(functions: dict[str, Callable[..., None]], *, name: str, help: str) -> Any:
    """A command of commands, as `rollout status`."""
    app = typer.Typer(
        name=name, help=help, cls=Group, add_completion=False, rich_markup_mode=None, no_args_is_help=True
    )
    app.callback()(lambda: None)
    made: Any = typer.main.get_command(app)
    made.name, made.help = name, help
    made.commands = {each: command(function, name=each) for each, function in functions.items()}
    return made


def _without_shared(function: Callable[..., None]) -> tuple[Callable[..., None], tuple[str, ...]]:
    """The function as typer shall see it, and the parameters it gets from here."""
    shared = tuple(each for each in inspect.signature(function).parameters if each in _OPTIONS)

    @wraps(function)
    def called(**options: Any) -> None:
        function(**{each: _MAKERS[each]() for each in shared}, **options)

    if not shared:
        return function, ()
    change_signature(called, without=shared)
    return called, shared


def change_signature(
    wrapper: Callable[..., None], *, without: Sequence[str], extra: Sequence[inspect.Parameter] = ()
) -> None:
    """Let typer see other parameters than those of the wrapped function."""
    hints = get_type_hints(wrapper, include_extras=True)
    parameters = inspect.signature(wrapper).parameters.values()
    kept = [each.replace(annotation=hints[each.name]) for each in parameters if each.name not in without]
    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*extra, *kept)]
    wrapper.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in keywords}


@lru_cache
def params_of(name: str) -> list[Any]:
    """The typer parameters of a group of shared options."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name)(_OPTIONS[name])
    return list(typer.main.get_command(app).params)


def remember(name: str, params: dict[str, Any]) -> None:
    """Take a group of shared options out of a command's parameters."""
    for param in params_of(name):
        value = params.pop(param.name, None)
        if value is not None:
            GIVEN_OPTIONS[name][param.name] = value


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
