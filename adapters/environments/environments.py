"""Isolated environments: a virtual environment for a library that cannot be installed beside the others.

An environment's folder is named after what decides its content: its name, and a digest of its pinned requirements, the
version of Python and the platform. So versions of zerowait with other pins stand side by side. It is built in its
final place, because a virtual environment cannot be moved, and exists as soon as its manifest does, which is renamed
into place when everything is installed. What a killed creation left has no manifest and is built anew.

zerowait itself is not installed there: whatever runs in the environment runs the code of the caller
(`zerowait.adapters.remote_adapter`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zerowait.suite.rules.errors import SpecificationError, ZerowaitError

REQUIREMENTS = Path(__file__).parent / "requirements"
"""One file `<name>.txt` for each environment, with the exact version of everything that it contains.

What `<name>.no-deps.txt` lists is installed whatever its metadata asks for.
"""

LIBRARIES = {
    "dehb": "dehb",
    "hebo": "HEBO",
    "hpbandster": "hpbandster",
    "neps": "neural-pipeline-search",
    "optuna": "optuna",
    "smac": "smac",
}
"""The library that an environment is for, by the environment's name."""

ROOT_VARIABLE = "ZEROWAIT_ENVIRONMENTS"
"""The environment variable that names the folder of all environments."""

_MANIFEST = "environment.json"
_LOG_LINES = 5
# What would change the installation; where packages come from (index, certificates, proxy) stays the user's choice.
_NOT_INHERITED = (
    "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "PIP_REQUIREMENT", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER",
    "PIP_PYTHON", "PIP_DRY_RUN", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV",
)  # fmt: skip


class EnvironmentFailedError(ZerowaitError, RuntimeError):
    """An isolated environment cannot be made, is damaged or is in use; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An isolated environment, whether it exists or not."""

    name: str
    """What commands call it."""
    folder: Path
    """Where it is."""

    @property
    def library(self) -> str:
        """The distribution that it is for."""
        return LIBRARIES[self.name]

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @property
    def exists(self) -> bool:
        """Whether it is complete and its Python is there."""
        return (self.folder / _MANIFEST).is_file() and os.access(self.interpreter, os.X_OK)

    @property
    def log(self) -> Path:
        """What pip said when it was last built."""
        return self.folder.with_suffix(".log")

    def versions(self) -> dict[str, str]:
        """Return the version of every distribution in it, by normalized name, as its manifest states them."""
        try:
            content = json.loads((self.folder / _MANIFEST).read_text(encoding="utf-8"))
            return dict(content["versions"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EnvironmentFailedError(
                f"the environment {self.name!r} is damaged ({error}); {self.remedy()}"
            ) from None

    def remedy(self) -> str:
        """Return how to get it anew."""
        return f"build it again: zerowait env remove {self.name} && zerowait env create {self.name}"

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep it from being removed.

        Raises
        ------
        EnvironmentFailedError
            It does not exist.
        """
        with self.locked(fcntl.LOCK_SH):
            if not self.exists:
                raise EnvironmentFailedError(f"there is no environment {self.name!r}; {creation(self.name)}")
            yield

    @contextlib.contextmanager
    def locked(self, kind: int, waiting: Callable[[], object] | None = None) -> Iterator[int]:
        """Hold the lock of the environment, whose descriptor is given; the kernel frees that of a dead process.

        Raises
        ------
        BlockingIOError
            Somebody else holds it, and `kind` says not to wait.
        """
        with explained(self.folder.parent, "use the environments"):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if waiting is not None:
                try:
                    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting()
            fcntl.flock(descriptor, kind)
            yield descriptor
        finally:
            os.close(descriptor)


def root() -> Path:
    """Return the folder of all environments: `$ZEROWAIT_ENVIRONMENTS`, else one in the user's data folder."""
    given = os.environ.get(ROOT_VARIABLE)
    if given:
        return Path(given).absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("zerowait")) / "environments"


def environment(name: str) -> Environment:
    """Return the environment of this name, as this version of zerowait and of Python want it.

    Raises
    ------
    SpecificationError
        There is no environment of this name; the message lists those that there are.
    """
    return Environment(name, root() / f"{name}-{_digest(name)}")


def environment_for(library: str) -> Environment | None:
    """Return the environment for a library, or None when zerowait has no requirements for it."""
    for name, known in LIBRARIES.items():
        if normalized(known) == normalized(library):
            return environment(name)
    return None


def creation(name: str) -> str:
    """Return the advice to create an environment."""
    return f"create it with `zerowait env create {name}`"


def requirements(name: str) -> list[str]:
    """Return the pinned requirements of an environment, one a distribution: `name==version`.

    Raises
    ------
    SpecificationError
        There is no environment of this name.
    """
    if name not in LIBRARIES:
        raise SpecificationError(f"there is no environment {name!r}; known are {', '.join(LIBRARIES)}")
    text = "".join(file.read_text(encoding="utf-8") for file in _requirements_files(name))
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def pins(name: str) -> dict[str, str]:
    """Return the version that each distribution of an environment must have, by normalized name."""
    parts = (line.partition("==") for line in requirements(name))
    return {normalized(distribution): version for distribution, _, version in parts}


def distribution_of(requirement: str) -> str:
    """Return the name in a requirement, such as `torch` of `torch>=2; python_version < "3.14"`."""
    found = re.match(r"\s*\"?([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return found[1] if found else requirement


def normalized(distribution: str) -> str:
    """Return the name of a distribution in the one spelling that PyPA's name normalization gives it."""
    return distribution.lower().replace("_", "-").replace(".", "-")


def create(name: str, tell: Callable[[str], object] = str) -> Environment:
    """Build an environment unless it exists, and return it.

    Of several processes that ask at once, one builds and the others wait. When it fails, nothing of it is left but
    pip's log.

    Parameters
    ----------
    name
        Which one.
    tell
        Called with what is going on, a line at a time; what it returns does not matter.

    Raises
    ------
    SpecificationError
        There is no environment of this name.
    EnvironmentFailedError
        A requirement cannot be installed (the message names it), or the folder cannot be written.
    """
    wanted = environment(name)
    with wanted.locked(fcntl.LOCK_EX, lambda: tell(f"{name}: another process is at it; waiting")) as lock:
        if wanted.exists:
            tell(f"{name}: exists in {wanted.folder}")
            return wanted
        tell(f"{name}: installing {len(requirements(name))} distributions in {wanted.folder}")
        try:
            with explained(wanted.folder, f"build the environment {name!r}"):
                shutil.rmtree(wanted.folder, ignore_errors=True)
                _build(wanted, lock)
        except BaseException:
            shutil.rmtree(wanted.folder, ignore_errors=True)
            raise
    tell(f"{name}: ready")
    return wanted


def existing() -> dict[Path, str]:
    """Return the folders of all environments on this machine that are complete or not, with their names."""
    folder = root()
    if not folder.is_dir():
        return {}
    return {
        path: path.name.rpartition("-")[0]
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name.rpartition("-")[0] in LIBRARIES
    }


def remove(name: str) -> list[Path]:
    """Remove an environment, in all its versions, and return the folders that are gone.

    Raises
    ------
    SpecificationError
        There is no environment of this name.
    EnvironmentFailedError
        A run uses it, somebody builds it, or it cannot be deleted.
    """
    requirements(name)
    gone = []
    for folder in [path for path, found in existing().items() if found == name]:
        found = Environment(name, folder)
        try:
            with (
                explained(folder, "remove the environment"),
                found.locked(fcntl.LOCK_EX | fcntl.LOCK_NB),
            ):
                (folder / _MANIFEST).unlink(missing_ok=True)  # from here on it is none
                shutil.rmtree(folder)
                found.log.unlink(missing_ok=True)
        except BlockingIOError:
            raise EnvironmentFailedError(f"{folder} is in use by a run, or being built; try again later") from None
        gone.append(folder)
    return gone


def _build(wanted: Environment, lock: int) -> None:
    """Make the virtual environment and install into it; what is started holds the lock as well.

    A pip that outlives its killed parent goes on writing, and nobody else must begin before it has ended.
    """
    variables = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    wanted.log.unlink(missing_ok=True)

    def run(what: str, *command: str | Path) -> str:
        with wanted.log.open("a+", encoding="utf-8") as log:
            began = log.tell()
            done = subprocess.run(  # noqa: S603 - our own interpreter
                [*map(str, command)], env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                pass_fds=(lock,),
            )  # fmt: skip
            log.seek(began)
            said = log.read()
        if done.returncode:
            raise EnvironmentFailedError(
                f"the environment {wanted.name!r} cannot be built: {what} failed: {_gist(said)} (all of it is in "
                f"{wanted.log}; mend it, then {creation(wanted.name)})"
            )
        return said

    # Our own pip installs there, which saves copying one; without a pip here, the environment gets one.
    if find_spec("pip") is not None:
        run("python -m venv", sys.executable, "-m", "venv", "--without-pip", wanted.folder)
        pip: tuple[str | Path, ...] = (sys.executable, "-m", "pip", "--python", wanted.interpreter)
    else:
        run("python -m venv", sys.executable, "-m", "venv", wanted.folder)
        pip = (wanted.interpreter, "-m", "pip")
    for options, file in zip(((), ("--no-deps",)), _requirements_files(wanted.name), strict=False):
        run(
            "pip install", *pip, "install", *options, "--no-input", "--progress-bar", "off",
            "--disable-pip-version-check", "-r", file,
        )  # fmt: skip
    listing = run("pip list", wanted.interpreter, "-c", _LIST)
    manifest = {
        "name": wanted.name,
        "python": platform.python_version(),
        "versions": json.loads(listing.splitlines()[-1]),
    }
    partial = wanted.folder / (_MANIFEST + ".partial")
    partial.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.rename(wanted.folder / _MANIFEST)


_LIST = (
    "import json; from importlib.metadata import distributions;"
    "print(json.dumps({d.metadata['Name'].lower().replace('_', '-').replace('.', '-'): d.version "
    "for d in distributions()}))"
)


def _gist(said: str) -> str:
    """Return the lines of pip's output that say what is wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if "error" in line.lower()]
    return "; ".join(dict.fromkeys(errors[:_LOG_LINES] or lines[-_LOG_LINES:])) or "it said nothing"


def _requirements_files(name: str) -> list[Path]:
    """Return the requirements of an environment: with dependencies and, if there are such, without."""
    first, second = REQUIREMENTS / f"{name}.txt", REQUIREMENTS / f"{name}.no-deps.txt"
    return [first, second] if second.exists() else [first]


def _digest(name: str) -> str:
    """Return what tells environments of one name apart: pins, version of Python and platform, 8 digits."""
    decided_by: Sequence[Any] = (requirements(name), sys.version_info[:2], sysconfig.get_platform())
    return hashlib.blake2b(json.dumps(decided_by).encode(), digest_size=4).hexdigest()


@contextlib.contextmanager
def explained(folder: Path, what: str) -> Iterator[None]:
    """Turn an operating-system error into one line that says what could not be done where, and what to do."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        from zerowait.suite.sharing.rundir import reason  # imports NumPy, which a listing of optimizers does not need

        raise EnvironmentFailedError(
            f"cannot {what} in {folder}: {reason(error)}; the environment variable {ROOT_VARIABLE} names another folder"
        ) from error
