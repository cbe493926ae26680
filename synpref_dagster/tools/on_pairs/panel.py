"""Who is asked, on whose account, and what they are shown."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synpref_dagster.pairs.progress import ProgressFact, progress_of
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.settings.judges import JudgeSettings
from synpref_dagster.settings.names import checked_name
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.tools.cached import default_cache
from synpref_dagster.tools.on_pairs.given import checked, given_table

if TYPE_CHECKING:
    from synpref_dagster.curation.judging.labelling import EmbeddedPairs, Panel
    from synpref_dagster.judges.cache import ReplyCache
    from synpref_dagster.judges.endpoint import EndpointJudge

ASSET = "judge"
"""What the tool's calls are for, on the bill of a campaign."""
ACCOUNT = "tool"
ACCOUNTS = "tool_judges"
"""Folder of the bills that belong to no campaign, beside the rewards that tools keep."""
CACHE_REMEDY = "Put a copy of it back, or move it away: then all replies are bought again"
Listener = Callable[[ProgressFact], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """Who is asked, and on whose account."""

    settings: JudgeSettings
    account: str
    bills: str
    """Where what was paid is kept apart from the cache."""
    seed: int


def asked_by(
    settings: str | Path | Mapping[str, Any] | None,
    profile: str | None,
    *,
    account: str,
    seed: int | None,
) -> Asking:
    """Who is asked: the judges of settings or of a profile.

    Raises:
        ValueError: both are named or none, or one of them is none; in one line.
    """
    if (settings is None) == (profile is None):
        raise ValueError("name who judges: settings with a [judges] table, or a profile")
    if profile is not None:
        if account != ACCOUNT:
            raise ValueError("a profile's judges are on its campaign's account: name no other")
        found = load_profile(profile, seed=seed)
        return Asking(
            settings=found.judges,
            account=found.campaign_name(),
            bills=found.store_root(),
            seed=found.seed,
        )
    assert settings is not None
    name = checked_name("account", account, spaces=False)
    return Asking(
        settings=_own(settings),
        account=name,
        bills=str(default_cache().with_name(ACCOUNTS) / name),
        seed=seed or 0,
    )


def _own(settings: str | Path | Mapping[str, Any]) -> JudgeSettings:
    """The judges of a table, or of the table `[judges]` in it; paths start from its file."""
    table = given_table(settings)
    if others := sorted(set(table) - {"judges"}) if "judges" in table else []:
        raise ValueError(
            f"settings hold {', '.join(others)} beside [judges]: leave them out, or name the file "
            "as a profile"
        )
    table = table.get("judges", table)
    found: JudgeSettings = checked(JudgeSettings, table, what="judges")
    if found.cache and isinstance(settings, str | Path):
        return found.model_copy(update={"cache": str(Path(settings).parent / found.cache)})
    return found


def refuse_unobeyed(settings: JudgeSettings, shown: Sequence[PreferencePair]) -> None:
    """Refuse settings that cannot be obeyed without gold, or outside of a campaign."""
    if settings.kind == "features":
        raise ValueError(
            "judges of kind 'features' read the frozen backbone of a campaign: ask 'endpoints' or "
            "'exemplar' judges"
        )
    wanting = {
        "judges of kind 'exemplar' learn from gold": settings.kind == "exemplar",
        "min_gold_agreement is measured on gold": settings.min_gold_agreement is not None,
        "panel 'weighted' is weighed on gold": settings.panel == "weighted",
    }
    for why, is_wanted in wanting.items():
        if is_wanted and not shown:
            raise ValueError(f"{why}: name a file of pairs whose label is known")


@dataclass(kw_only=True, slots=True)
class Books:
    """The LLM judges of a call, and what they cost."""

    judges: "Sequence[EndpointJudge]" = ()
    cache: "ReplyCache | None" = None
    notes: Sequence[str] = ()

    def spent(self, account: str) -> float:
        """US dollars of an account, possible ones included."""
        from synpref_dagster.judges.reservations import Reservations

        if self.cache is None:
            return 0.0
        return sum(Reservations(self.cache).committed(account).values())


@contextmanager
def opened_panel(
    asking: Asking, pairs: Sequence[PreferencePair], listener: Listener
) -> "Iterator[tuple[Panel, Books]]":
    """The panel, ready to be asked."""
    from synpref_dagster.curation.judging.labelling import Panel
    from synpref_dagster.judges.batches.service import all_sent

    settings = asking.settings
    panel = Panel(
        judges=(), num_exemplars=settings.num_exemplars, seed=asking.seed, ask_all=all_sent
    )
    if settings.kind != "endpoints":
        from synpref_dagster.judges.embedded.exemplar_judge import EMBEDDED_PANEL, build_panel
        from synpref_dagster.judges.embedded.views import fit_views
        from synpref_dagster.pairs.texts import pool_texts

        profiles = [replace(each, num_samples=settings.num_samples) for each in EMBEDDED_PANEL]
        free = build_panel(fit_views(pool_texts(pairs)), profiles=profiles)
        yield replace(panel, judges=free), Books()
        return
    from synpref_dagster.judges.cache import Payer, ReplyCache
    from synpref_dagster.judges.endpoint import endpoint_panel
    from synpref_dagster.judges.receipts import Receipts
    from synpref_dagster.storage.sqlite_files import refuse_damaged

    path = settings.cache_path()
    refuse_damaged(path, what="the judges' reply cache", remedy=CACHE_REMEDY)
    with closing(ReplyCache(path)) as cache, _heard(listener) as (logger, notes):
        receipts = Receipts(asking.bills, cache, campaign=asking.account)
        if settings.cost_money and (lost := receipts.carry_over()) > 0:
            logger.warning(
                "the reply cache %s does not know of $%.4f that %s has spent: they count against "
                "the cap as possible cost",
                path,
                lost,
                asking.account,
            )
        judges = endpoint_panel(
            settings,
            cache=cache,
            payer=Payer(campaign=asking.account, asset=ASSET, judge=""),
            receipts=receipts if settings.cost_money else None,
            logger=logger,
        )
        yield replace(panel, judges=judges), Books(judges=judges, cache=cache, notes=notes)


@contextmanager
def _heard(listener: Listener) -> Iterator[tuple[logging.Logger, list[str]]]:
    """A logger whose facts go to the listener, and whose warnings are collected."""
    notes: list[str] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fact = progress_of(record)
            if fact is not None:
                listener(fact)
            elif record.levelno >= logging.WARNING:
                notes.append(record.getMessage())

    logger, handler = logging.getLogger(__name__), Heard()
    before, logger.propagate = logger.level, False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield logger, notes
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = True


def embedded(
    pairs: Sequence[PreferencePair], gold: Sequence[PreferencePair], *, seed: int
) -> "tuple[EmbeddedPairs, EmbeddedPairs]":
    """Pairs and gold with vectors by which examples are found.

    They are learnt from gold alone: what is shown for a pair depends on no other pair of the file.
    """
    import numpy as np

    from synpref_dagster.curation.judging.labelling import EmbeddedPairs
    from synpref_dagster.curation.retrieval.embedder import TfidfSvdEmbedder
    from synpref_dagster.pairs.attributes import embedding_text

    parts = [[embedding_text(pair, None) for pair in part] for part in (pairs, gold)]
    if gold:
        embed = TfidfSvdEmbedder.fit(parts[1], seed).embed
        vectors = [embed(texts) for texts in parts]
    else:
        vectors = [np.zeros((len(texts), 1), dtype=np.float32) for texts in parts]
    targets, shown = (
        EmbeddedPairs(pairs=part, attributes=[{}] * len(part), vectors=found)
        for part, found in zip((pairs, gold), vectors, strict=True)
    )
    return targets, shown
