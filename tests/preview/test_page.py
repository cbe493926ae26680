"""The page as Markdown and as figures."""

from synpref_dagster.preview.page import Grid, Page, Part, as_facts, as_markdown

GRID = Grid(head=("source", "rows"), rows=(("a|b", "12"), ("<c>", "-")))
PAGE = Page(
    title="own",
    parts=(Part(title="Sources", grid=GRID, lines=("12 *pairs*.",)),),
    must_change=("seed_set.num_gold is 5 of 3",),
    look_at=(),
    facts={"num_pairs": 12},
)


def test_what_must_change_comes_first_and_nothing_is_taken_for_markup():
    assert as_markdown(PAGE).split("\n\n") == [
        "### Must change before a run",
        r"- seed\_set.num\_gold is 5 of 3",
        "### Sources",
        "| source | rows |\n| --- | --: |\n" r"| a\|b | 12 |" "\n" r"| \<c\> | - |",
        r"12 \*pairs\*.",
    ]


def test_a_page_without_a_change_says_so():
    page = Page(title="own", parts=(), must_change=(), look_at=("few prompts",))
    assert as_markdown(page).startswith("Nothing has to change")
    assert "### Worth a look" in as_markdown(page)


def test_a_machine_gets_figures_and_lines():
    assert as_facts(PAGE) == {
        "profile": "own",
        "must_change": ["seed_set.num_gold is 5 of 3"],
        "look_at": [],
        "num_pairs": 12,
        "sections": [
            {
                "title": "Sources",
                "grid": {
                    "head": ("source", "rows"),
                    "rows": (("a|b", "12"), ("<c>", "-")),
                    "num_names": 1,
                },
                "lines": ("12 *pairs*.",),
            }
        ],
    }
