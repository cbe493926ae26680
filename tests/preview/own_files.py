"""Small files of one's own, with every kind of row that a check speaks about."""

import json

from synpref_dagster.settings.profile import Profile, load_profile
from synpref_dagster.sources.records import SourceSpec

BENCHMARK = "tell me in which year the first bridge over the river in this town was built please"


def row(prompt, chosen, rejected, **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


A = [
    row("Which tea?", "the green one", "black"),  # longer wins
    row("Which tea?", "the green one", "black"),  # again
    row("Which tea?", "ox", "cow"),  # shorter wins
    row("Which road?", "left", "right"),  # b says the opposite
    row("Say hello", "hello", "bye"),
    row("Say hello", "bye", "hello"),  # both ways, here
    row(BENCHMARK, "in 1901", "who knows"),  # a benchmark asks the same
    row("Mail?", "ask ann.lee@posteo.de", "no", note="seen by nobody"),
    row("Empty", "", "no"),
    row("Same", "yes", "yes"),
    row("Same", "no", "no"),
    row("Same", "so", "so"),
]
B = [
    row("Which tea?", "the green one", "black"),  # shared
    row("Which road?", "right", "left"),
    row("Wie ist das Wetter und was ist mit der Luft?", "es ist gut", "ich bin nicht da"),
]
VOTES = [
    {
        "prompt": "Which pet?",
        "response_a": "a cat",
        "response_b": "a dog",
        "votes": [{"worker": "w1", "value": "a"}, {"worker": "w2", "value": "a"}],
    },
    {
        "prompt": "Which pet is small?",
        "response_a": "a mouse",
        "response_b": "a horse",
        "votes": [{"worker": "w1", "value": "a"}],
    },
]


def write(path, rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return str(path)


def specs(folder):
    """Sources a (people), b (a model) and votes (people)."""
    return [
        SourceSpec(
            name=name, path=write(folder / f"{name}.jsonl", rows), origin=origin, licence="x"
        )
        for name, rows, origin in (
            ("a", A, "human"),
            ("b", B, "synthetic"),
            ("votes", VOTES, "human"),
        )
    ]


def profile(folder, **changes):
    """A profile on these files that asks for as much as there is."""
    smoke = load_profile("smoke").model_dump()
    found = [
        {"name": each.name, "path": each.path, "origin": each.origin} for each in specs(folder)
    ]
    suite = write(
        folder / "suite.jsonl", [{"id": "1", "prompt": BENCHMARK, "chosen": "1", "rejected": "2"}]
    )
    told = {
        **smoke,
        "name": "own",
        "pool": {"kind": "sources", "sources": found, "custom_benchmarks": {"mine": suite}},
        "seed_set": {"num_gold": 2, "num_silver": 2},
        "iterations": {"num_iterations": 1, "max_retrieved": 2, "num_human": 1},
        "reward_model": {"backend": "linear"},
    }
    return Profile.model_validate({**told, **changes})
