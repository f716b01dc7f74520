"""The commands `zerowait env ...`: isolated environments for libraries that cannot stand beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zerowait.experiments.studies.output import print_err, print_out

if TYPE_CHECKING:
    from zerowait.adapters import Adapter, Mode
    from zerowait.adapters.environments.environments import Environment

DAMAGED = 1

app = typer.Typer(
    name="env",
    help="Create, list, verify and remove isolated environments for optimizer libraries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(help="An environment; `zerowait env list` shows them.", show_default=False)]


@app.command()
def create(name: Name) -> None:
    """Build an environment unless it exists: a virtual environment with pinned versions, a minute or two."""
    from zerowait.adapters.environments import environments

    environments.create(name, print_err)


@app.command("list")
def list_() -> None:
    """List environments: the library of each, the optimizers that it is for, and where it is."""
    from zerowait import adapters
    from zerowait.adapters.environments import environments
    from zerowait.adapters.environments.environments import environment, normalized
    from zerowait.experiments.studies.listing import print_environments

    optimizers = adapters.available()
    rows = []
    for name, library in environments.LIBRARIES.items():
        wanted = environment(name)
        uses = [found for found in optimizers if normalized(found.library) == normalized(library)]
        here = all(found.installed and found.environment is None for found in uses)
        if wanted.exists:
            status = "ready" + (", not needed: the library is installed here" if here else "")
        elif wanted.folder.is_dir():
            status = f"incomplete: {environments.creation(name)}"
        else:
            status = "not needed: the library is installed here" if here else f"absent: {environments.creation(name)}"
        rows.append((name, library, ", ".join(found.name for found in uses), status, wanted.folder))
    current = {row[-1] for row in rows}
    for folder, name in environments.existing().items():
        if folder not in current:
            status = f"of another version of zerowait or Python; remove it with `zerowait env remove {name}`"
            rows.append((name, environments.LIBRARIES[name], "", status, folder))
    print_environments(rows)


@app.command()
def verify(name: Name) -> None:
    """Check an environment's versions and imports and run an optimizer in it; exit code 1 when something is wrong."""
    from zerowait.adapters.environments import environments
    from zerowait.adapters.remote_adapter import examine

    wanted = environments.environment(name)
    adapters_of_it = _adapters_of(wanted)
    modules = dict.fromkeys(module for adapter in adapters_of_it for module in adapter.requires)
    problems = examine(wanted, ("zerowait", *modules))
    if not problems and adapters_of_it:
        problems += _failure(wanted, adapters_of_it[0])
    for problem in problems:
        print_out(f"{name}: {problem}")
    if problems:
        print_err(f"{name}: {wanted.remedy()}")
        raise typer.Exit(DAMAGED)
    print_out(f"{name}: as pinned, in {wanted.folder}")


@app.command()
def remove(name: Name) -> None:
    """Remove an environment, that of other versions of zerowait and Python included."""
    from zerowait.adapters.environments import environments

    gone = environments.remove(name)
    for folder in gone:
        print_out(f"removed {folder}")
    if not gone:
        print_out(f"{name}: there is none")


def _adapters_of(environment: Environment) -> list[type[Adapter]]:
    """Return the adapters of the environment's library."""
    from zerowait.adapters.environments.environments import normalized
    from zerowait.adapters.registry import classes

    return [found for found in classes().values() if normalized(found.library) == normalized(environment.library)]


def _failure(environment: Environment, adapter: type[Adapter]) -> list[str]:
    """Run the optimizer in the environment for a few evaluations; return what goes wrong."""
    from zerowait import benchmarks
    from zerowait.adapters.remote_adapter import elsewhere
    from zerowait.suite import Budget, Overhead

    mode: Mode = "native" if "native" in adapter.modes else "ask_tell"
    try:
        elsewhere(adapter, environment)().optimize(
            benchmarks.load("branin"), n_workers=2, seed=0, budget=Budget(max_evaluations=4), overhead=Overhead.none(),
            mode=mode,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the command is asked for
        return [f"{adapter.name} does not run there: {type(error).__name__}: {error}"]
    return []
