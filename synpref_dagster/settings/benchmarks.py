"""Names of benchmarks and their subsets, so that a profile is refused that names others.

The benchmarks themselves are `benchmarks/suite.py` and `benchmarks/plugins.py`; a test compares.
"""

import re
from collections.abc import Mapping

from synpref_dagster.settings.names import MAX_CHARS

BENCHMARK_SUBSETS: Mapping[str, tuple[str, ...]] = {
    "reward_bench": (
        "alpacaeval-easy",
        "alpacaeval-length",
        "alpacaeval-hard",
        "mt-bench-easy",
        "mt-bench-med",
        "mt-bench-hard",
        "llmbar-natural",
        "llmbar-adver-neighbor",
        "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
        "refusals-dangerous",
        "refusals-offensive",
        "xstest-should-refuse",
        "xstest-should-respond",
        "donotanswer",
        "math-prm",
        "hep-cpp",
        "hep-go",
        "hep-java",
        "hep-js",
        "hep-python",
        "hep-rust",
    ),
    "reward_bench_2": ("Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties"),
    "ppe_preference": ("preference",),
    "ppe_correctness": ("mmlu_pro", "math", "gpqa", "ifeval", "mbpp_plus"),
    "rmb": ("help_bon", "help_pair", "harm_bon", "harm_pair"),
    "rm_bench": ("chat", "code", "math", "safety-refuse", "safety-response"),
    "judge_bench": ("knowledge", "reasoning", "math", "coding"),
    "m_reward_bench": (
        "arb_Arab",
        "ces_Latn",
        "deu_Latn",
        "ell_Grek",
        "fra_Latn",
        "heb_Hebr",
        "hin_Deva",
        "ind_Latn",
        "ita_Latn",
        "jpn_Jpan",
        "kor_Hang",
        "nld_Latn",
        "pes_Arab",
        "pol_Latn",
        "por_Latn",
        "ron_Latn",
        "rus_Cyrl",
        "spa_Latn",
        "tur_Latn",
        "ukr_Cyrl",
        "vie_Latn",
        "zho_Hans",
        "zho_Hant",
    ),
}
_OWN = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_CHARS - 1}}}")
# Columns of the leaderboard and metrics beside those of benchmarks.
_TAKEN = re.compile(r"(num|published|difference)_.*|average|complete|model_size|max_tokens")


def checked_own_benchmark(name: str) -> str:
    """The name of a suite of one's own, if it is one.

    Raises:
        ValueError: other characters, or the name of a published benchmark or of another figure.
    """
    if name in BENCHMARK_SUBSETS or _TAKEN.fullmatch(name) or not _OWN.fullmatch(name):
        raise ValueError(
            f"custom benchmark {name!r}: use 1 to {MAX_CHARS} lower-case letters, digits and _, "
            f"begin with a letter, and take none of {', '.join(sorted(BENCHMARK_SUBSETS))}, "
            "average, complete, model_size, max_tokens, num_..., published_..., difference_..."
        )
    return name


def check_benchmarks(named: Mapping[str, str], subsets: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse unknown benchmarks, unknown subsets, and an empty choice of subsets.

    Raises:
        ValueError: naming what there is.
    """
    for name in named:
        if name not in BENCHMARK_SUBSETS:
            raise ValueError(
                f"benchmarks names {name!r}, which is none of {', '.join(BENCHMARK_SUBSETS)}: one "
                "of your own goes into [pool.custom_benchmarks]"
            )
    for name, chosen in subsets.items():
        if name not in named:
            raise ValueError(
                f"benchmark_subsets names {name!r}, but benchmarks does not: nobody obeys it. "
                "Take it out, or say under [pool.benchmarks] where it is"
            )
        unknown = sorted(set(chosen) - set(BENCHMARK_SUBSETS[name]))
        if unknown or not chosen:
            what = f"names {unknown}" if unknown else "names none"
            raise ValueError(
                f"benchmark_subsets of {name} {what}: choose from "
                f"{', '.join(BENCHMARK_SUBSETS[name])}"
            )
