#!/bin/sh
# Starts Dagster, MLflow and the review page on loopback until Ctrl-C, on the history of this checkout.
set -eu
cd "$(dirname "$0")/.."

bin=${VENV:-.venv}/bin
home=${DAGSTER_HOME:-$PWD/.dagster_home}
state=$PWD/.synpref
mkdir -p "$home" "$state"
export DAGSTER_HOME="$home"
# Dagster and MLflow would make their databases in place, where a kill leaves them half made; and
# the UI's daemon needs settings: pools and run monitoring.
"$bin/synpref" prepare

# Tracking only: the runners of GenAI evaluation jobs would be seven more processes.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
mlflow=
case ${SYNPREF_MLFLOW_URI:-} in
http://* | https://*) ;; # it runs already
*)
    "$bin/mlflow" server --host 127.0.0.1 --port "${MLFLOW_PORT:-5000}" --workers 1 \
        --backend-store-uri "${SYNPREF_MLFLOW_URI:-sqlite:///$state/mlflow.db}" \
        --artifacts-destination "$state/mlartifacts" &
    mlflow=$!
    # Runs that are started here link to this server.
    : "${SYNPREF_MLFLOW_PUBLIC_URL:=http://127.0.0.1:${MLFLOW_PORT:-5000}}"
    export SYNPREF_MLFLOW_PUBLIC_URL
    ;;
esac
"$bin/synpref" review serve --port "${REVIEW_PORT:-3100}" >/dev/null &
review=$!
trap 'kill $mlflow "$review" 2>/dev/null || true' EXIT INT TERM

echo "Dagster  http://127.0.0.1:${DAGSTER_PORT:-3000}"
echo "MLflow   ${SYNPREF_MLFLOW_PUBLIC_URL:-where SYNPREF_MLFLOW_URI says}"
echo "Review   http://127.0.0.1:${REVIEW_PORT:-3100}   (tokens: synpref review add-annotator NAME)"
"$bin/dagster" dev -w "${WORKSPACE:-workspace.yaml}" -h 127.0.0.1 -p "${DAGSTER_PORT:-3000}"
