"""`synpref`: thin commands over the same functions that Dagster runs."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.explain.pairs import pairs
from synpref_dagster.cli.judges import judge_app, print_estimate
from synpref_dagster.cli.people import review_app
from synpref_dagster.cli.refusals import (
    ProfileOption,
    SeedOption,
    as_given,
    load_or_refuse,
    refuse,
    refuse_missing_backbones,
    refuse_missing_keys,
    refuse_missing_on_hub,
    refuse_unfit_backbones,
    say,
)
from synpref_dagster.cli.tools import register
from synpref_dagster.cli.tracking import at_end_of_run, say_unsent, tracking_app
from synpref_dagster.settings.outlets import no_secrets_in_errors, no_secrets_in_logs
from synpref_dagster.settings.profile import Profile, smollm2_place

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they may hold keys
    help="From messy preference data to reward models that can be trusted.",
)
app.add_typer(review_app, name="review")
app.add_typer(judge_app, name="judges")
app.add_typer(tracking_app, name="tracking")
console = Console()
WAITING = 3  # exit code of a campaign that waits for others: nothing failed, it is not done

SizesOption = Annotated[
    str, typer.Option(help="Model sizes to release, comma separated; 'all' or 'none'.")
]


TakeOverOption = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Go on with the history of another campaign, which this one was renamed from.",
    ),
]


@app.command()
def demo(seed: SeedOption = None, sizes: SizesOption = "all") -> None:
    """Run the whole campaign on the synthetic world: offline, no keys, a few minutes."""
    run(profile="demo", seed=seed, sizes=sizes)


@app.command()
def init(
    places: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or hub ids of data; default: this folder."),
    ] = None,
    output: Annotated[Path, typer.Option(help="The profile to write.")] = Path("synpref.toml"),
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
) -> None:
    """Look at data and write a profile that runs as it is; says what it assumed."""
    from synpref_dagster.reward.from_profile import unfit_for_heads
    from synpref_dagster.sources.survey.starting import first_profile
    from synpref_dagster.sources.survey.writing import refuse_taken, write_profile

    try:
        refuse_taken(output, may_be_replaced=force)
        start = first_profile(
            places or [],
            output.parent,
            known_backbone=smollm2_place(),
            unfit=unfit_for_heads,
            may_replace=force,
        )
        write_profile(start.draft.text(), output, may_replace=force)
    except (ValueError, OSError) as error:
        refuse(console, error)
    for line in start.says:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"\n{output} is written. Next:\n  synpref check {output}\n"
        f"  synpref run --profile {output}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command()
def run(
    profile: ProfileOption = "demo",
    seed: SeedOption = None,
    sizes: SizesOption = "all",
    take_over: TakeOverOption = False,
) -> None:
    """Run a campaign to its report. A killed campaign continues when started again."""
    chosen = load_or_refuse(console, profile, seed)
    refuse_missing_keys(console, chosen)
    refuse_missing_backbones(console, chosen)
    wanted = _sizes(sizes, chosen)
    refuse_missing_on_hub(console, chosen, wanted)
    refuse_unfit_backbones(console, chosen, wanted)
    from synpref_dagster.cli.campaign import Stage, run_campaign
    from synpref_dagster.cli.outcomes import CampaignFailedError, CampaignWaitingError
    from synpref_dagster.cli.progress import CampaignProgress, progress_logger
    from synpref_dagster.definitions.build import build_defs
    from synpref_dagster.judges.forecast import costs_money
    from synpref_dagster.storage.writers import StoreInUseError

    if costs_money(chosen):
        print_estimate(console, chosen)
    progress = CampaignProgress(_steady(console))
    defs = build_defs(chosen)

    def begin(stage: Stage) -> None:
        job = defs.resolve_job_def(stage.job)
        progress.begin(stage.title, len(job.asset_layer.selected_asset_keys))

    try:
        with (
            at_end_of_run(console, chosen),
            progress.bar,
            progress.without_skipped_checks(),
        ):
            run_campaign(
                chosen,
                sizes=wanted,
                loggers={"progress": progress_logger(progress)},
                on_stage=begin,
                take_over=take_over,
            )
    except StoreInUseError as error:
        refuse(console, error)
    except CampaignWaitingError as error:
        from synpref_dagster.definitions.nightly import waiting_reason

        for line in filter(None, (str(error), waiting_reason(chosen), error.advice)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(WAITING) from error
    except CampaignFailedError as error:
        for failure in progress.failures:
            say(console, failure)
        say(console, error)
        console.print(error.advice, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    _print_report(chosen)


@app.command()
def prepare() -> None:
    """Make Dagster's instance and MLflow's database, before `dagster` or `mlflow` are started.

    `synpref run` does so itself. Those commands make theirs in place: two at once, or one that is
    killed in its first seconds, may leave databases that nothing can open.
    """
    from synpref_dagster.cli.instance import open_instance
    from synpref_dagster.cli.outcomes import CampaignFailedError
    from synpref_dagster.resources.tracking.database import make_database
    from synpref_dagster.settings.profile import mlflow_uri

    try:
        open_instance().dispose()
        make_database(mlflow_uri())
    except CampaignFailedError as error:
        refuse(console, f"{error}\n{error.advice}")
    except ValueError as error:
        refuse(console, error)


@app.command()
def upgrade(
    profile: ProfileOption = "demo",
    yes: Annotated[bool, typer.Option("--yes", help="Copy what changes, then do it.")] = False,
) -> None:
    """Bring what an older version left to this one; says what it would do unless told --yes.

    Profile, Dagster's instance, MLflow's database, the review ledger, the judges' replies, and
    which results are computed anew.
    """
    from synpref_dagster.cli.upgrade.command import upgrade_all

    upgrade_all(console, profile, does_it=yes)


@app.command()
def report(
    profile: ProfileOption = "demo",
    seed: SeedOption = None,
    page: Annotated[
        Path | None, typer.Option(help="Also draw the page anew from report.json, into this file.")
    ] = None,
) -> None:
    """Print the report of a finished campaign again."""
    chosen = load_or_refuse(console, profile, seed)
    _print_report(chosen, page=page)
    say_unsent(console, chosen)


@app.command()
def compare(
    profiles: Annotated[
        list[str], typer.Argument(help="Profiles by name or path; each is a setting.")
    ],
    seeds: Annotated[str, typer.Option(help="Comma separated; campaigns to pool.")] = "0,1,2",
    output: Annotated[Path | None, typer.Option(help="A file for every row as JSON.")] = None,
) -> None:
    """What each training set is worth, pooled over the seeds (or splits) of each profile.

    Intervals come from drawing whole prompts again, the same ones for both sides of a gain.
    """
    try:
        wanted = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        refuse(console, f"--seeds {seeds!r}: give whole numbers, like 0,1,2")
    campaigns = {
        name: [load_or_refuse(console, name, seed) for seed in wanted] for name in profiles
    }
    from synpref_dagster.cli.compare import compare_campaigns

    missing = compare_campaigns(console, campaigns, output=output)
    if missing:
        refuse(
            console,
            f"no evidence yet of {', '.join(missing)}: `synpref run` these campaigns to their "
            "report, or leave their seeds out (--seeds)",
        )


@app.command()
def check(
    wanted: Annotated[
        str, typer.Argument(metavar="PROFILE", help="Name of a profile, or a .toml file.")
    ] = "",
    profile: Annotated[str, typer.Option(help="The same as an option.")] = "",
    seed: SeedOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: all figures.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Asks no endpoint whether it is there.")
    ] = False,
) -> None:
    """Say what a campaign will meet, need and cost, before anybody is asked; writes nothing.

    Reads every source once. Ends with 0, or with 1 and a list of what must change.
    """
    if wanted and profile and wanted != profile:
        refuse(console, f"two profiles are named, {wanted} and {profile}: check one at a time")
    chosen = load_or_refuse(console, wanted or profile or "demo", seed)
    from synpref_dagster.cli.before.check import check_profile

    check_profile(console, chosen, as_json=as_json, offline=offline)


@app.command()
def sizes(
    profile: ProfileOption = "demo",
    device: Annotated[str, typer.Option(help="h200, h100, a100, ..., or cpu.")] = "h200",
    pairs: Annotated[int | None, typer.Option(min=1, help="Pairs of the clean pool.")] = None,
    tokens: Annotated[float | None, typer.Option(min=8, help="Tokens of a pair.")] = None,
    utilisation: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Share of the device's speed.")
    ] = None,
) -> None:
    """Say what training and scoring each model size will take: memory, operations, hours."""
    chosen = load_or_refuse(console, profile, None)
    from synpref_dagster.cli.before.sizes import print_forecast

    print_forecast(
        console,
        chosen,
        device=device,
        utilisation=utilisation,
        num_pairs=pairs,
        tokens_per_pair=tokens,
    )


@app.command()
def explain(
    pair_id: Annotated[
        str, typer.Argument(help="Id in hexadecimal digits, a UUID, or at least 6 first digits.")
    ] = "",
    find: Annotated[str, typer.Option(help="List the pairs with these words instead.")] = "",
    profile: ProfileOption = "demo",
    seed: SeedOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: all facts.")] = False,
) -> None:
    """Say everything that happened to a pair in a campaign, and why.

    PAIR_ID is its 32 hexadecimal digits, a UUID, or at least the first 6 digits.
    """
    chosen = load_or_refuse(console, profile, seed)
    if bool(pair_id) == bool(find):
        refuse(console, "give either a pair id or --find 'words of the pair'")
    from synpref_dagster.cli.explain.command import explain_pair, list_pairs

    if find:
        list_pairs(console, chosen, find, as_json=as_json)
    else:
        explain_pair(console, chosen, pair_id, as_json=as_json)


app.command()(pairs)
register(app)


def main() -> None:
    """Entry point of the console script."""
    # Two spinning thread pools on the same cores are several times slower than one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    no_secrets_in_logs()
    with no_secrets_in_errors():
        app()


def _steady(shown: Console) -> Console:
    """The same terminal, also while Dagster captures what a step writes to standard output.

    Without it a bar stands still for as long as a step runs, since its output is no terminal then.
    """
    if not shown.is_terminal:
        return shown
    return Console(file=os.fdopen(os.dup(shown.file.fileno()), "w", encoding="utf-8"))


def _sizes(text: str, profile: Profile) -> list[str]:
    known = list(profile.sizes())
    if text in ("all", "none"):
        return known if text == "all" else []
    wanted = list(dict.fromkeys(size.strip() for size in text.split(",")))
    unknown = [size for size in wanted if size not in known]
    if unknown:
        refuse(console, f"unknown model sizes {unknown}; choose from {', '.join(known)}")
    return wanted


def _print_report(profile: Profile, *, page: Path | None = None) -> None:
    from synpref_dagster.cli.report import print_report, write_page
    from synpref_dagster.storage.sealed import unsealed

    path = Path(profile.store_root(), "report.json")
    if not path.is_file():
        refuse(
            console, f"no report at {path}: run `synpref run --profile {as_given(profile)}` first"
        )
    try:
        found = unsealed(path.read_bytes())
    except ValueError as error:
        refuse(console, f"{path} is damaged ({error}): start the campaign again to write it anew")
    print_report(console, found)
    written = path.with_suffix(".html") if page is None else page
    if page is not None:
        try:
            write_page(found, page)
        except OSError as error:
            refuse(console, f"--page {page}: {error}")
    console.print(f"\n{path.resolve()}\n{written.resolve()}", highlight=False)
