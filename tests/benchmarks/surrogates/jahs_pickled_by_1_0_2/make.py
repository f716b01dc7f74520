"""Made the files beside this one, with Python 3.9, numpy 1.21.6, pandas 1.4.4, scikit-learn 1.0.2, xgboost 1.5.2.

python make.py FOLDER. It writes `cifar10/<metric>/` in the official layout, with the functions and the pickle protocol
that the authors' own code uses, and `expected.json`: some rows and what the pipelines predict for them. The trees are
few and learn an invented formula.
"""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder
from xgboost import XGBRegressor

folder, rng, n = Path(sys.argv[1]), np.random.default_rng(0), 500
columns = {"N": rng.choice([1, 3, 5], n), "W": rng.choice([4, 8, 16], n)}
columns.update({f"Op{i}": rng.integers(0, 5, n) for i in range(1, 7)})
columns["Resolution"] = rng.choice([0.25, 0.5, 1.0], n)
columns["TrivialAugment"] = rng.choice([True, False], n)
columns["Activation"] = rng.choice(["ReLU", "Hardswish", "Mish"], n)
columns["Optimizer"] = "SGD"
columns["LearningRate"] = 10 ** rng.uniform(-3, 0, n)
columns["WeightDecay"] = 10 ** rng.uniform(-5, -2, n)
columns["epoch"] = rng.integers(1, 201, n)
features = pd.DataFrame(columns)
categorical = [f"Op{i}" for i in range(1, 7)] + ["TrivialAugment", "Activation", "Optimizer"]
labels = {
    "valid-acc": 60 + 4 * features.N - 3 * np.log10(features.LearningRate) ** 2 + 5 * features.TrivialAugment,
    "runtime": features.epoch * features.W * features.N * (features.Activation == "Mish").add(1),
}
expected = {"rows": json.loads(features[:20].to_json(orient="records", double_precision=15))}
for metric, label in labels.items():
    encoder = ColumnTransformer(
        [("OneHotEncoder", OneHotEncoder(drop="if_binary"), categorical)], remainder="passthrough"
    )
    trees = XGBRegressor(n_estimators=4, max_depth=3, n_jobs=1, objective="reg:squarederror")
    estimator = TransformedTargetRegressor(transformer=MinMaxScaler(), regressor=trees)
    model = Pipeline([("preprocess", encoder), ("estimator", estimator)]).fit(features, label.to_frame(metric))
    place = folder / "cifar10" / metric
    place.mkdir(parents=True)
    params = {"trained_": True, "feature_headers": features.columns, "label_headers": pd.Index([metric])}
    joblib.dump(params, place / "params.pkl.gz", protocol=0)
    pd.Index([metric]).to_series().to_pickle(place / "label_headers.pkl.gz", protocol=0)
    joblib.dump(model, place / "model.pkl.gz", protocol=0)
    rows = pd.DataFrame(expected["rows"])[features.columns]
    expected[metric] = np.ravel(model.predict(rows)).astype(float).tolist()
(folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
