#!/usr/bin/env bash
# mlflow-skinny 3.17.2, seen with Python 3.11.
#
# Expected: mlflow-skinny, MLflow without its server and its heavy dependencies, logs a run to a folder of this machine,
# as MLflow's default always was (./mlruns); where that is not offered any more, the way out that its message names works.
#
# Seen: no store of this machine works as installed. A folder, given or by default, is refused, and the message advises a
# database, such as sqlite:///mlflow.db; with that a run is refused too, by a message about the model registry that lists
# the schemes it knows and does not say what is missing: sqlalchemy and alembic, which the package does not depend on.
# With both of them sqlite works, and a folder does where MLFLOW_ALLOW_FILE_STORE=true is set.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check mlflow-skinny==3.17.2
cd "$folder"
cat > look.py <<'PYTHON'
import sys

import mlflow
from mlflow.exceptions import MlflowException


def log(uri):
    """The first words of the refusal, or what was logged."""
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run() as run:
            mlflow.log_metric("score", 0.5)
    except MlflowException as error:
        return str(error)
    return mlflow.get_run(run.info.run_id).data.metrics


place, *expected = sys.argv[1:]
found = log(place.replace("HERE", "."))
print(f"{place}: {str(found)[:150]}")
for words in expected:
    assert words in str(found), "MLflow no longer does this"
PYTHON
run() { venv/bin/python look.py "$@" 2> log.txt || { cat log.txt; return 1; }; }
run "file:HERE/runs" "maintenance mode" "sqlite:///mlflow.db"
run "sqlite:///mlflow.db" "Model registry functionality is unavailable" "Supported URI schemes are"
if run "sqlite:///mlflow.db" "sqlalchemy" > /dev/null 2>&1; then echo "the message says now what is missing"; exit 1; fi
MLFLOW_ALLOW_FILE_STORE=true run "file:HERE/runs" "'score': 0.5"
venv/bin/python -m pip install --quiet --disable-pip-version-check sqlalchemy==2.0.44 alembic==1.17.1
run "sqlite:///mlflow.db" "'score': 0.5"
