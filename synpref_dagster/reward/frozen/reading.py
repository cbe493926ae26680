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
from synpref_dagster.reward.frozen.places import FEATURES, backbone_folder
from synpref_dagster.reward.frozen.store import Features, FeatureStore, response_keys

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
            on_read: told how far the reading is, file by file.
        """
        keys = response_keys(conversations, responses)
        place = {key: at for at, key in enumerate(dict.fromkeys(keys))}
        features = np.zeros((len(place), self.num_features), dtype=np.float32)
        for part, read in self._read(keys, conversations, responses, on_read=on_read):
            features[[place[key] for key in part]] = read
        return features[[place[key] for key in keys]]

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
        if self._store is not None:
            is_known = self._store.knows(left)
            known = [key for key, found in zip(left, is_known, strict=True) if found]
            left = [key for key, found in zip(left, is_known, strict=True) if not found]
            self.num_known += len(known)
            if known_too and known:
                yield known, self._store.find(known)
        started, num_done = time.monotonic(), 0
        for part in _parts(left, [id(conversations[row_of[key]]) for key in left]):
            rows = [row_of[key] for key in part]
            read = self.backbone.features(
                [conversations[row] for row in rows], [responses[row] for row in rows]
            )
            if self._store is not None:
                self._store.add(part, read)
            num_done += len(part)
            self.num_read += len(part)
            if on_read is not None:
                seconds = time.monotonic() - started
                on_read(ResponsesRead.at(num_done, len(left), seconds=seconds))
            yield part, read


def _parts(keys: Sequence[bytes], conversations: Sequence[int]) -> Iterator[list[bytes]]:
    """Keys in parts of about one file each; responses of one conversation stay together."""
    members: dict[int, list[bytes]] = {}
    for key, conversation in zip(keys, conversations, strict=True):
        members.setdefault(conversation, []).append(key)
    part: list[bytes] = []
    for group in members.values():
        part += group
        if len(part) >= RESPONSES_PER_FILE:
            yield part
            part = []
    if part:
        yield part


@lru_cache(maxsize=2)
def opened_reader(reading: Reading, home: Path, *, keeps: bool, device: str) -> FeatureReader:
    """The reader of these features, kept: models of a campaign share one backbone."""
    return FeatureReader(reading, home, keeps=keeps, device=device)
