#!/usr/bin/env bash
# Profile `real` in its three settings, each on its three test sets, then one table per setting.
#
#   scripts/real.sh [SEEDS]        for instance: scripts/real.sh "0"; default "0 1 2"
#
# A campaign that ran is found again, and one that was killed continues. All of them share the
# features of the backbone: the first one reads the answers and runs alone, the others two at a time
# (AT_ONCE). Then the releases of the first seed on the benchmarks; without: BENCHMARKS=0 scripts/real.sh
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${VENV:-.venv}/bin
SYNPREF_SMOLLM2=${SYNPREF_SMOLLM2:-$(scripts/services/smollm2.sh install)}
DAGSTER_HOME=${DAGSTER_HOME:-$PWD/.dagster_home_real}
export SYNPREF_SMOLLM2 DAGSTER_HOME
mkdir -p "$DAGSTER_HOME"
seeds=${1:-0 1 2}
settings="real real_turned real_biased"

campaign() { # PROFILE SEED SIZES: one instance holds them all, told apart by their prefix
    echo "== $1, seed $2"
    SYNPREF_KEY_PREFIX="$1_$2" "$bin/synpref" run --profile "$1" --seed "$2" --sizes "$3" 2>&1 |
        while IFS= read -r line; do printf '%s | %s\n' "$1 $2" "$line"; done
}
export bin
export -f campaign

all_of() { # SIZES SEEDS: the first campaign reads what the others find read
    campaign real "${2%% *}" "$1"
    for seed in $2; do
        for setting in $settings; do
            [ "$setting $seed" = "real ${2%% *}" ] || echo "$setting $seed $1"
        done
    done | xargs -P "${AT_ONCE:-2}" -L 1 bash -euo pipefail -c 'campaign "$@"' campaign
}

"$bin/python" scripts/real_mix.py "${SYNPREF_REAL_DATA:-../shared/data}" .synpref/real_mix
all_of none "$seeds"
if [ "${BENCHMARKS:-1}" = 1 ]; then
    all_of all "${seeds%% *}"
fi
# shellcheck disable=SC2086  # a word per setting
"$bin/synpref" compare $settings --seeds "$(echo "$seeds" | tr ' ' ,)"
