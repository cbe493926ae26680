"""Commands that need no campaign, one module per command or few that are alike.

`register` puts them into the application; a new command is one line there.

What does not belong here: what a tool does, which is in `synpref_dagster/tools/`;
how a terminal asks for it and is told.
"""

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this folder."""
    from synpref_dagster.cli.tools.benchmark import benchmark
    from synpref_dagster.cli.tools.cleaning import clean, decontaminate, dedup
    from synpref_dagster.cli.tools.compare import compare
    from synpref_dagster.cli.tools.convert import convert
    from synpref_dagster.cli.tools.filter import filter_file
    from synpref_dagster.cli.tools.judge import judge
    from synpref_dagster.cli.tools.score import score
    from synpref_dagster.cli.tools.train import train

    for command in (score, benchmark, compare, clean, dedup, decontaminate, train, judge, convert):
        app.command()(command)
    app.command(name="filter")(filter_file)
