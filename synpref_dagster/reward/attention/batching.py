"""Packs: sequences that share a prefix are laid out so that the prefix is forwarded once.

A group is all sequences of one conversation: `[prefix first][second][third]...` in one row, where
positions of the later ones go on from the end of the prefix. Packs are filled to a token budget by
best fit. Packing decides what is computed together, never what is computed: units (the two sides
of a pair) stay in one pack, and every sequence of a group appears once.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from synpref_dagster.reward.encoding import TokenIds

Unit = tuple[int, ...]
PAIR_SLACK = 4  # two sequences stay together up to so many budgets: apart they repeat the prefix
TOKENS_PER_PACK = {"cpu": 2_048, "cuda": 16_384}


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens start..stop of a pack: causal among themselves, and seeing the prefix before them.

    Attributes:
        start: First token of the segment.
        stop: One past its last token, the scored position.
        prefix_start: First token of the prefix it continues; equal to `prefix_stop` when none.
        prefix_stop: One past the prefix's last token.
    """

    start: int
    stop: int
    prefix_start: int
    prefix_stop: int


@dataclass(frozen=True, slots=True)
class Block:
    """Queries start..stop attend to keys start..stop, causally when both are one segment."""

    query_start: int
    query_stop: int
    key_start: int
    key_stop: int
    causal: bool


@dataclass(frozen=True)
class Pack:
    """One row of T tokens with R scored positions, one per segment.

    Attributes:
        input_ids: (T,) token ids.
        position_ids: (T,) positions within each sequence.
        segments: The R segments, in row order.
        row_of: Row of the rewards (R,) that answers for a sequence, by its index.
        units: Indices of the units whose sequences are here.
    """

    input_ids: Tensor
    position_ids: Tensor
    segments: tuple[Segment, ...]
    row_of: Mapping[int, int]
    units: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """T."""
        return len(self.input_ids)

    @cached_property
    def scored(self) -> Tensor:
        """(R,) positions whose hidden state is scored: the last token of each segment."""
        last = [segment.stop - 1 for segment in self.segments]
        return torch.tensor(last, device=self.input_ids.device)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of all tokens: every segment with itself, then those that have one, a prefix."""
        own = [Block(s.start, s.stop, s.start, s.stop, True) for s in self.segments]
        spans = [(segment.start, segment.stop) for segment in self.segments]
        return (*own, *self._prefix_blocks(spans))

    @cached_property
    def scored_blocks(self) -> tuple[Block, ...]:
        """Blocks of the scored positions alone, as queries 0..R in row order."""
        own = [Block(r, r + 1, s.start, s.stop, False) for r, s in enumerate(self.segments)]
        return (*own, *self._prefix_blocks([(r, r + 1) for r in range(len(self.segments))]))

    @cached_property
    def scored_mask(self) -> Tensor:
        """(R, T) bool: which tokens each scored position sees."""
        bounds = torch.tensor(
            [[s.start, s.stop, s.prefix_start, s.prefix_stop] for s in self.segments]
        )
        start, stop, prefix_start, prefix_stop = bounds[:, :, None].unbind(1)
        token = torch.arange(self.num_tokens)
        own = (token >= start) & (token < stop)
        prefix = (token >= prefix_start) & (token < prefix_stop)
        return (own | prefix).to(self.input_ids.device)

    def to(self, device: torch.device | str) -> "Pack":
        """The pack with its tensors on a device."""
        if self.input_ids.device == torch.device(device):
            return self
        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
        )

    def _prefix_blocks(self, spans: Sequence[tuple[int, int]]) -> list[Block]:
        """One block per shared prefix: the spans of its segments lie side by side."""
        blocks: dict[tuple[int, int], Block] = {}
        for segment, (start, stop) in zip(self.segments, spans, strict=True):
            prefix = (segment.prefix_start, segment.prefix_stop)
            if prefix[0] == prefix[1]:
                continue
            first = blocks[prefix].query_start if prefix in blocks else start
            blocks[prefix] = Block(first, stop, *prefix, False)
        return list(blocks.values())


@dataclass(frozen=True, slots=True)
class _Group:
    sequences: tuple[int, ...]
    units: tuple[int, ...]
    prefix: int
    num_tokens: int


def pack_budget(device: str) -> int:
    """Token budget that suits a device: on CPU speed is flat from 512 to 8,192 tokens.

    >>> pack_budget("cuda:1")
    16384
    """
    return TOKENS_PER_PACK.get(device.partition(":")[0], TOKENS_PER_PACK["cpu"])


def pack_units(
    units: Sequence[Unit],
    sequences: Sequence[TokenIds],
    *,
    keys: Sequence[Hashable],
    tokens_per_pack: int,
    tokens_together: int = 0,
) -> list[Pack]:
    """Packs that hold every unit once, groups of one key together.

    Args:
        units: Indices of sequences that must share a pack: (chosen, rejected), or (response,).
        sequences: Token ids of each sequence; equal sequences of one key are forwarded once.
        keys: Conversation of each unit; its sequences share their longest common prefix.
        tokens_per_pack: Token budget; what exceeds it, because a unit or two sequences of one
            conversation do, gets a pack of its own.
        tokens_together: Size up to which the sequences of one conversation stay in one pack though
            they exceed the budget: apart they repeat their prefix.
    """
    largest = max(tokens_per_pack, tokens_together)
    members: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        members.setdefault(key, []).append(index)
    groups = [
        group
        for indices in members.values()
        for group in _split_group(indices, units, sequences=sequences, budget=largest)
    ]
    return [
        _lay_out(bin_groups, units, sequences=sequences)
        for bin_groups in _best_fit(groups, tokens_per_pack)
    ]


def tree_tokens(sequences: Sequence[TokenIds], *, keys: Sequence[Hashable]) -> int:
    """The least number of tokens that one shared prefix per key leaves to forward."""
    members: dict[Hashable, dict[bytes, TokenIds]] = {}
    for ids, key in zip(sequences, keys, strict=True):
        members.setdefault(key, {})[ids.tobytes()] = ids
    total = 0
    for distinct in members.values():
        group = list(distinct.values())
        prefix = common_prefix(group)
        total += prefix + sum(len(ids) - prefix for ids in group)
    return total


def common_prefix(sequences: Sequence[TokenIds]) -> int:
    """Length of the longest common prefix that leaves every sequence at least one token.

    A single sequence has none to share: 0.
    """
    if len(sequences) < 2:
        return 0
    first = sequences[0]
    length = min(len(ids) for ids in sequences) - 1
    for ids in sequences[1:]:
        different = first[:length] != ids[:length]
        at = int(different.argmax()) if length else 0
        if length and different[at]:
            length = at
    return length


def _distinct(indices: Sequence[int], sequences: Sequence[TokenIds]) -> list[int]:
    seen: dict[bytes, int] = {}
    for index in indices:
        seen.setdefault(sequences[index].tobytes(), index)
    return list(seen.values())


def _split_group(
    indices: Sequence[int], units: Sequence[Unit], *, sequences: Sequence[TokenIds], budget: int
) -> list[_Group]:
    """One group, or several with the same prefix when they exceed the budget together."""
    flat = _distinct([s for index in indices for s in units[index]], sequences)
    prefix = common_prefix([sequences[s] for s in flat])
    total = prefix + sum(len(sequences[s]) - prefix for s in flat)
    is_small = total <= budget or (len(flat) <= 2 and total <= PAIR_SLACK * budget)
    if is_small or len(indices) == 1:
        return [_Group(tuple(flat), tuple(indices), prefix, total)]
    groups: list[list[int]] = [[]]
    held: set[bytes] = set()
    room = budget - prefix
    for index in indices:
        new = {sequences[s].tobytes(): len(sequences[s]) - prefix for s in units[index]}
        cost = sum(length for ids, length in new.items() if ids not in held)
        if groups[-1] and cost > room:
            groups.append([])
            held, room = set(), budget - prefix
            cost = sum(new.values())
        groups[-1].append(index)
        held |= set(new)
        room -= cost
    return [
        group
        for part in groups
        for group in _split_group(part, units, sequences=sequences, budget=1 << 62)
    ]


def _best_fit(groups: Sequence[_Group], budget: int) -> list[list[_Group]]:
    """Bins of groups, largest first, each into the fullest bin it fits."""
    bins: list[list[_Group]] = []
    room: list[int] = []
    for group in sorted(groups, key=lambda g: -g.num_tokens):
        fits = [(left, i) for i, left in enumerate(room) if left >= group.num_tokens]
        if fits:
            _, i = min(fits)
        else:
            i = len(bins)
            bins.append([])
            room.append(budget)
        bins[i].append(group)
        room[i] -= group.num_tokens
    return bins


def _lay_out(
    groups: Sequence[_Group], units: Sequence[Unit], *, sequences: Sequence[TokenIds]
) -> Pack:
    ids: list[TokenIds] = []
    positions: list[TokenIds] = []
    segments: list[Segment] = []
    row_of: dict[int, int] = {}
    start = 0
    for group in groups:
        prefix_start = start
        for number, sequence in enumerate(group.sequences):
            skip = group.prefix if number else 0
            part = sequences[sequence][skip:]
            ids.append(part)
            positions.append(np.arange(skip, skip + len(part)))
            stop = start + len(part)
            row_of[sequence] = len(segments)
            segments.append(Segment(start, stop, prefix_start, prefix_start + skip))
            start = stop
    members = tuple(unit for group in groups for unit in group.units)
    repeats = {s for unit in members for s in units[unit]} - set(row_of)
    rows = {sequences[s].tobytes(): row for s, row in row_of.items()} if repeats else {}
    return Pack(
        torch.from_numpy(np.concatenate(ids)),
        torch.from_numpy(np.concatenate(positions)),
        tuple(segments),
        row_of | {s: rows[sequences[s].tobytes()] for s in repeats},
        members,
    )
