"""What docs/tools.md says in Python runs; what `import synpref_dagster` offers costs nothing."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fake_judge_server

import synpref_dagster
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model

ROOT = Path(__file__).parent.parent
SNIPPETS = {  # by the tool that it calls first
    re.search(r"sp\.(\w+)\(", text)[1]: text
    for text in re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "tools.md").read_text(), re.DOTALL
    )
}


def test_the_snippets_run_and_say_what_they_promise(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {n}"},),
            chosen="many words " * (n % 3 + 2),
            rejected="few",
            source="world",
            origin="human",
        )
        for n in range(12)
    ]
    config = LinearConfig(num_buckets=0)
    train_linear_reward_model(pairs, [], config=config, output_dir=tmp_path / "models" / "mine")
    shutil.copytree(tmp_path / "models" / "mine", tmp_path / "models" / "other")
    rows = [{"prompt": f"q {n}", "chosen": "many words " * (n + 2), "rejected": "few"}
            for n in range(4)]  # fmt: skip
    for name in ("pairs.jsonl", "my_suite.jsonl"):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("eval.txt").write_text("q 0\n")
    rewards = [{"best_margin": side, "gold_margin": side, "judge_label": side} for side in (1, -1)]
    Path("rewards.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rewards))
    names = {}
    exec(SNIPPETS["score"], names)
    assert capsys.readouterr().out.splitlines() == ["4 pairs, accuracy 1.0", "{}"]
    assert names["hardest"]["row"].tolist() == [0, 1, 2]
    exec(SNIPPETS["benchmark"], names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["mine", "1.0"], ["other", "1.0"]]
    assert len(names["table"]) == 2
    exec(SNIPPETS["read_pairs"], names)
    assert capsys.readouterr().out.splitlines() == ["4 pairs, {}", "3 kept, {'contaminated': 1}"]
    assert names["left"]["item_id"].tolist() == ["0"]
    assert names["in_memory"].num_kept == 4
    exec(SNIPPETS["decide"], names)
    totals, *table = capsys.readouterr().out.splitlines()
    assert totals == "{'kept': 1, 'flipped': 1, 'discarded': 0}"
    assert [line.split()[1:3] for line in table[1:]] == [["all", "4"]]
    assert names["decisions"]["reason"].tolist() == ["all_agree", "all_disagree"]


def test_a_model_is_trained_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"q {n}", "chosen": "many words " * (n % 3 + 2), "rejected": "few"}
            for n in range(30)]  # fmt: skip
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("models").mkdir()
    exec(SNIPPETS["train"].replace('backend="frozen", backbone="base"', 'backend="linear"'), {})
    trained, interval = capsys.readouterr().out.splitlines()
    assert trained.endswith(" pairs trained, 1.0 right of those held out")
    assert interval == "{}"


def test_judges_are_asked_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    rows = [{"prompt": f"q {n}", "chosen": "yes", "rejected": "no"} for n in range(2)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def first(_):
        return fake_judge_server.verdict("candidate_1")

    with fake_judge_server.serve(first) as server:
        exec(SNIPPETS["judge"].replace("http://localhost:8000/v1", server.url), {})
    assert server.num_calls == 4
    assert capsys.readouterr().out.splitlines()[-1] == "paid now $0.00, so far $0.00"


def test_pairs_are_converted_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"q {n}", "chosen": "yes", "rejected": "no"} for n in range(30)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    exec(SNIPPETS["convert"], {})
    written = [len(Path("for_trainer", name).read_text().splitlines())
               for name in ("train.jsonl", "validation.jsonl")]  # fmt: skip
    assert sum(written) == 30
    told = f"{{'train': {written[0]}, 'validation': {written[1]}}} {{}}"
    assert capsys.readouterr().out.strip() == told


def test_importing_the_package_loads_no_other_module():
    program = (
        "import sys; before = set(sys.modules); import synpref_dagster;"
        " print(sorted({*sys.modules} - before))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "['synpref_dagster']"


def test_what_is_offered_is_what_is_listed():
    assert synpref_dagster.__all__ == [
        *("benchmark", "clean", "compare", "convert", "decide", "decontaminate", "dedup", "judge"),
        *("read_pairs", "score", "train"),
    ]
    for name in synpref_dagster.__all__:
        assert getattr(synpref_dagster, name).__module__.startswith("synpref_dagster.tools.")
    assert not hasattr(synpref_dagster, "no_such_tool")
