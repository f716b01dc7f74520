"""One surrogate of JAHS-Bench-201: a pickled pipeline, read once per process and asked one row at a time.

The pipeline (one-hot encoding, gradient-boosted trees, scaled targets) spends milliseconds on a row, nearly all of it
in checks and data frames. Here its numbers are taken out of it: a row of float32, filled by dictionary, goes straight
to the trees. Both ways are compared, bit by bit, when a surrogate is read.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Values: TypeAlias = Mapping[str, Any]
    Inverse: TypeAlias = Callable[[NDArray[np.float32]], NDArray[Any]]

INSTALL = "pip install 'zerowait[jahs]'"
WRITTEN_WITH = "scikit-learn 1.0.2 and xgboost 1.5"
# Tried with pickles of 1.5.2: xgboost 2.1.4 and 3.0.5 read them, 3.2.0 does not.
REMEDY = (
    f"the official surrogates were pickled with {WRITTEN_WITH}, which xgboost 3.0 still reads and newer ones do not: "
    "pip install 'xgboost-cpu==3.0.5'"
)
_COMPARED = 16


class NotRecognisedError(Exception):
    """A pipeline is not built as the published ones are; the message says where it differs."""


class Surrogate:
    """Predicts one metric of one training.

    Parameters
    ----------
    model
        The unpickled pipeline: a ColumnTransformer, then an XGBRegressor in any number of TransformedTargetRegressors.
    names
        The columns of its input; None takes those that the pipeline has remembered.
    """

    def __init__(self, model: Any, names: Sequence[str] | None = None) -> None:
        import numpy as np

        steps = [step for _, step in getattr(model, "steps", [])]
        if len(steps) != 2:  # noqa: PLR2004 - encoder and regressor
            raise NotRecognisedError(f"it is a {type(model).__name__} with {len(steps)} steps, not a pipeline of two")
        encoder, regressor = steps
        if getattr(encoder, "sparse_output_", False):
            raise NotRecognisedError("its encoder makes sparse rows, in which a zero counts as missing")
        remembered = getattr(encoder, "feature_names_in_", None) if names is None else names
        if remembered is None:
            raise NotRecognisedError("its encoder does not know the names of its columns")
        self.names = tuple(str(name) for name in remembered)
        self._codes, self._plain, width = _places(encoder, self.names)
        inverses: list[Inverse] = []
        while hasattr(regressor, "regressor_"):
            inverses.insert(0, _inverse(regressor.transformer_))
            regressor = regressor.regressor_
        self._inverses = tuple(inverses)
        self._booster = regressor.get_booster()
        # Many processes ask for one row each: a pool of threads would only cost.
        self._booster.set_param({"nthread": 1})
        self._empty = np.zeros((1, width), dtype=np.float32)

    def __call__(self, values: Values) -> float:
        """Return the prediction for the values of all columns, by name.

        Raises
        ------
        DamagedDataError
            The surrogate was trained without one of these values.
        """
        row = self._empty.copy()
        for name, places in self._codes:
            try:
                place = places[values[name]]
            except KeyError:
                raise DamagedDataError(
                    f"the surrogate has never seen the value {values[name]!r} of {name!r}, only {list(places)}; "
                    "get the official one"
                ) from None
            if place is not None:
                row[0, place] = 1.0
        for name, place in self._plain:
            row[0, place] = values[name]
        prediction = self._booster.inplace_predict(row, validate_features=False).reshape(1, 1)
        for inverse in self._inverses:
            prediction = inverse(prediction)
        return float(prediction[0, 0])


class Slow:
    """Asks a pipeline that is not recognised by its own `predict`, a data frame for every row.

    Parameters
    ----------
    model
        The unpickled pipeline.
    names
        The columns of its input.
    """

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        self._model = model
        self.names = tuple(names)

    def __call__(self, values: Values) -> float:
        """Return the prediction for the values of all columns, by name."""
        return predictions(self._model, self.names, [values])[0]


def predictions(model: Any, names: Sequence[str], rows: Sequence[Values]) -> list[float]:
    """Return what a pipeline's own `predict` says for some rows."""
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame([{name: row[name] for name in names} for row in rows], columns=list(names))
    found: list[float] = np.asarray(model.predict(frame)).reshape(len(rows), -1)[:, 0].astype(float).tolist()
    return found


@functools.lru_cache(maxsize=32)
def open_surrogate(folder: Path, samples: Callable[[int], Sequence[Values]]) -> Surrogate | Slow:
    """Return the surrogate of a folder in the official layout; it is unpickled once per process.

    Only for folders that are trusted: a pickle runs whatever its author wrote into it.

    Parameters
    ----------
    folder
        Holds `model.pkl.gz` and, read only when the model has not remembered its columns, `params.pkl.gz`.
    samples
        Returns so many rows, of which the predictions are compared with the pipeline's own.

    Raises
    ------
    DataMissingError
        A file or a library is absent, or the libraries cannot read what other versions have written; the message names
        the versions and the remedy.
    DamagedDataError
        A file is no such pickle.
    """
    model, version, installed = _read(folder / "model.pkl.gz")
    names = getattr(dict(getattr(model, "steps", [])).get("preprocess"), "feature_names_in_", None)
    if names is None:
        params, _, _ = _read(folder / "params.pkl.gz")
        names = params["feature_headers"]
    names = [str(name) for name in names]
    same_version = version is None or version.split(".")[:2] == installed.split(".")[:2]
    try:
        surrogate = Surrogate(model, names)
    except (NotRecognisedError, AttributeError) as error:
        if not same_version:
            raise DataMissingError(
                f"{folder}: the pipeline was pickled with scikit-learn {version}, {installed} is installed, and it "
                f"cannot be read without that version's own code: {error}; pip install 'scikit-learn=={version}' in an "
                "environment whose Python has it (1.0.2 needs 3.10 or older)"
            ) from error
        warnings.warn(f"{folder}: {error}; it is asked through its own pipeline, slowly", RuntimeWarning, stacklevel=2)
        return Slow(model, names)
    if same_version:  # another version's `predict` says nothing about what the authors computed
        rows = samples(_COMPARED)
        if [surrogate(row) for row in rows] != predictions(model, names, rows):
            warnings.warn(
                f"{folder}: its pipeline predicts other numbers than its parts; it is asked as a whole, slowly",
                RuntimeWarning,
                stacklevel=2,
            )
            return Slow(model, names)
    return surrogate


def _read(path: Path) -> tuple[Any, str | None, str]:
    """Unpickle a file; return it with the scikit-learn that wrote it, None for the installed one, and the latter."""
    try:
        import joblib
        import sklearn  # type: ignore[import-untyped]
        import xgboost
    except ImportError as error:
        raise DataMissingError(f"{path} needs the package {error.name}, which is not installed: {INSTALL}") from error
    installed = f"scikit-learn {sklearn.__version__} and xgboost {xgboost.__version__}"
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = joblib.load(path)
    except OSError as error:
        what = error.strerror or " ".join(str(error).split())
        raise DataMissingError(f"{path} cannot be read: {what}; get it with: zerowait data fetch jahs") from error
    except ModuleNotFoundError as error:
        raise DataMissingError(
            f"{path} refers to the package {error.name}, which is not installed: pip install --no-deps {error.name}"
        ) from error
    except xgboost.core.XGBoostError as error:
        first = str(error).splitlines()[0]
        raise DataMissingError(f"{path} cannot be read by {installed} ({first}); {REMEDY}") from error
    except (AttributeError, ImportError, TypeError) as error:  # a class or an argument that a version does not have
        raise DataMissingError(f"{path} cannot be read by {installed} ({error}); {REMEDY}") from error
    except Exception as error:  # a damaged pickle may raise anything
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DamagedDataError(
            f"{path} is no pickle that {installed} can read ({what}); get it again with: zerowait data fetch jahs"
        ) from error
    # scikit-learn warns of objects that another version has written, and tells nowhere else which one that was.
    others = [getattr(warning.message, "original_sklearn_version", None) for warning in warned]
    return found, next((version for version in others if version is not None), None), sklearn.__version__


def _places(
    encoder: Any, names: tuple[str, ...]
) -> tuple[tuple[tuple[str, dict[Any, int | None]], ...], tuple[tuple[str, int], ...], int]:
    """Return where in a row each category sets a 1 (None: dropped), where each number goes, and the row's width."""
    codes: list[tuple[str, dict[Any, int | None]]] = []
    plain: list[tuple[str, int]] = []
    width = 0
    for _, part, chosen in encoder.transformers_:
        columns = [names[column] if isinstance(column, int) else str(column) for column in chosen]
        kind = part if isinstance(part, str) else type(part).__name__
        if kind == "passthrough" or (kind == "FunctionTransformer" and part.func is None):
            for column in columns:
                plain.append((column, width))
                width += 1
        elif kind == "OneHotEncoder":
            dropped = [None] * len(columns) if part.drop_idx_ is None else list(part.drop_idx_)
            for column, categories, without in zip(columns, part.categories_, dropped, strict=True):
                places: dict[Any, int | None] = {}
                for i, category in enumerate(categories.tolist()):
                    places[category] = None if i == without else width
                    width += i != without
                codes.append((column, places))
        elif kind != "drop" and columns:
            raise NotRecognisedError(f"its columns {', '.join(columns)} go through a {kind}")
    return tuple(codes), tuple(plain), width


def _inverse(transformer: Any) -> Inverse:
    """Return how a scaled target becomes what it was, with the arithmetic of scikit-learn."""
    kind = type(transformer).__name__
    if kind == "MinMaxScaler":

        def unscaled(scaled: NDArray[np.float32]) -> NDArray[Any]:
            scaled -= transformer.min_  # in place, as there: each step is rounded to float32
            scaled /= transformer.scale_
            return scaled

        return unscaled
    if kind == "FunctionTransformer":
        function, arguments = transformer.inverse_func, transformer.inv_kw_args or {}
        return lambda target: target if function is None else function(target, **arguments)
    raise NotRecognisedError(f"its targets go through a {kind}")
