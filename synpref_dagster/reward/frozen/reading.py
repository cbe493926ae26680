"""Features through the store: what was read before comes from there, the rest from the backbone.

A backbone is loaded only when something is left to read, and then once for all models of a process
that read it in the same way.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from synpref_dagster.pairs.progress import ResponsesRead
from synpref_dagster.pairs.record import Turn
from synpref_dagster.reward.encoding import ChatEncoder, load_encoder
from synpref_dagster.reward.frozen.features import POOLINGS, FrozenBackbone
from synpref_dagster.reward.frozen.store import Features, FeatureStore, response_keys

BACKBONES, FEATURES = "backbones", "features"
RESPONSES_PER_FILE = 512  # what a killed run reads again at most
VERSION = "1"

OnRead = Callable[[ResponsesRead], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What features depend on besides the texts.

    Attributes:
        backbone: Name of the prepared backbone's folder.
        layers: Layers read, counted from 1, in this order.
        max_length_tokens: Longest sequence; longer ones lose their beginning.
        dtype: Of the backbone's weights and activations.
    """

    backbone: str
    layers: tuple[int, ...]
    max_length_tokens: int
    dtype: str

    @property
    def name(self) -> str:
        """Name of the folder of these features."""
        told = f"{VERSION}|{sorted(asdict(self).items())}"
        return f"{self.backbone}-{blake2b(told.encode(), digest_size=6).hexdigest()}"


class FeatureReader:
    """Reads responses with one frozen backbone, each of them once.

    Attributes:
        num_read: Responses that the backbone read so far.
        num_known: Responses that were found in the store so far.
    """

    def __init__(self, reading: Reading, home: Path, *, keeps: bool, device: str) -> None:
        self.reading = reading
        self.folder = backbone_folder(home, reading.backbone)
        self.device = device
        self.num_read = self.num_known = 0
        self._home = home if keeps else None

    @cached_property
    def encoder(self) -> ChatEncoder:
        """Tokenizer and template, without the weights."""
        return load_encoder(str(self.folder), max_length_tokens=self.reading.max_length_tokens)

    @cached_property
    def backbone(self) -> FrozenBackbone:
        """The backbone, loaded when first asked for."""
        return FrozenBackbone.load(
            str(self.folder),
            layers=self.reading.layers,
            max_length_tokens=self.reading.max_length_tokens,
            dtype=self.reading.dtype,
            device=self.device,
        )

    @property
    def num_truncated(self) -> int:
        """Sequences that lost their beginning so far."""
        return self.backbone.num_truncated if "backbone" in vars(self) else 0

    @cached_property
    def width(self) -> int:
        """Hidden size of the backbone."""
        from transformers import AutoConfig

        return int(AutoConfig.from_pretrained(str(self.folder)).get_text_config().hidden_size)

    @cached_property
    def _store(self) -> FeatureStore | None:
        if self._home is None:
            return None
        folder = self._home / FEATURES / self.reading.name
        num_features = len(self.reading.layers) * len(POOLINGS) * self.width
        return FeatureStore(folder, num_features=num_features)

    def features(
        self,
        conversations: Sequence[Sequence[Turn]],
        responses: Sequence[str],
        *,
        on_read: OnRead | None = None,
    ) -> Features:
        """(n, F) float32 features in order; each distinct (conversation, response) is read once.

        Args:
            conversations: of each response.
            responses: the texts.
            on_read: told how far the reading is, file by file.
        """
        keys = response_keys(conversations, responses)
        row_of = {key: row for row, key in reversed(list(enumerate(keys)))}
        distinct = list(row_of)
        num_features = len(self.reading.layers) * len(POOLINGS) * self.width
        if self._store is None:
            features = np.zeros((len(distinct), num_features), dtype=np.float32)
            is_known = np.zeros(len(distinct), dtype=np.bool_)
        else:
            found = self._store.find(distinct)
            features, is_known = found.features, found.is_known
        rows = [row_of[key] for key in distinct]
        left = [at for at in range(len(distinct)) if not is_known[at]]
        self.num_known += len(distinct) - len(left)
        started, num_done = time.monotonic(), 0
        for part in _parts(left, [id(conversations[rows[at]]) for at in left]):
            read = self.backbone.features(
                [conversations[rows[at]] for at in part], [responses[rows[at]] for at in part]
            )
            if self._store is not None:
                self._store.add([distinct[at] for at in part], read)
            features[part] = read
            num_done += len(part)
            self.num_read += len(part)
            if on_read is not None:
                on_read(ResponsesRead.at(num_done, len(left), seconds=time.monotonic() - started))
        place = {key: at for at, key in enumerate(distinct)}
        return features[[place[key] for key in keys]]


def _parts(rows: Sequence[int], conversations: Sequence[int]) -> Iterator[list[int]]:
    """Rows in parts of about one file each; responses of one conversation stay together."""
    members: dict[int, list[int]] = {}
    for row, conversation in zip(rows, conversations, strict=True):
        members.setdefault(conversation, []).append(row)
    part: list[int] = []
    for group in members.values():
        part += group
        if len(part) >= RESPONSES_PER_FILE:
            yield part
            part = []
    if part:
        yield part


def backbone_folder(home: Path, name: str) -> Path:
    """Where a prepared backbone lies in a campaign's folder, or in a folder given away."""
    own = home / name
    return own if own.is_dir() else home / BACKBONES / name


def find_home(folder: Path, name: str) -> tuple[Path, bool]:
    """The folder that holds a model's backbone, and whether it is a campaign's.

    Args:
        folder: of the model.
        name: of its backbone.

    Raises:
        ValueError: it is neither in the folder nor beside the models above it.
    """
    folder = folder.resolve()
    if (folder / name).is_dir():
        return folder, False
    for home in folder.parents:
        if (home / BACKBONES / name).is_dir():
            return home, True
    raise ValueError(
        f"{folder} is a head on the frozen backbone {name!r}, which lies neither in it nor in "
        f"{BACKBONES}/ of a folder above: copy the campaign's {BACKBONES}/{name} beside it, or "
        "use the release, which holds its backbone"
    )


@lru_cache(maxsize=2)
def opened_reader(reading: Reading, home: Path, *, keeps: bool, device: str) -> FeatureReader:
    """The reader of these features, kept: models of a campaign share one backbone."""
    return FeatureReader(reading, home, keeps=keeps, device=device)
