#!/bin/sh
# Profile `real_finetuned`: SmolLM2 trained in all its weights on original, curated and right labels,
# equally many pairs, tested on debates that were held out; then one table over the seeds.
#
#   scripts/real_finetuned.sh [SEEDS] [PROFILE]      default "0 1" and real_finetuned
#
# Each seed is a campaign of some two minutes and three trainings. How long these take on this
# machine is measured and said before the first one: eight minutes each on two cores that multiply
# bfloat16. A killed run goes on at its last resume point, a finished training is found again.
set -eu
cd "$(dirname "$0")/.."

bin=${VENV:-.venv}/bin
SYNPREF_SMOLLM2=${SYNPREF_SMOLLM2:-$(scripts/services/smollm2.sh install)}
DAGSTER_HOME=${DAGSTER_HOME:-$PWD/.dagster_home_real}
export SYNPREF_SMOLLM2 DAGSTER_HOME
mkdir -p "$DAGSTER_HOME"
seeds=${1:-0 1}
profile=${2:-real_finetuned}

for seed in $seeds; do
    echo "== $profile, seed $seed"
    SYNPREF_KEY_PREFIX="$(basename "$profile" .toml)_$seed" \
        "$bin/synpref" run --profile "$profile" --seed "$seed" --sizes none
done
"$bin/synpref" compare "$profile" --seeds "$(echo "$seeds" | tr ' ' ,)"
