"""How the history of a pair reads on a terminal."""

from io import StringIO

from rich.console import Console

from synpref_dagster.cli.explain.event import FILTERING, POOL, Event
from synpref_dagster.cli.explain.history import PairHistory
from synpref_dagster.cli.explain.records import PairIds
from synpref_dagster.cli.explain.terminal import detail_lines, print_candidates, print_history
from synpref_dagster.pairs.record import PreferencePair

PAIR = PreferencePair(
    conversation=({"role": "user", "content": "[bold]2 + 2?[/bold]\x1b[31m"},),
    chosen="It is 4.\n" * 100,
    rejected="5",
    source="crowd",
    origin="human",
)


def printed(show, *, width=100):
    console = Console(file=StringIO(), width=width, no_color=True)
    show(console)
    return console.file.getvalue()


def history(*events, missing=()):
    return PairHistory(
        ids=PairIds.of(PAIR),
        pair=PAIR,
        events=list(events),
        outcome="kept: all agree",
        not_there_yet=list(missing),
    )


def test_texts_are_shortened_and_shown_as_they_are_but_for_control_characters():
    text = printed(lambda console: print_history(console, history()))
    assert r"[bold]2 + 2?[/bold]\x1b[31m" in text
    assert text.count("It is 4.") < 30
    assert "…" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) == 100


def test_a_narrow_pipe_is_written_as_wide_as_the_tables_need():
    text = printed(lambda console: print_history(console, history()), width=40)
    assert max(map(len, text.splitlines())) == 100


def test_events_stand_under_their_box_and_a_step_is_named_once():
    text = printed(
        lambda console: print_history(
            console,
            history(
                Event(box=POOL, step="raw_pool", what="read from crowd"),
                Event(box=POOL, step="raw_pool", what="its twin is there"),
                Event(box=FILTERING, step="iteration_01/gold", what="kept\x1b"),
                missing=["skywork_reward_v2/a", "skywork_reward_v2/b"],
            ),
        )
    )
    lines = [line.strip() for line in text.splitlines()]
    assert lines.index("1 pool") < lines.index("5 filtering")
    assert text.count("raw_pool") == 1
    assert "iteration_01/" not in text
    assert "skywork_reward_v2 (a, b)" in text
    assert "\x1b" not in text
    assert any(line.startswith("outcome") and "kept: all agree" in line for line in lines)


def test_a_person_is_shown_with_verdict_corrections_and_time():
    person = {
        "annotator": "ann",
        "verdict": -1,
        "decided": True,
        "corrections": {"objectivity": "subjective"},
        "seconds": 41.3,
        "created_at": 1_700_000_000.0,
    }
    undecided = {**person, "decided": False, "corrections": {}, "seconds": None, "created_at": None}
    assert list(detail_lines({"people": [person, undecided]})) == [
        "ann: against the label, objectivity is subjective, 41 s, 2023-11-14 22:13 UTC",
        "ann: cannot decide",
    ]


def test_long_lists_end_with_how_many_more_there_are():
    ids = [f"{number:032x}" for number in range(8)]
    assert list(detail_lines({"pulled": ids})) == [
        "namely " + " ".join(["00000000"] * 6) + " and 2 more"
    ]


def test_candidates_show_id_source_and_texts():
    text = printed(lambda console: print_candidates(console, [PAIR]))
    assert f"{PAIR.pair_id.hex()}  crowd" in text
    assert "rejected 5" in text
