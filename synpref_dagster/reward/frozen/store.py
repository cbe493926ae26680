"""Features of responses that a backbone has read, kept by content in a folder beside the models.

Each file holds the features of some responses and is never changed: `NAME.npy` the numbers, then
`NAME.keys` whose responses they are. NAME is a hash of both, so that a file which was damaged, or
cut short by a full disk, is noticed: it counts as not there, and its responses are read again.
Several processes may write at a time; the worst that happens is that one response is there twice.
"""

import logging
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synpref_dagster.pairs.record import ID_BYTES, Turn, conversation_keys, digest
from synpref_dagster.storage.atomic import beside, put_in_place

logger = logging.getLogger(__name__)

Features = npt.NDArray[np.float32]
KEY = np.dtype(f"S{ID_BYTES}")
READ_ROWS = 1 << 14


class FeatureStore:
    """The folder of one backbone's features.

    Args:
        folder: where they are kept; made when the first are added.
        num_features: F, numbers per response.
    """

    def __init__(self, folder: Path, *, num_features: int) -> None:
        self.folder = folder
        self.num_features = num_features
        self._files: list[Path] = []
        self._seen: set[str] = set()
        self._keys = np.zeros(0, dtype=KEY)
        self._places = np.zeros((0, 2), dtype=np.int64)

    def knows(self, keys: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """(n,) whether the features of these responses (`response_keys`) are there."""
        self._look_for_new_files()
        return self._at(keys)[1]

    def find(self, keys: Sequence[bytes]) -> Features:
        """(n, F) float32 features of responses that are known.

        Raises:
            KeyError: one is not.
        """
        self._look_for_new_files()
        at, is_known = self._at(keys)
        if not is_known.all():
            raise KeyError(f"{int((~is_known).sum())} responses were not read yet")
        places = self._places[at]
        features = np.zeros((len(keys), self.num_features), dtype=np.float32)
        for number in np.unique(places[:, 0]):
            rows = np.flatnonzero(places[:, 0] == number)
            stored = np.load(self._files[number], mmap_mode="r", allow_pickle=False)
            features[rows] = stored[places[rows, 1]]
        return features

    def _at(self, keys: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        wanted = np.array(keys, dtype=KEY)
        at = np.searchsorted(self._keys, wanted)
        is_known = at < len(self._keys)
        is_known[is_known] = self._keys[at[is_known]] == wanted[is_known]
        return at, is_known

    def add(self, keys: Sequence[bytes], features: Features) -> None:
        """Keep the features (n, F) of responses by their keys."""
        if features.shape != (len(keys), self.num_features):
            raise ValueError(
                f"features {features.shape} of {len(keys)} responses: "
                f"({len(keys)}, {self.num_features}) are wanted"
            )
        if not len(keys):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        named = np.array(keys, dtype=KEY)
        target = self.folder / f"{_name(named, features)}.npy"
        for file, array in ((target, features), (target.with_suffix(".keys"), named)):
            part = beside(file)
            with part.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
            put_in_place(part, file)
        self._seen.discard(target.with_suffix(".keys").name)  # where a damaged one was, a whole is

    def _look_for_new_files(self) -> None:
        new = [
            file
            for file in sorted(self.folder.glob("*.keys"))
            if file.name not in self._seen and file.with_suffix(".npy").is_file()
        ]
        for file in new:
            self._seen.add(file.name)
            keys = self._checked(file)
            if keys is None:
                continue
            place = np.stack([np.full(len(keys), len(self._files)), np.arange(len(keys))], axis=1)
            self._files.append(file.with_suffix(".npy"))
            self._keys = np.concatenate([self._keys, keys])
            self._places = np.concatenate([self._places, place])
        if new:
            order = np.argsort(self._keys, kind="stable")
            self._keys, self._places = self._keys[order], self._places[order]

    def _checked(self, file: Path) -> npt.NDArray[np.bytes_] | None:
        """The keys of a file whose content is what its name says; None, and a warning, if not."""
        try:
            keys = np.load(file, allow_pickle=False)
            features = np.load(file.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            is_whole = features.shape == (len(keys), self.num_features) and keys.dtype == KEY
            if is_whole and _name(keys, features) == file.stem:
                return keys
        except (OSError, ValueError, EOFError):
            pass
        logger.warning("%s is damaged: what it held is read again by the backbone", file)
        return None


def response_keys(conversations: Sequence[Sequence[Turn]], responses: Sequence[str]) -> list[bytes]:
    """Identity of each response in its conversation, 16 bytes; never of its place anywhere."""
    before = conversation_keys(conversations)
    return [digest(key.hex(), text) for key, text in zip(before, responses, strict=True)]


def _name(keys: npt.NDArray[np.bytes_], features: Features) -> str:
    hasher = blake2b(keys.tobytes(), digest_size=16)
    for start in range(0, len(features), READ_ROWS):
        hasher.update(np.ascontiguousarray(features[start : start + READ_ROWS]).tobytes())
    return hasher.hexdigest()
