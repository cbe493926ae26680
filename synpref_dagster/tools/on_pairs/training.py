"""`train`: the engine alone, pairs in, the folder of a reward model out.

The folder appears whole at its end. What a training needs on its way lies in a hidden folder
beside it: the same call goes on there after a kill, and removes it when done.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synpref_dagster.curation.verification.gold_silver import split_by_conversation
from synpref_dagster.pairs.ids import in_id_order
from synpref_dagster.pairs.progress import ProgressFact, heard_by, steps_heard
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.pairs.texts import first_line
from synpref_dagster.reward.backbones import Backbone, backbone as row_of
from synpref_dagster.reward.folders import folder_fingerprint, write_json
from synpref_dagster.settings.models import (
    PAPER_SIZES,
    BackboneSettings,
    FrozenSettings,
    HubSettings,
    LinearSettings,
    RewardModelSettings,
    TransformerSettings,
)
from synpref_dagster.storage import hash_json
from synpref_dagster.storage.atomic import beside, put_in_place, remove
from synpref_dagster.storage.processes import alone_with
from synpref_dagster.tools.on_pairs.given import (
    Given,
    GivenPairs,
    checked,
    given_pairs,
    given_table,
    refuse_lost,
    write_aside,
)
from synpref_dagster.tools.on_pairs.model_card import write_model_card
from synpref_dagster.tools.outputs import QUARANTINE
from synpref_dagster.tools.rows import AUTO, Input, Reading

if TYPE_CHECKING:
    from synpref_dagster.reward.evaluation import Evaluation
    from synpref_dagster.reward.training.config import TrainingConfig, TrainingReport

Settings = HubSettings | FrozenSettings | LinearSettings
BACKENDS = ("hub", "frozen", "linear")
TRAINED_BY = "trained_by.json"
"""In the model's folder: what it was trained with and on, and the key of all that."""
OF_A_MODEL = (TRAINED_BY, "training.json", "config.json")
"""Files of which a folder holds one that may be replaced."""
OF_A_PROFILE = "of its row in [[backbones]]"
OF_THE_TOOL = "in the table `backbone` of the settings, --set backbone.pad_token='<pad>'"
"""Where people set what a backbone lacks: an error of the engine speaks of profiles."""
ROW = "backbone"
"""Table of settings about the backbone, and what one without a name of its own is called."""
SAID_ELSEWHERE = ("model_size", "backend")
AS_THE_ENGINE_SAYS = ("num_pairs", "evaluation", "num_steps", "best_step", "reused")
IN_GOLD = "conversation_in_gold"
Listener = Callable[[ProgressFact], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainReport:
    """What a training came to."""

    output: Path
    """Folder of the model, which `score` and transformers read."""
    quarantine: Path | None
    """Rows that became no pair; None without any."""
    reading: Reading
    validated_on: Reading | None
    """What the gold file held; None where a share was held out, or nothing."""
    num_pairs: int
    """Pairs trained on."""
    num_validation: int
    """Pairs that chose the checkpoint or the head; a linear model is only measured on them."""
    left_out: Mapping[str, int]
    """Reason -> pairs that did not train: too long, one text twice, a conversation of gold."""
    evaluation: "Evaluation | None"
    """On the validation pairs, of the weights that were kept; None without any."""
    num_steps: int
    best_step: int
    reused: bool
    """Whether the very model was there already."""


def train(  # noqa: PLR0913 - what is trained on what, how it is read, and where it goes
    file: Given,
    output: str | Path,
    *,
    backbone: str | Path | None = None,
    backend: str = "hub",
    gold: Given | None = None,
    held_out: float | None = None,
    settings: str | Path | Mapping[str, Any] | None = None,
    changes: Sequence[str] = (),
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    force: bool = False,
    listener: Listener | None = None,
) -> TrainReport:
    """Train a reward model on pairs; the folder can be scored with, and loaded by transformers.

    Args:
        file: pairs in any layout that sources may have, or a list of them.
        output: folder of the model.
        backbone: folder, hub id, or one of the paper's sizes, that is trained or read.
        backend: `hub` trains its weights, `frozen` a head on what it says, `linear` needs none.
        gold: pairs that choose the checkpoint; no conversation in them trains.
        held_out: share of the conversations that does so where there is no gold; 0.1 by default.
        settings: `[reward_model]` of a profile, as a table or the path of a TOML file; its table
            `backbone` is a row of `[[backbones]]`: revision, gguf_file, pad_token, ...
        changes: single settings as `name=value`.
        layout: name of a format of pairs; seen by itself by default.
        columns: known name -> name in the data.
        seed: of order, new head, held-out share, and formats that draw.
        force: replace a model that is there.
        listener: called with how far it is: steps taken, responses read.

    Raises:
        ValueError: a file, setting or backbone is none, or the output is there; in one line.
    """
    target = Path(output)
    chosen, row = _checked(backend, backbone, given_table(settings, changes))
    refuse_lost(target, [file, gold, backbone, settings])
    how = Input(path="", layout=layout, columns=columns or {}, seed=seed)
    given = given_pairs(file, how)
    truth = None if gold is None else given_pairs(gold, how)
    pairs, validation = _split(
        given.pairs, truth.pairs if truth else None, held_out=held_out, seed=seed
    )
    about = _about(given, truth, num_trained_on=len(pairs), num_validation=len(validation))
    wanted = _Wanted(chosen, row, in_id_order(pairs), in_id_order(validation), seed, about)
    with alone_with(str(target.resolve())):
        report = _trained(target, wanted, force=force, listener=listener or (lambda _: None))
        aside = write_aside(given, target.with_name(f"{target.name}.{QUARANTINE}"))
    return TrainReport(
        output=target,
        quarantine=aside,
        reading=given.reading,
        validated_on=truth.reading if truth else None,
        num_validation=len(validation),
        left_out=_left_out(report, wanted),
        **{name: getattr(report, name) for name in AS_THE_ENGINE_SAYS},
    )


def _about(
    given: GivenPairs, truth: GivenPairs | None, *, num_trained_on: int, num_validation: int
) -> dict[str, Any]:
    """What a card says of the data."""
    return {
        "num_rows": given.reading.num_rows,
        "quarantined": given.reading.quarantined,
        "num_in_gold": len(given.pairs) - num_trained_on if truth else 0,
        "num_validation": num_validation,
        "measured_on": "gold" if truth else "a held-out share",
    }


def _left_out(report: "TrainingReport", wanted: "_Wanted") -> dict[str, int]:
    counts = Counter({IN_GOLD: wanted.about["num_in_gold"]})
    for group in report.dropped:
        counts[group.reason] += group.count
    return {reason: number for reason, number in counts.items() if number}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """All that decides a model."""

    settings: Settings
    row: Backbone
    pairs: list[PreferencePair]
    validation: list[PreferencePair]
    seed: int
    about: dict[str, Any]
    """What the card says of the data; decides nothing."""

    @property
    def checkpoint(self) -> str:
        """Names the folder in which it is made, as those of a campaign are named."""
        from synpref_dagster.reward.from_profile import checkpoint_key

        return checkpoint_key(
            self.pairs, self.validation, settings=self.settings, row=self.row, seed=self.seed
        )

    def key(self) -> str:
        """`checkpoint` with the content of a backbone that is a folder here."""
        is_here = not isinstance(self.settings, LinearSettings) and Path(self.row.hub_id).is_dir()
        content = folder_fingerprint(self.row.hub_id) if is_here else self.row.hub_id
        return hash_json([self.checkpoint, content, self.row.origin()])


def _checked(
    backend: str, backbone: str | Path | None, table: Mapping[str, Any]
) -> tuple[Settings, Backbone]:
    """The settings as a section of a profile, and the row of the backbone."""
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r}: choose {', '.join(BACKENDS)}")
    own = dict(table)
    about = own.pop(ROW, {})
    if not isinstance(about, Mapping):
        raise ValueError(f"{ROW} is a table of settings here; the place has an option of its own")
    if twice := [name for name in SAID_ELSEWHERE if name in own]:
        raise ValueError(f"settings: {twice[0]} has an option of its own; take it out")
    is_linear = backend == "linear"
    if is_linear and (backbone is not None or about):
        raise ValueError("backend 'linear' has no backbone: take it out, or choose another backend")
    if not is_linear and backbone is None:
        raise ValueError(f"backend {backend!r} starts from a backbone: name a folder or hub id")
    named = {} if is_linear else {"model_size": _name(backbone)}
    section = {"backend": backend, **named, **own}
    settings: Settings = checked(RewardModelSettings, section, what="settings")
    return settings, row_of("qwen3-0.6b") if is_linear else _row(backbone, about)


def _name(place: str | Path | None) -> str:
    return str(place) if _is_papers(place) else ROW


def _is_papers(place: str | Path | None) -> bool:
    return str(place) in PAPER_SIZES and not Path(str(place)).is_dir()


def _row(place: str | Path | None, about: Mapping[str, Any]) -> Backbone:
    path = str(Path(str(place)).resolve()) if Path(str(place)).is_dir() else str(place)
    named = {} if _is_papers(place) else {"path": path}
    row: BackboneSettings = checked(
        BackboneSettings, {"name": _name(place), **named, **about}, what=f"settings.{ROW}"
    )
    found = row_of(row.name, [row])
    _refuse_unfit(found, str(place))
    return found


def _refuse_unfit(row: Backbone, place: str) -> None:
    """Refuse a backbone by its small files, which come first where it is on the hub."""
    from synpref_dagster.reward.encoding import load_encoder
    from synpref_dagster.reward.from_profile import refuse_unfit_start

    if Path(row.hub_id).is_dir():
        try:
            refuse_unfit_start(row)
        except OSError as error:
            raise ValueError(f"{place} is no folder of a backbone: {first_line(error)}") from error
        except ValueError as error:
            raise ValueError(str(error).replace(OF_A_PROFILE, OF_THE_TOOL)) from error
        return
    missing = f"{place} is no folder of this machine"
    if row.hub_id.count("/") != 1 or row.hub_id.startswith((".", "/", "~")):
        raise ValueError(f"{missing}, and no id of the hub (owner/name): correct the path")
    try:
        load_encoder(
            row.hub_id,
            max_length_tokens=row.max_length_tokens,
            pad_token=row.pad_token,
            is_start=True,
            origin=row.origin(),
        )
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{missing}, and cannot be had of the hub ({first_line(error)}): correct the path or "
            "the id, or connect this machine"
        ) from error


def _split(
    pairs: list[PreferencePair],
    gold: list[PreferencePair] | None,
    *,
    held_out: float | None,
    seed: int,
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Pairs that train and pairs that validate; no conversation is on both sides."""
    import pandas as pd

    if gold is not None:
        if held_out is not None:
            raise ValueError("both gold and a held-out share are given: take one of them out")
        if not gold:
            raise ValueError("no pair of the gold file can be used")
        known = {pair.conversation_id for pair in gold}
        return [pair for pair in pairs if pair.conversation_id not in known], gold
    share = 0.1 if held_out is None else held_out
    if not 0 <= share < 1:
        raise ValueError(f"held-out share {share}: give a number from 0 up to 1")
    if not share or not pairs:
        return pairs, []
    ids = pd.Series([pair.conversation_id for pair in pairs], dtype=object)
    sides = split_by_conversation(ids, validation_share=share, seed=seed)
    parts: dict[str, list[PreferencePair]] = {"train": [], "validation": []}
    for pair, side in zip(pairs, sides, strict=True):
        parts[side].append(pair)
    if not all(parts.values()):
        raise ValueError(
            f"{ids.nunique()} conversations are too few to hold out {share:.0%} of them: give a "
            "gold file or another share; 0 holds out none"
        )
    return parts["train"], parts["validation"]


def _trained(target: Path, wanted: _Wanted, *, force: bool, listener: Listener) -> "TrainingReport":
    """The report of the model in its place; trained unless it is there."""
    work = target.with_name(f".{target.name}.work")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if found := _found(target, wanted):
            remove(work)
            return found
        if not force:
            raise ValueError(f"{target} is there already: name another output, or give --force")
        if not any((target / name).is_file() for name in OF_A_MODEL):
            raise ValueError(f"{target} holds no model, and is not replaced: name another output")
    place = work / "models" / wanted.checkpoint
    report, told = _fitted(wanted, work=work, place=place, listener=listener)
    part = _given_away(wanted, place, beside(target))
    about = {"trained_with": told, "validation_pairs": len(wanted.validation)}
    left_out = _left_out(report, wanted)
    write_model_card(
        part,
        title=target.name,
        trained_with=told,
        report=report,
        data={**wanted.about, "left_out": left_out, "seed": wanted.seed},
    )
    write_json(part / TRAINED_BY, {"key": wanted.key(), **about})
    put_in_place(part, target)
    remove(work)
    return report


def _found(target: Path, wanted: _Wanted) -> "TrainingReport | None":
    """The report of the model that is there, if it is this one."""
    from synpref_dagster.reward.folders import published_training
    from synpref_dagster.reward.training.config import TrainingReport

    try:
        key = json.loads((target / TRAINED_BY).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    training = published_training(target) if key == wanted.key() else None
    return TrainingReport.from_json(training["report"], reused=True) if training else None


def _fitted(
    wanted: _Wanted, *, work: Path, place: Path, listener: Listener
) -> tuple["TrainingReport", dict[str, Any]]:
    from synpref_dagster.reward.devices import on_all_cores
    from synpref_dagster.reward.fitting import fit, frozen_reader, place_of
    from synpref_dagster.reward.from_profile import configuration, logged

    def fine_tune(config: "TrainingConfig") -> "TrainingReport":
        from synpref_dagster.reward.training.launch import train_in_processes
        from synpref_dagster.reward.training.run import train_reward_model

        assert isinstance(settings, TransformerSettings)
        start = place_of(wanted.row, work / "backbones")
        on_step = steps_heard("the model", listener)
        how: Callable[..., TrainingReport] = partial(train_reward_model, on_step=on_step)
        if settings.num_processes > 1:
            how = partial(train_in_processes, settings.num_processes)
        with on_all_cores(config.device):
            return how(*data, backbone_path=start, config=config, output_dir=place)

    settings, data = wanted.settings, (wanted.pairs, wanted.validation)
    with heard_by(listener):
        report, config = fit(
            *data,
            config=configuration(settings, wanted.row, final=False, seed=wanted.seed),
            reader=partial(frozen_reader, wanted.row, home=work),
            fine_tune=fine_tune,
            output_dir=place,
        )
    return report, logged(settings, wanted.row, config)


def _given_away(wanted: _Wanted, place: Path, part: Path) -> Path:
    """The finished folder; a head goes with what it reads."""
    if not isinstance(wanted.settings, FrozenSettings):
        return place
    from synpref_dagster.reward.frozen.releasing import stand_alone

    stand_alone(place, part)
    return part
