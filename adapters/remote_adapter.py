"""An adapter whose library is not importable here: every run of it is made by the Python of an environment.

What crosses is a specification, as JSON: the adapter's class and parameters, how the benchmark was loaded, budget and
overhead. The other side makes adapter and benchmark anew, so that no object of a library travels between two versions
of it. The two sides share the run directory; the trace comes back as its file.
"""

from __future__ import annotations

import functools
import json
import pkgutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from zerowait.adapters.adapter import Adapter, Benchmark, Mode
from zerowait.adapters.environments.environments import Environment, pins
from zerowait.adapters.environments.isolation import run_elsewhere
from zerowait.adapters.environments.site_links import link_caller
from zerowait.suite.factory_spec import FactorySpec, factory_spec_of
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError, WorkerDied
from zerowait.suite.rules.identity import canonical_json
from zerowait.suite.rules.overhead import Overhead

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import pandas as pd


class Elsewhere(Adapter):
    """What is different about an adapter whose runs are made in an environment; made by `elsewhere`.

    Raises
    ------
    SpecificationError
        A parameter is unknown or unusable, as the library there says.
    EnvironmentFailedError
        The environment has been removed.
    """

    environment: ClassVar[Environment]
    """Where the library is."""
    place: ClassVar[str]
    """The class of the adapter that runs there, as `package.module:name`."""

    def __init__(self, **parameters: Any) -> None:
        # The base class alone: what lies between may import the library.
        Adapter.__init__(self, **parameters)
        _checked(self.environment, self.place, canonical_json(self.parameters))

    @classmethod
    def absent(cls) -> Mapping[str, str]:
        """Return nothing: what cannot be imported here can be imported there."""
        return {}

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of the distributions in the environment."""
        return self.environment.versions()

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return why the optimizer cannot run on this benchmark, or None."""
        try:
            described = describe_benchmark(benchmark)
        except SpecificationError as error:
            return str(error)
        return _refusal(
            self.environment, self.place, canonical_json(self.parameters), json.dumps(described, sort_keys=True)
        )

    def optimize(  # noqa: PLR0913 - as of every adapter
        self,
        benchmark: Benchmark,
        *,
        n_workers: int,
        seed: int,
        budget: Budget,
        overhead: Overhead,
        directory: str | os.PathLike[str] | None = None,
        mode: Mode | None = None,
        labels: Mapping[str, Any] | None = None,
        continual: bool | None = None,
        cluster: Cluster | None = None,
        objectives: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Run the optimizer in its environment; see `Adapter.optimize`.

        Raises
        ------
        SpecificationError
            As there; also when the benchmark was not made by `benchmarks.load`, or the overhead is a function, neither
            of which can be sent.
        """
        from zerowait.suite.records.trace import read_trace

        with tempfile.TemporaryDirectory(prefix="zerowait-") as temporary:
            folder = Path(temporary) / "run" if directory is None else Path(directory).absolute()
            there(
                self.environment,
                optimize,
                adapter=self.place,
                parameters=dict(self.parameters),
                benchmark=describe_benchmark(benchmark),
                n_workers=n_workers,
                seed=seed,
                budget=budget.to_json(),
                overhead=describe_overhead(overhead),
                directory=str(folder),
                mode=self.usual_mode() if mode is None else mode,
                labels=dict(labels or {}),
                continual=continual,
                cluster=None if cluster is None else cluster.to_json(),
                objectives=self.check_objectives(benchmark, objectives),
            )
            return read_trace(folder / "trace.parquet")


def elsewhere(adapter: type[Adapter], environment: Environment) -> type[Elsewhere]:
    """Return an adapter like this one, whose runs are made in the environment."""
    place = f"{adapter.__module__}:{adapter.__qualname__}"
    return cast(
        "type[Elsewhere]",
        type(adapter.__name__, (Elsewhere, adapter), {"environment": environment, "place": place}),
    )


def examine(environment: Environment, modules: tuple[str, ...]) -> list[str]:
    """Return what is wrong with an environment, a line each: other versions than pinned, modules that do not import.

    Raises
    ------
    EnvironmentFailedError
        It does not exist.
    """
    found = there(environment, contents, modules=list(modules))
    # A build for one kind of machine says so behind a plus sign: torch 2.13.0+cpu is torch 2.13.0.
    versions = {name: version.partition("+")[0] for name, version in found["versions"].items()}
    wrong = [
        f"{name} has version {versions.get(name, 'none')} and not {version}"
        for name, version in pins(environment.name).items()
        if versions.get(name) != version
    ]
    return wrong + list(found["problems"])


@functools.lru_cache(maxsize=256)
def _checked(environment: Environment, place: str, parameters: str) -> None:
    """Have the library check its parameters, once in a process."""
    there(environment, check, adapter=place, parameters=json.loads(parameters))


@functools.lru_cache(maxsize=256)
def _refusal(environment: Environment, place: str, parameters: str, benchmark: str) -> str | None:
    return cast(
        "str | None",
        there(
            environment, refusal, adapter=place, parameters=json.loads(parameters), benchmark=json.loads(benchmark)
        ),
    )  # fmt: skip


def there(environment: Environment, function: Any, **arguments: Any) -> Any:
    """Call a function of this module in the environment and return what it returns, JSON both ways."""
    with environment.in_use(), tempfile.TemporaryDirectory(prefix="zerowait-") as name:
        link_caller(Path(name))
        place = f"{function.__module__}:{function.__qualname__}"
        try:
            return run_elsewhere(environment.interpreter, place, arguments, [Path(name)])
        except WorkerDied as error:
            error.add_note(f"if it dies again: zerowait env verify {environment.name}")
            raise


def describe_benchmark(benchmark: Benchmark) -> dict[str, Any]:
    """Return how to make a benchmark again, as JSON.

    Raises
    ------
    SpecificationError
        It was not made by `benchmarks.load`, or of arguments that have no JSON form.
    """
    factory_spec = factory_spec_of(benchmark)
    if factory_spec is None:
        raise SpecificationError(
            f"the benchmark {benchmark.label!r} cannot be sent to the environment of the optimizer: only one that "
            "benchmarks.load has made, of parameters that have a JSON form, can be made again there"
        )
    return {"factory_spec": factory_spec.as_json(), "label": benchmark.label}


def describe_overhead(overhead: Overhead) -> dict[str, Any]:
    """Return an overhead policy as JSON.

    Raises
    ------
    SpecificationError
        It is a function of the user's.
    """
    described = overhead.to_json()
    if Overhead.from_json(described) != overhead:
        raise SpecificationError(
            f"the overhead {overhead.name} is a function, which cannot be sent to the environment of the optimizer; "
            "use Overhead.linear, fixed, none or measured"
        )
    return described


# -- what runs there --------------------------------------------------------------------------------------------------


def check(adapter: str, parameters: Mapping[str, Any]) -> None:
    """Make the adapter, which checks its parameters."""
    _adapter(adapter, parameters)


def refusal(adapter: str, parameters: Mapping[str, Any], benchmark: Mapping[str, Any]) -> str | None:
    """Return why the optimizer cannot run on the benchmark, or None."""
    return _adapter(adapter, parameters).refuses(_benchmark(benchmark))


def optimize(
    adapter: str,
    parameters: Mapping[str, Any],
    benchmark: Mapping[str, Any],
    budget: Mapping[str, Any],
    overhead: Mapping[str, Any],
    cluster: Mapping[str, Any] | None,
    **others: Any,
) -> None:
    """Run the optimizer; the trace is left in the run directory."""
    _adapter(adapter, parameters).optimize(
        _benchmark(benchmark),
        budget=Budget.from_json(budget),
        overhead=Overhead.from_json(overhead),
        cluster=None if cluster is None else Cluster.from_json(cluster),
        **others,
    )


def contents(modules: list[str]) -> dict[str, Any]:
    """Return the versions of all distributions and what is wrong with the modules, by importing them."""
    import importlib
    from importlib.metadata import distributions

    from zerowait.adapters.environments.environments import normalized

    problems = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is what is wrong with it
            problems.append(f"{module} cannot be imported: {type(error).__name__}: {error}")
    versions: dict[str, str] = {}
    for found in distributions():
        versions.setdefault(normalized(found.name), found.version)  # of several, the first one is imported
    return {"versions": versions, "problems": problems}


def _adapter(place: str, parameters: Mapping[str, Any]) -> Adapter:
    adapter: Adapter = pkgutil.resolve_name(place)(**parameters)
    return adapter


def _benchmark(described: Mapping[str, Any]) -> Benchmark:
    benchmark: Benchmark = FactorySpec.from_json(described["factory_spec"]).make()
    if benchmark.label != described["label"]:
        raise SpecificationError(
            f"the benchmark {described['label']!r} was changed after it had been loaded: loaded again it is "
            f"{benchmark.label!r}; give its parameters to benchmarks.load"
        )
    return benchmark
