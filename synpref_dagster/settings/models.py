"""Settings of reward models: `[reward_model]` trains those of the stages, `[release]` the released.

Both are unions: `backend` decides which settings there are, and a setting that the backend does not
obey is refused. The same holds for the losses, by `name`. None stands for what the backend brings:
`hub` trains with the paper's numbers (`reward/backbones.py`), `stand_in` with those that suit it.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from synpref_dagster.settings.addresses import Called, Revision, Words, checked_path, is_hub_id
from synpref_dagster.settings.names import checked_name
from synpref_dagster.settings.section import MOST, Section

ModelSize = Literal[
    "qwen3-0.6b",
    "qwen3-1.7b",
    "qwen3-4b",
    "qwen3-8b",
    "llama-3.2-1b",
    "llama-3.2-3b",
    "llama-3.1-8b",
    "llama-3.1-8b-40m",
]
PAPER_SIZES: tuple[str, ...] = get_args(ModelSize)
FIRST_FORM: Mapping[str, Any] = {
    "batch_pairs": None,
    "evaluate_every_steps": 50,
    "learning_rate": None,
    "model_size": "qwen3-0.6b",
    "num_final_steps": None,
    "num_processes": 1,
    "num_steps": None,
}


def key_material(settings: Section) -> dict[str, Any]:
    """What a key hashes of `[reward_model]` or `[release]`.

    It has the form of the first version, with the defaults of that time, changed by what a profile
    sets otherwise. So a setting that is new enters a key only where it is not at its default, and
    whoever adds one retrains nobody's models. `num_final_steps` is gone from profiles and stays in
    the form.
    """
    backend = settings.model_dump(include={"backend"})
    return {**FIRST_FORM, **settings.model_dump(exclude_defaults=True), **backend}


def member_fields_only(
    key: str, members: tuple[type[Section], ...], *, otherwise: str = ""
) -> Callable[[Any], Any]:
    """Returns a validator that refuses fields the chosen member does not have.

    Args:
        key: field that tells the members apart.
        members: the members.
        otherwise: what else to say where the key's value is none of theirs.
    """
    own = {
        name: [field for field in member.model_fields if field != key]
        for member in members
        for name in _names(key, member)
    }

    def check(table: Any) -> Any:
        if isinstance(table, Section):
            return table
        if not isinstance(table, Mapping):
            raise ValueError(f"{table!r} is no table: write one, with {key} = {_or(list(own))}")
        chosen = str(table.get(key))
        if chosen not in own:
            said = f"{key} is {table[key]!r}" if key in table else f"{key} is missing"
            raise ValueError(f"{said}: choose {_or(list(own))}{otherwise}")
        for field in table:
            if field != key and field not in own[chosen]:
                others = [name for name, fields in own.items() if field in fields]
                owners = f"{_or(others)} would obey it" if others else "nobody would obey it"
                raise ValueError(
                    f"{key} {chosen!r} has no setting {field!r}, {owners}. Take it out; {chosen!r} "
                    f"obeys {', '.join(own[chosen]) or 'nothing else'}"
                )
        return table

    return check


def _names(key: str, *members: type[Section]) -> tuple[str, ...]:
    return tuple(name for each in members for name in get_args(each.model_fields[key].annotation))


def _or(names: list[str]) -> str:
    return " or ".join(repr(name) for name in names)


class _Loss(Section):
    centre_coefficient: float = Field(default=0.0, ge=0, le=1_000_000)
    """c of c * (reward(chosen) + reward(rejected))^2, which keeps rewards around zero."""


class PlainLoss(_Loss):
    """Bradley-Terry, or cross entropy on each response alone."""

    name: Literal["bradley_terry", "cross_entropy"] = "bradley_terry"


class TemperatureLoss(_Loss):
    """Bradley-Terry of the margin divided by a temperature."""

    name: Literal["temperature"]
    temperature: float = Field(default=2.0, gt=0, le=1_000_000)
    """What margins are divided by."""


class FocalLoss(_Loss):
    """Bradley-Terry that looks away from pairs that are right already."""

    name: Literal["focal", "focal_penalty"]
    focal_gamma: float = Field(default=2.0, ge=0, le=1000)
    """How much less a pair counts that is right already; 0 is Bradley-Terry."""


class MarginLoss(_Loss):
    """Losses that want one and the same margin of every pair."""

    name: Literal["hinge", "margin_mse"]
    target_margin: float = Field(default=1.0, ge=0, le=1_000_000)
    """The margin that every pair should have."""


class TemperedLogLoss(_Loss):
    """Bradley-Terry with a tempered logarithm; 0 is linear, towards 1 it is the logarithm."""

    name: Literal["tempered_log"]
    tempering: float = Field(default=0.5, ge=0, lt=1)
    """Of the logarithm."""


_LOSSES = (PlainLoss, TemperatureLoss, FocalLoss, MarginLoss, TemperedLogLoss)
LossSettings = Annotated[
    PlainLoss | TemperatureLoss | FocalLoss | MarginLoss | TemperedLogLoss,
    Field(discriminator="name"),
    BeforeValidator(member_fields_only("name", _LOSSES)),
    BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value),
]
"""`loss = "hinge"`, or a table with the loss's constants."""


def is_path(place: str) -> bool:
    """Whether a backbone's place can only be a folder; `owner/name` may be on the hub as well."""
    return place.startswith(("/", ".", "~")) or place.count("/") > 1


def _backbone_place(place: str) -> str:
    if not (is_path(place) or is_hub_id(place)):
        raise ValueError(
            f"{place!r} is neither a folder nor a hub id: write /path/to/folder, ./folder or "
            "owner/name"
        )
    return place


Place = Annotated[
    str, Field(min_length=1), AfterValidator(_backbone_place), AfterValidator(checked_path)
]


class LoraSettings(Section):
    """Train low-rank updates and the score head only; the checkpoint is whole all the same."""

    rank: int = Field(ge=1, le=65_536)
    """Rank of the updates."""
    alpha: int | None = Field(default=None, ge=1, le=1_000_000)
    """The updates are scaled by alpha / rank; None is twice the rank."""
    target_modules: tuple[Called, ...] | None = Field(default=None, min_length=1)
    """Names of the layers that are updated, e.g. `q_proj`; None is every linear layer."""


class TransformerSettings(Section):
    """What every backend obeys that trains by gradient steps."""

    learning_rate: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate."""
    batch_pairs: int | None = Field(default=None, ge=1, le=MOST)
    """Pairs per optimizer step."""
    num_steps: int | None = Field(default=None, ge=1, le=MOST)
    """Optimizer steps; None passes over the data once, or `num_epochs` times."""
    schedule: Literal["constant", "linear", "cosine"] | None = None
    """Learning rate after the warm-up; None: linear, and constant for releases of `hub`."""
    loss: LossSettings = PlainLoss()
    """What is minimised."""
    lora: LoraSettings | None = None
    """Train low-rank updates alone; left out: all weights."""
    evaluate_every_steps: int = Field(default=50, ge=1, le=MOST)
    """Optimizer steps between two looks at the validation pairs; the best checkpoint stays."""
    num_processes: int = Field(default=1, ge=1, le=10_000)
    """Workers under `torchrun`, one per GPU; 1 trains in the step's own process."""


class StandInReleaseSettings(TransformerSettings):
    """Tiny, randomly initialised models of the released architectures."""

    backend: Literal["stand_in"]


class StandInSettings(StandInReleaseSettings):
    """A stand-in model for the stages."""

    model_size: Called = "qwen3-0.6b"
    """Size whose architecture the miniature has."""


class LinearSettings(Section):
    """Bradley-Terry on frozen features: nothing to set."""

    backend: Literal["linear"]


class FrozenReleaseSettings(Section):
    """Heads on frozen backbones; None takes what the backend brings."""

    backend: Literal["frozen"]
    layers: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] | None = Field(
        default=None, min_length=1
    )
    """Layers to choose from, counted from 1; None: two thirds of the way up, and the last."""
    poolings: tuple[Literal["last", "mean", "both"], ...] = Field(
        default=("last", "mean", "both"), min_length=1
    )
    """What a head may read: the last token, the mean over the response, or both."""
    penalties: tuple[Annotated[float, Field(gt=0, le=MOST)], ...] | None = Field(
        default=None, min_length=1
    )
    """Strengths of the head's squared penalty to choose from."""
    max_length_tokens: int | None = Field(default=None, ge=2, le=MOST)
    """Longer sequences lose their beginning."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the backbone; auto: the size's own, else bfloat16 where the processor has it."""


class FrozenSettings(FrozenReleaseSettings):
    """A head on a frozen backbone for the stages."""

    model_size: Called = "qwen3-0.6b"
    """Size whose backbone is read."""


def _checked_size(name: str) -> str:
    if "..." in name or name in ("all", "none"):
        raise ValueError(
            f"backbone name {name!r}: give another one, without '...': Dagster reads a range of "
            "sizes in it, and --sizes all of them in 'all' and no one in 'none'"
        )
    return checked_name("backbone", name, spaces=False)


class BackboneSettings(Section):
    """One size of a profile: a backbone of your own, or one of the eight with other numbers.

    What a row leaves out is that of the paper's row of this name, where there is one. Settings of
    `[reward_model]` and `[release]` come before those of a row, for they speak of all sizes.
    """

    name: Annotated[str, AfterValidator(_checked_size)]
    """Partition key, and part of the names of releases."""
    path: Place | None = None
    """Local folder or hub id; may be left out for one of the eight."""
    revision: Revision | None = None
    """Commit, tag or branch on the hub."""
    gguf_file: Called | None = None
    """Name of a GGUF file in `path` that the weights are taken from."""
    licence: Called | None = None
    """Licence of the weights, as the hub names it."""
    pad_token: Words | None = None
    """Token to pad with where the tokenizer names none besides end-of-sequence."""
    learning_rate: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate of this size."""
    batch_pairs: int | None = Field(default=None, ge=1, le=MOST)
    """Pairs per optimizer step of this size."""
    max_length_tokens: int | None = Field(default=None, ge=2, le=MOST)
    """Longest sequence of this size, in tokens."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of its activations."""
    lora: LoraSettings | None = None
    """Low-rank updates of this size."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.path is None and self.name not in PAPER_SIZES:
            raise ValueError(
                f"backbone {self.name!r} names no path: give path = a folder or a hub id, or name "
                f"one of {', '.join(PAPER_SIZES)}"
            )
        if self.path is None and (self.revision or self.gguf_file):
            raise ValueError(f"backbone {self.name!r}: revision and gguf_file speak of a path")
        return self


class HubTrainingSettings(TransformerSettings):
    """Real backbones; None takes the size's number from the paper."""

    backend: Literal["hub"]
    num_epochs: int = Field(default=1, ge=1, le=10_000)
    """Passes over the data where `num_steps` does not say how long."""
    max_length_tokens: int | None = Field(default=None, ge=2, le=10_000_000)
    """Pairs with a longer side are left out and counted."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of activations; weights are trained in float32. None: the size's, as the device has it."""
    gradient_checkpointing: bool = True
    """Keep only each layer's input and redo the layer in the backward pass: a fraction of the
    memory for a third more time."""

    @model_validator(mode="after")
    def _is_as_long_as_one_of_both_says(self) -> Self:
        if self.num_steps is not None and self.num_epochs != 1:
            raise ValueError("num_steps and num_epochs are both set: take one of them out")
        return self


class HubReleaseSettings(HubTrainingSettings):
    """Releases fine-tuned from real backbones."""

    backbones: dict[Called, Place] = Field(default_factory=dict)
    """Size -> local folder (or hub id) to start from in place of the size's own hub id."""

    def given_backbone(self, model_size: str) -> str | None:
        """Where a size starts from instead of its own hub id; None for the latter."""
        return self.backbones.get(model_size)


class HubSettings(HubTrainingSettings):
    """A real backbone for the stages."""

    model_size: Called = "qwen3-0.6b"
    """Size that the stages train."""
    backbone: Place | None = None
    """Local folder (or hub id) to start from in place of the size's own hub id."""

    def given_backbone(self, model_size: str) -> str | None:
        """Where a size starts from instead of its own hub id; None for the latter."""
        return self.backbone if model_size == self.model_size else None


_STAGES = (StandInSettings, LinearSettings, HubSettings, FrozenSettings)
_RELEASES = (StandInReleaseSettings, HubReleaseSettings, FrozenReleaseSettings)
RewardModelSettings = Annotated[
    StandInSettings | LinearSettings | HubSettings | FrozenSettings,
    Field(discriminator="backend"),
    BeforeValidator(member_fields_only("backend", _STAGES)),
]
ReleaseSettings = Annotated[
    StandInReleaseSettings | HubReleaseSettings | FrozenReleaseSettings,
    Field(discriminator="backend"),
    BeforeValidator(
        member_fields_only(
            "backend",
            _RELEASES,
            otherwise=", whose checkpoints can be released",
        )
    ),
]
TAGS = {
    "reward_model": _names("backend", *_STAGES),
    "release": _names("backend", *_RELEASES),
    "loss": _names("name", *_LOSSES),
}
"""Fields that hold a union -> its members, of which pydantic names one in the place of an error."""
