"""Features of a frozen SmolLM2-135M against the plain transformers loop, on CPU.

One process, one thread, all sides in alternating order on the same pairs of HH; the gate is the
median ratio of CPU times. `make bench`, or `python bench/features.py [--quick]`; weights from
`scripts/services/smollm2.sh`, data from SYNPREF_REAL_DATA; writes `bench/results/features.json`.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from engine_parts.features import MAX_LENGTH_TOKENS, feature_rows, forwarded_row
from engine_parts.slices import hh_pairs, judgebench_pairs, rm_bench_pairs

from synpref_dagster.reward.backbones import Backbone
from synpref_dagster.reward.frozen.features import FrozenBackbone
from synpref_dagster.reward.frozen.preparing import prepare_backbone

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "features.json"
WEIGHTS = ROOT / ".services" / "smollm2-135m-instruct"


def all_rows(home: Path, *, num_pairs: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Every measurement, as it is made."""
    place = os.environ.get("SYNPREF_SMOLLM2", str(WEIGHTS))
    if not Path(place, "model.safetensors").is_file():
        raise SystemExit(f"no weights in {place}: run scripts/services/smollm2.sh install")
    backbone = Backbone(
        model_size="smollm2-135m",
        hub_id=place,
        licence="apache-2.0",
        pad_token="<|endoftext|>",
        max_length_tokens=MAX_LENGTH_TOKENS,
    )
    prepared = prepare_backbone(backbone, home)
    about: dict[str, Any] = {"folder": prepared.folder, "layers": prepared.layers}
    for dtype in ("bfloat16", "float32"):
        yield from feature_rows("HH", hh_pairs()[:num_pairs], dtype=dtype, repeats=repeats, **about)
    reader = FrozenBackbone.load(
        str(prepared.folder),
        layers=(1,),  # what is forwarded does not depend on how far
        max_length_tokens=MAX_LENGTH_TOKENS,
        dtype="bfloat16",
    )
    sets = {"HH": hh_pairs(), "JudgeBench": judgebench_pairs(), "RM-Bench": rm_bench_pairs()}
    for name, pairs in sets.items():
        yield forwarded_row(name, pairs[:num_pairs], reader)


def main() -> None:
    """Run everything, print the table, save the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 pairs, one repeat, nothing saved")
    is_quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as home:
        size = {"num_pairs": 16, "repeats": 1} if is_quick else {"num_pairs": 64, "repeats": 3}
        for line in all_rows(Path(home), **size):
            rows.append(line)
            against = f"{line['ours']} against {line['baseline']}"
            print(f"{line['ratio_cpu'] or '-':>6} cpu  {line['name']}: {against}, "
                  f"{line['exactness']}", flush=True)  # fmt: skip
    if not is_quick:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
