"""Features through the store: what was read before comes from there, the rest from the backbone.

A backbone is loaded only when something is left to read, and then once for all models of a process
that read it in the same way. Models that read fewer layers of the same backbone, or read it under
another row's name, find what those read that read more.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from synpref_dagster.pairs.progress import ReadingPace, ResponsesRead, say
from synpref_dagster.pairs.record import Turn, conversation_keys
from synpref_dagster.reward.devices import on_all_cores
from synpref_dagster.reward.encoding import ChatEncoder, load_encoder
from synpref_dagster.reward.frozen.features import POOLINGS, FrozenBackbone
from synpref_dagster.reward.frozen.heads import columns_of
from synpref_dagster.reward.frozen.places import FEATURES, backbone_folder, source_of
from synpref_dagster.reward.frozen.store import Features, FeatureStore, response_keys
from synpref_dagster.storage.uris import write_bytes

RESPONSES_PER_FILE = 512  # what a killed run reads again at most
CHARACTERS_PER_FILE = 1 << 19  # the same for long ones: a minute or two on two cores
KNOWN_AT_A_TIME = 4_096  # responses
READING_FILE = "reading.json"
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

    @classmethod
    def of_folder(cls, folder: Path) -> "Reading | None":
        """What a folder of features holds, if it says so and its name agrees."""
        try:
            told = json.loads((folder / READING_FILE).read_text(encoding="utf-8"))
            reading = cls(**{**told, "layers": tuple(told["layers"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None  # of an earlier version, or damaged: nothing is shared, nothing is wrong
        return reading if reading.name == folder.name else None

    def holds(self, other: "Reading") -> bool:
        """Whether it reads the layers of another one in the same way; the backbone aside."""
        alike = (self.max_length_tokens, self.dtype) == (other.max_length_tokens, other.dtype)
        return alike and set(self.layers) >= set(other.layers)


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
        self._others: dict[str, FeatureStore] = {}

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
        return FeatureStore(folder, num_features=self.num_features)

    @property
    def num_features(self) -> int:
        """F: two poolings of each layer."""
        return len(self.reading.layers) * len(POOLINGS) * self.width

    def counts(self) -> dict[str, int]:
        """Tokens forwarded so far, and the least that would have done; empty before the first."""
        if "backbone" not in vars(self):
            return {}
        backbone = self.backbone
        return {"num_tokens": backbone.num_tokens, "least_tokens": backbone.least_tokens}

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
            on_read: told how far the reading is, every few seconds; without one, who listens to
                this thread is (`pairs.progress`).
        """
        keys = response_keys(conversations, responses)
        place = {key: at for at, key in enumerate(dict.fromkeys(keys))}
        features = np.zeros((len(place), self.num_features), dtype=np.float32)
        for part, read in self._read(keys, conversations, responses, on_read=on_read):
            features[[place[key] for key in part]] = read
        # They are large: no second copy where nothing is repeated.
        return features if len(place) == len(keys) else features[[place[key] for key in keys]]

    def read(
        self,
        conversations: Sequence[Sequence[Turn]],
        responses: Sequence[str],
        *,
        on_read: OnRead | None = None,
    ) -> None:
        """See to it that the store has their features; takes no memory for them."""
        keys = response_keys(conversations, responses)
        parts = self._read(keys, conversations, responses, on_read=on_read, known_too=False)
        for _ in parts:
            pass

    def _read(
        self,
        keys: Sequence[bytes],
        conversations: Sequence[Sequence[Turn]],
        responses: Sequence[str],
        *,
        on_read: OnRead | None,
        known_too: bool = True,
    ) -> Iterator[tuple[list[bytes], Features]]:
        """Keys and features, part by part: what is known first, then what is read now."""
        row_of = {key: row for row, key in reversed(list(enumerate(keys)))}
        left = list(row_of)
        for store, columns in self._stores() if left else []:
            is_known = store.knows(left)
            known = [key for key, found in zip(left, is_known, strict=True) if found]
            left = [key for key, found in zip(left, is_known, strict=True) if not found]
            self.num_known += len(known)
            for start in range(0, len(known) if known_too else 0, KNOWN_AT_A_TIME):
                some = known[start : start + KNOWN_AT_A_TIME]
                yield some, store.find(some)[:, columns]
        rows = [row_of[key] for key in left]
        pace, num_done = ReadingPace(len(rows), listener=on_read or say), 0
        for part in _parts([conversations[row] for row in rows], [responses[row] for row in rows]):
            chosen = [rows[number] for number in part]
            with on_all_cores(self.device):
                read = self.backbone.features(
                    [conversations[row] for row in chosen],
                    [responses[row] for row in chosen],
                    on_share=partial(pace.within, num_done, num_done + len(part)),
                )
            named = [keys[row] for row in chosen]
            self._keep(named, read)
            num_done += len(part)
            self.num_read += len(part)
            yield named, read

    def _keep(self, keys: list[bytes], read: Features) -> None:
        if self._store is None:
            return
        about = self._store.folder / READING_FILE
        if Reading.of_folder(about.parent) is None:
            write_bytes(about, json.dumps(asdict(self.reading)).encode())
        self._store.add(keys, read)

    def _stores(self) -> Iterator[tuple[FeatureStore, Any]]:
        """Where features may be known, and which of a store's columns they are: our own first."""
        if self._store is None or self._home is None:
            return
        yield self._store, slice(None)
        source = source_of(self.folder)
        for folder in sorted((self._home / FEATURES).glob(f"*/{READING_FILE}")):
            other = Reading.of_folder(folder.parent)
            if other is None or other == self.reading or not other.holds(self.reading):
                continue
            if source is None or source_of(backbone_folder(self._home, other.backbone)) != source:
                continue
            if other.name not in self._others:
                num_features = len(other.layers) * len(POOLINGS) * self.width
                self._others[other.name] = FeatureStore(folder.parent, num_features=num_features)
            columns = [
                columns_of(layer, "both", layers=other.layers, width=self.width)
                for layer in self.reading.layers
            ]
            yield self._others[other.name], np.concatenate(columns)


def _parts(
    conversations: Sequence[Sequence[Turn]], responses: Sequence[str]
) -> Iterator[list[int]]:
    """Rows in parts of about one file each; responses of one conversation stay together.

    Only where those of one conversation alone are more than a file are they parted.
    """
    members: dict[bytes, list[int]] = {}
    for row, key in enumerate(conversation_keys(conversations)):
        members.setdefault(key, []).append(row)
    part: list[int] = []
    num_characters = 0
    for group in members.values():
        num_characters += sum(len(turn["content"]) for turn in conversations[group[0]])
        for row in group:
            part.append(row)
            num_characters += len(responses[row])
            if len(part) >= 2 * RESPONSES_PER_FILE:
                yield part
                part, num_characters = [], 0
        if len(part) >= RESPONSES_PER_FILE or num_characters >= CHARACTERS_PER_FILE:
            yield part
            part, num_characters = [], 0
    if part:
        yield part


@lru_cache(maxsize=2)
def opened_reader(reading: Reading, home: Path, *, keeps: bool, device: str) -> FeatureReader:
    """The reader of these features, kept: models of a campaign share one backbone."""
    return FeatureReader(reading, home, keeps=keeps, device=device)
