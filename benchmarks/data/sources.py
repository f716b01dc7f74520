"""The data that benchmarks read: what it is, who needs it, where it is looked for, and where it comes from.

Everything lies below one folder, `$ZEROWAIT_DATA` or the user's data folder, one sub-folder for each data set. Nothing
here opens a connection: its neighbour `fetching` gets what is missing, `verification` examines what is there.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from itertools import product
from pathlib import Path

from zerowait.benchmarks.data.errors import DataMissingError
from zerowait.suite.rules.errors import SpecificationError

DOWNLOADS = "downloads"
"""The folder, below the data folder, in which archives wait to be unpacked, put there by a person or by us."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file of an official source."""

    url: str
    """The official address."""
    path: str
    """What to save it as, relative to the data set's folder of downloads; a plain file keeps this path in the data."""
    size: int | None = None
    """Its bytes, where they are known exactly."""
    sha256: str | None = None
    """Its SHA-256 digest in hexadecimal, or "git:" and the id of its blob in the authors' repository, where known."""
    archive: bool = False
    """Whether it is a zip or tar that has to be unpacked."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """What one or several benchmarks read from disk."""

    name: str
    """The name that `zerowait data fetch` takes."""
    description: str
    """One line: what it holds."""
    benchmarks: tuple[str, ...]
    """The benchmarks that read it."""
    files: tuple[str, ...]
    """The files that must be there, relative to `place`; an archive may hold more."""
    licence: str
    """The licence of the data."""
    source: str
    """Where its authors publish and describe it."""
    size: str
    """What has to be downloaded, in words, and how much room it takes unpacked."""
    downloads: tuple[Download, ...]
    """The files of the official source."""
    folder: str
    """Its folder, relative to the data folder."""
    inner: str = "."
    """Where in its folder the files lie, as in the official layout."""
    convert: str = ""
    """What turns it into arrays once it is there, `module:function(report)`; empty when it is read as it is."""
    package: tuple[str, str, str] | None = None
    """A Python package that holds it as well, where it is installed: its name, version and folder."""

    @property
    def home(self) -> Path:
        """Its folder; that of the package where the data folder has none and the package is installed."""
        own = data_folder() / self.folder
        if self.package is not None and not own.exists():
            name, version, folder = self.package
            with contextlib.suppress(PackageNotFoundError):
                installed = distribution(name)
                if installed.version == version:
                    return Path(str(installed.locate_file(folder)))
        return own

    @property
    def place(self) -> Path:
        """The folder in which its files lie."""
        return self.home / self.inner

    @property
    def waiting(self) -> Path:
        """The folder of its downloads."""
        return data_folder() / DOWNLOADS / self.name

    @property
    def command(self) -> str:
        """The command that gets it."""
        return f"zerowait data fetch {self.name}"

    def sizes(self) -> dict[str, int]:
        """Return the bytes of those files whose size is known beforehand."""
        return {d.path: d.size for d in self.downloads if not d.archive and d.size is not None}

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 digests of those files whose digest is known beforehand."""
        return {d.path: d.sha256 for d in self.downloads if not d.archive and d.sha256 is not None}

    def missing(self) -> list[str]:
        """Return the files that are not there, or are there with another size than they must have."""
        sizes, place = self.sizes(), self.place
        return [name for name in self.files if not _is_whole(place / name, sizes.get(name))]

    def missing_reason(self) -> str | None:
        """Tell what is not there and which command gets it; None when all is there."""
        missing = self.missing()
        if not missing:
            return None
        others = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
        return f"{self.place / missing[0]}{others} not found or incomplete; get the data with: {self.command}"

    def check(self) -> Path:
        """Return the folder of its files.

        Raises
        ------
        DataMissingError
            Something is not there; the message names the first file and the command that gets it.
        """
        reason = self.missing_reason()
        if reason is not None:
            raise DataMissingError(reason)
        return self.place


def data_folder() -> Path:
    """Return the folder of the benchmarks' data: `$ZEROWAIT_DATA`, else the user's data folder."""
    given = os.environ.get("ZEROWAIT_DATA")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_data_dir("zerowait"))


def data_set(name: str) -> DataSet:
    """Return a data set by its name, or raise `SpecificationError` with the names that there are."""
    for found in DATA_SETS:
        if found.name == name:
            return found
    names = ", ".join(found.name for found in DATA_SETS)
    raise SpecificationError(f"the data {name!r} is unknown; it must be one of: {names}")


def _is_whole(path: Path, size: int | None) -> bool:
    return path.is_file() and (size is None or path.stat().st_size == size)


# -- the official sources ---------------------------------------------------------------------------------------------

# One commit, so that the digests stay those of the files.
_YAHPO = "https://raw.githubusercontent.com/slds-lmu/yahpo_data/efdab9072f63bd680396cd4b78b927c4a0caaad3"
_YAHPO_HOME = "https://github.com/slds-lmu/yahpo_data"


# Scenario, file, bytes and SHA-256.
_YAHPO_FILES = (
    ("lcbench", "model.onnx", 2153124, "b45c0d85ae39abf8820c8bea5ac82f415763afcbaf3b725e36af452b09cb6dcd"),
    ("lcbench", "encoding.json", 507, "d8af928f412bbeb07e58ecd69877fcab35fbc595333d1c1c3f76120d2f2508da"),
    ("lcbench", "config_space.json", 2151, "4d1c78a91429b4a37628e13f286cf1abe15f778a09722a4c01714f2d72a8200d"),
    ("iaml_glmnet", "model.onnx", 867133, "5c9b1541e37604993098ba23b04695bfe38d009108e9de0a26c3f161265b5a7a"),
    ("iaml_glmnet", "encoding.json", 70, "e04ffd8c9bfdcb2e8b9c08c38d828e40d7be3ef90c8895f3e7e84b8b4348c3d1"),
    ("iaml_glmnet", "config_space.json", 838, "0ad5fb8f4205f54be13ded2af5f9b34f840914dc0457f1ed6be215b7885fb0f9"),
    ("rbv2_rpart", "model.onnx", 1827105, "af34bb810107fd809bdd74be227685fb2a1c5cb7b1f3c2dde5629e42ef6819f3"),
    ("rbv2_rpart", "encoding.json", 1513, "e978cd3de5b8fbad4f7dbb7a15bed94738d37c24a0bfb3cbdf33509ba91df49c"),
    ("rbv2_rpart", "config_space.json", 2228, "86de5b9c8f9bc2f82eaafa099b9920445ce6edbe56509c9736af71d53ef4a630"),
    ("rbv2_xgboost", "model.onnx", 3335828, "85125b6d97f553d10cd50f9e632e1a3f1ad44bcb00300dd2880d70dfd043d9f3"),
    ("rbv2_xgboost", "encoding.json", 1604, "0bd3cf9a4c9459a3148adf740f20b347fd11a6714f89348f41467a8f1206172a"),
    ("rbv2_xgboost", "config_space.json", 4955, "acf4485d314d86801f61b615d64ffea7859c414c363da9e7f943621468ebbda4"),
)
_LCBENCH = tuple(
    Download(f"{_YAHPO}/{of}/{name}", name, size, sha256) for of, name, size, sha256 in _YAHPO_FILES if of == "lcbench"
)
_SCENARIOS = tuple(
    Download(f"{_YAHPO}/{of}/{name}", f"{of}/{name}", size, sha256)
    for of, name, size, sha256 in _YAHPO_FILES
    if of != "lcbench"
)

LCBENCH_RAW_COMMIT = "42ea3c2f1138920d62a089fefd793490a801233e"
_LCBENCH_RAW = f"https://raw.githubusercontent.com/ltiao/LCBenchLite/{LCBENCH_RAW_COMMIT}"
# The ids of the files in that commit, by the name of the task's folder.
LCBENCH_RAW_METRICS = {
    "APSFailure": "a66642c71e7086101d6f5feb75b0f5f14a8551c1",
    "Amazon_employee_access": "baee5d9346abf7df207c555b199f7519308c72e9",
    "Australian": "19d1fc1928be8078b8ca15051ca18bca114ae6ff",
    "Fashion-MNIST": "ec8a2bf8259c484f51d8d837a7a31b8da8469ac4",
    "KDDCup09_appetency": "8ec234c69b063948a56283ceaffb01bfd9d23a1f",
    "MiniBooNE": "c1406d2ff8f513d6b48d5b11ad39d2f9e60a699e",
    "adult": "370cfba6a8626ad29ccc556bb39bf59c88aa2032",
    "airlines": "50c62d2d81c0778836f162f75a0e3052bcdd1f6f",
    "albert": "01ae4956b7e8b0660c589707d8e1179553b9504c",
    "bank-marketing": "ec4c3428214518a4f079b5e22739256e1f45a01f",
    "blood-transfusion-service-center": "4e0e183e241038dace8d76cff49dbafff54223d3",
    "car": "a39b6894ce5ee63b11fba3a940d5571e5d420d12",
    "christine": "61a853987e2cbb2cbb40474c74e2722bc1843789",
    "cnae-9": "3ecd97499814b88095ce3d9d2787af1722926957",
    "connect-4": "589c37574c135a53beb40f7b759aabb84e1de739",
    "covertype": "d519888deaee290b5fff287a8805c205625b810b",
    "credit-g": "b5044ff510d21693000f075471625c82f9e40edb",
    "dionis": "7b8037e468936068223b3ac189479f0e60611e4f",
    "fabert": "fdf28d006ff23e2017520cbf7cdced459e213672",
    "helena": "7b7abae9423ca226892b1d024e9ce342c04284a2",
    "higgs": "57a6e6027c68240b67132a1fac8c57574595d497",
    "jannis": "4da13404ff429a5914e5f7981c8df8f9870ac2c1",
    "jasmine": "a78da34cc8e0a5aaed6394e45066d7cf4bb8b4da",
    "jungle_chess_2pcs_raw_endgame_complete": "b36db29eeaefbfdc79f8f816815ed1a5a2619dad",
    "kc1": "8c8d7cc9c1be5bed8c94c9988ed0dc56c878387a",
    "kr-vs-kp": "8e40b5d0b49cdfc97c281e2349967ffff993a21f",
    "mfeat-factors": "e95e001990166000cba014eae7769606fd644ef5",
    "nomao": "03ea4fdef48fbc779c969c6264e31b5096b91a0e",
    "numerai28.6": "491c18aff81a065fc6514c0eb66590f80f8e6a72",
    "phoneme": "b8e6504a599a77fa62b61e62af4d735ad93f55f7",
    "segment": "80a84c7fe06045bc61b4c51e5894aaf13c4e356f",
    "shuttle": "613c51facb32a0cd79df8f7cd3bfe8a578488777",
    "sylvine": "c77ff2a321d4d478a7fdceb2f9760a8a33f05e4b",
    "vehicle": "c49121fc10cef45b38bfe70aa5d07bb2f5131d3b",
    "volkert": "cc1287ad38f085dfa0a8a9ab223c854495f7c4db",
}
_LCBENCH_RAW_FILES = (
    Download(
        f"{_LCBENCH_RAW}/APSFailure/config.parquet.gzip",  # the same for every task
        "APSFailure/config.parquet.gzip",
        98451,
        "33449329b02a0e516530f4fadaaa106e7ccec4f435b951fe8c0ce7f3b8abbce6",
    ),
    *(
        Download(f"{_LCBENCH_RAW}/{name}/metrics.parquet.gzip", f"{name}/metrics.parquet.gzip", None, f"git:{blob}")
        for name, blob in LCBENCH_RAW_METRICS.items()
    ),
)

_HPOBENCH_TASKS = (31, 53, 3917, 9952, 10101, 146818, 146821, 146822)
_HPOLIB_TASKS = ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
_JAHS_TASKS = ("cifar10", "colorectal_histology", "fashion_mnist")
_JAHS_METRICS = ("FLOPS", "latency", "runtime", "size_MB", "test-acc", "train-acc", "valid-acc")
_JAHS_PARTS = ("params.pkl.gz", "label_headers.pkl.gz", "model.pkl.gz")

DATA_SETS = (
    DataSet(
        name="lcbench",
        description="YAHPO Gym's surrogate of LCBench: 34 OpenML tasks, epochs 1 to 52",
        benchmarks=("lcbench",),
        files=tuple(d.path for d in _LCBENCH),
        licence="Apache-2.0",
        source=_YAHPO_HOME,
        size="2.2 MB",
        downloads=_LCBENCH,
        folder="lcbench",
    ),
    DataSet(
        name="lcbench_raw",
        description="LCBench itself: 2,000 real trainings of 50 epochs on each of 35 OpenML tasks",
        benchmarks=("lcbench_raw",),
        files=tuple(d.path for d in _LCBENCH_RAW_FILES),
        licence="Apache-2.0",
        source="https://github.com/ltiao/LCBenchLite",
        size="about 150 MB; a file a task",
        downloads=_LCBENCH_RAW_FILES,
        folder="lcbench_raw",
        convert="zerowait.benchmarks.tables.lcbench_raw:convert_official",
    ),
    DataSet(
        name="scan_bench",
        description="ScAn-Bench's 1,500 real trainings of OpenCLIP, 2 to 10 epochs",
        benchmarks=("scan_bench",),
        files=("vlm/data.csv",),
        licence="MIT (the package), CC BY-SA 4.0 (the data)",
        source="https://github.com/automl/scan_bench",
        size="24 MB, unpacked 86 MB",
        downloads=(
            Download(
                "https://files.pythonhosted.org/packages/39/88/5132bf51f2a0a2415a81c39ee024ee3b2989797d19bfb9bc9e90a647f48e/"
                "scan_bench-0.2.3-py3-none-any.whl",
                "scan_bench-0.2.3-py3-none-any.whl",
                24087153,
                "7b22afb7ffc70063d03d41dde5fec9af7a9ed90e79c6a47cf58dac4429450029",
                archive=True,
            ),
        ),
        folder="scan_bench",
        convert="zerowait.benchmarks.tables.scan_bench:convert_official",
        package=("scan-bench", "0.2.3", "scan_bench"),
    ),
    DataSet(
        name="yahpo",
        description="YAHPO Gym's surrogates rbv2_xgboost (119 tasks), rbv2_rpart (117) and iaml_glmnet (4)",
        benchmarks=("iaml_glmnet", "rbv2_rpart", "rbv2_xgboost"),
        files=tuple(d.path for d in _SCENARIOS),
        licence="Apache-2.0",
        source=_YAHPO_HOME,
        size="6.0 MB",
        downloads=_SCENARIOS,
        folder="yahpo",
    ),
    DataSet(
        name="hpobench",
        description="HPOBench's perceptrons at 3, 9, 27, 81 and 243 epochs, 8 tasks",
        benchmarks=("hpobench",),
        files=tuple(
            f"{task}/nn_{task}_{part}"
            for task, part in product(_HPOBENCH_TASKS, ("data.parquet.gzip", "metadata.json"))
        ),
        licence="Apache-2.0",
        source="https://github.com/automl/HPOBench",
        size="about 330 MB",
        downloads=(Download("https://ndownloader.figshare.com/files/30379005", "nn.zip", archive=True),),
        folder="hpobench",
        inner="TabularData/nn",
        convert="zerowait.benchmarks.tables.hpobench:TABLE.convert_official",
    ),
    DataSet(
        name="hpolib",
        description="HPOlib's regression networks at every epoch from 1 to 100, 4 tasks",
        benchmarks=("hpolib",),
        files=tuple(f"fcnet_{task}_data.hdf5" for task in _HPOLIB_TASKS),
        licence="BSD-3-Clause",
        source="https://github.com/automl/nas_benchmarks",
        size="not stated by its authors; about 3.2 GB unpacked, by its layout",
        downloads=(
            Download(
                "http://ml4aad.org/wp-content/uploads/2019/01/fcnet_tabular_benchmarks.tar.gz",
                "fcnet_tabular_benchmarks.tar.gz",
                archive=True,
            ),
        ),
        folder="hpolib",
        inner="fcnet_tabular_benchmarks",
        convert="zerowait.benchmarks.tables.hpolib:TABLE.convert_official",
    ),
    DataSet(
        name="jahs",
        description="JAHS-Bench-201's surrogates v1.1.0 (pickles), epochs 1 to 200, 3 tasks",
        benchmarks=("jahs",),
        files=tuple("/".join(parts) for parts in product(_JAHS_TASKS, _JAHS_METRICS, _JAHS_PARTS)),
        licence="MIT",
        source="https://github.com/automl/jahs_bench_201",
        size="about 1.6 GB",
        downloads=(
            Download(
                "https://ml.informatik.uni-freiburg.de/research-artifacts/jahs_bench_201/v1.1.0/assembled_surrogates.tar",
                "assembled_surrogates.tar",
                archive=True,
            ),
        ),
        folder="jahs",
        inner="assembled_surrogates",
    ),
)
"""Every data set that benchmarks read from the data folder."""
