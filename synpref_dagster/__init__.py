"""synpref_dagster: from messy preference data to reward models that can be trusted.

1. pool        read every source, clean it, decontaminate it (paper App. D.1)
2. attributes  label each pair with five preference attributes (Sec. 3.2)
3. seed        people verify a gold seed, judges label a silver seed (Sec. 3.2)
4. iterate     train a reward model, retrieve around its errors, label, repeat (Sec. 3.2)
5. filter      keep, flip or discard each remaining pair by consistency (Sec. 3.3)
6. release     train the eight Skywork-Reward-V2 sizes and score seven benchmarks (Sec. 4)
7. evidence    measure the method's claims on this very campaign
   `assets/` is this figure; `curation/`, `reward/` and `benchmarks/` hold the method.

Tools need no campaign (docs/tools.md); nothing is loaded before one is asked for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from synpref_dagster.tools.benchmarking import benchmark
    from synpref_dagster.tools.comparing import compare
    from synpref_dagster.tools.curating.cleaning import clean, decontaminate, dedup
    from synpref_dagster.tools.curating.deciding import decide
    from synpref_dagster.tools.curating.given import read_pairs
    from synpref_dagster.tools.on_pairs.converting import convert
    from synpref_dagster.tools.on_pairs.judging import judge
    from synpref_dagster.tools.on_pairs.training import train
    from synpref_dagster.tools.scoring import score

__all__ = [
    "benchmark",
    "clean",
    "compare",
    "convert",
    "decide",
    "decontaminate",
    "dedup",
    "judge",
    "read_pairs",
    "score",
    "train",
]

__version__ = "0.1.0"
_ROOMS = {
    "benchmark": "benchmarking",
    "clean": "curating.cleaning",
    "compare": "comparing",
    "convert": "on_pairs.converting",
    "decide": "curating.deciding",
    "decontaminate": "curating.cleaning",
    "dedup": "curating.cleaning",
    "judge": "on_pairs.judging",
    "read_pairs": "curating.given",
    "score": "scoring",
    "train": "on_pairs.training",
}


def __getattr__(name: str) -> object:
    """A tool, loaded when it is first asked for."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    tool = getattr(import_module(f"{__name__}.tools.{_ROOMS[name]}"), name)
    globals()[name] = tool
    return tool
