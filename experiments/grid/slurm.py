"""Runs cells as Slurm jobs, which dask-jobqueue submits."""

from __future__ import annotations

import contextlib
import inspect
import logging
import shutil
import tempfile
import tomllib
from typing import TYPE_CHECKING, Any

from zerowait.adapters.environments import isolation
from zerowait.experiments.grid.engines import CONFIGURATION, Workers, close_client, interrupts_blocked, run_on
from zerowait.experiments.studies.study import suggestion
from zerowait.suite.rules.errors import SpecificationError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from distributed import Client

    from zerowait.experiments.grid.attempts import CellFolders
    from zerowait.experiments.grid.cells import Cell, Outcome

DEFAULTS: Mapping[str, Any] = {"cores": 1, "processes": 1, "memory": "4GB"}
"""Of a job, where the options say nothing else: a run keeps one core busy."""
PROLOGUE = [
    *(f"export {name}={value}" for name, value in isolation.ENVIRONMENT.items()),
    "export DASK_DISTRIBUTED__WORKER__DAEMON=False",  # a cell may start processes of its own
]
"""What every job does before it starts its worker."""
CLOSE_SECONDS = 10
"""How long the jobs may take to be cancelled."""
RESUBMIT_SECONDS = 60
"""So often jobs are submitted in the place of those that have ended, at their time limit say."""

_OURS = {
    "self", "scheduler", "name", "loop", "asynchronous", "job_cls", "scheduler_cls", "security", "protocol",
    "n_workers", "silence_logs", "dashboard_address", "host", "base_class_kwargs", "job_kwargs",
    # What dask-jobqueue has renamed.
    "project", "extra", "env_extra", "header_skip", "job_extra",
}  # fmt: skip


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Return options for dask-jobqueue, each given as `key=value` with a value of TOML or a plain text.

    Raises
    ------
    SpecificationError
        An option is not written so, or dask-jobqueue does not know it; the message lists what it knows.
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise SpecificationError(f"--slurm-option is {text!r}; it must be KEY=VALUE, such as queue=long")
        if key not in allowed_options():
            raise SpecificationError(
                f"--slurm-option has {key!r}, which is no option of dask-jobqueue; {suggestion(key, allowed_options())}"
            )
        options[key] = _value(value.strip())
    return options


def allowed_options() -> set[str]:
    """Return the names of the options that dask-jobqueue takes for Slurm and that are not ours to set."""
    from dask_jobqueue.core import Job, JobQueueCluster
    from dask_jobqueue.slurm import SLURMCluster

    constructors = (SLURMCluster.job_cls.__init__, Job.__init__, JobQueueCluster.__init__)
    return {name for constructor in constructors for name in inspect.signature(constructor).parameters} - _OURS


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class Slurm:
    """Runs cells in so many Slurm jobs; jobs that end are submitted again until the study is finished.

    Parameters
    ----------
    jobs
        Number of jobs.
    options
        Arguments of `dask_jobqueue.SLURMCluster`, in the place of `DEFAULTS` and of its own configuration file.
    tell
        Called with a line that the person should read.

    Raises
    ------
    SpecificationError
        There is no Slurm here.
    """

    def __init__(self, jobs: int, options: Mapping[str, Any], tell: Callable[[str], object] = str) -> None:
        if shutil.which("sbatch") is None:
            raise SpecificationError(
                "--slurm needs the command sbatch, which is not there; log in to a node that submits jobs, or use "
                "--scheduler"
            )
        self._jobs, self._options, self._tell = jobs, dict(options), tell

    def run(self, cells: Sequence[Cell], folders: CellFolders) -> Generator[Outcome]:
        """Yield the outcome of every cell, as they end."""
        if not cells:
            return
        jobs = min(self._jobs, len(cells))
        # Certificates and logs lie beside the cells, which the nodes share anyway; only the owner can read them.
        temporary = tempfile.TemporaryDirectory(prefix=".slurm-", dir=folders.path.parent, ignore_cleanup_errors=True)
        with temporary as shared, self._cluster(jobs, shared) as client:
            self._tell(f"{jobs} jobs are submitted; cells begin when Slurm starts the first (squeue --me shows them)")
            yield from run_on(client, Workers(client), cells, folders)

    @contextlib.contextmanager
    def _cluster(self, jobs: int, shared: str) -> Iterator[Client]:
        import dask
        from dask_jobqueue.slurm import SLURMCluster
        from distributed import Client
        from distributed.security import Security

        options = {**DEFAULTS, **self._options}
        options["job_script_prologue"] = [*PROLOGUE, *options.get("job_script_prologue", ())]
        options.setdefault("shared_temp_directory", shared)
        options.setdefault("local_directory", shared)
        # Without this, the scheduler listens on the usual port even though there is no dashboard.
        scheduler = {"dashboard_address": "127.0.0.1:0", "dashboard": False, **options.pop("scheduler_options", {})}
        with _quiet(), dask.config.set(CONFIGURATION), contextlib.ExitStack() as stack:
            with interrupts_blocked():
                try:
                    cluster = SLURMCluster(
                        # A scheduler runs what it is sent: certificates keep every other user of the cluster out.
                        security=Security.temporary(),  # type: ignore[no-untyped-call]
                        protocol="tls://",
                        scheduler_options=scheduler,
                        silence_logs=logging.CRITICAL,
                        **options,
                    )
                except (ValueError, TypeError, OSError, RuntimeError) as error:
                    raise SpecificationError(
                        f"dask-jobqueue does not take these options ({one_line(error)}); correct --slurm-option"
                    ) from None
                stack.callback(_close, cluster, self._tell)
                client = Client(cluster)  # type: ignore[no-untyped-call]
                stack.callback(close_client, client)
            _submit(cluster, jobs)
            cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs, interval=f"{RESUBMIT_SECONDS}s")
            yield client


def _submit(cluster: Any, jobs: int) -> None:
    """Submit the jobs and return when Slurm has taken them."""
    from distributed.core import Status

    cluster.scale(jobs=jobs)

    async def submitted() -> None:
        await cluster
        for job in cluster.workers.values():
            if job.job_id is None:
                job.status = Status.failed
                await job.start()  # raises what sbatch said, which `scale` has only logged

    try:
        cluster.sync(submitted)
    except RuntimeError as error:
        raise SpecificationError(f"Slurm did not take the jobs ({one_line(error)}); correct --slurm-option") from None


def _close(cluster: Any, tell: Callable[[str], object]) -> None:
    """Cancel the jobs, and remove the files of certificates while their folder is there."""
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        tell("the jobs could not be cancelled in time; see squeue --me for what is left, and end it with scancel")
    for name in ("ca_file", "cert", "key"):
        getattr(cluster, f"_job_{name}").close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing of Dask and its event loop: what matters is told in one line."""
    from distributed.utils import silence_logging_cmgr

    before = {logging.getLogger(name): logging.getLogger(name).level for name in ("asyncio", "tornado.application")}
    for logger in before:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with silence_logging_cmgr(logging.CRITICAL):
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
