"""Text to token ids, one way only: the chat template stored with the checkpoint, whole sequences.

Prompt and response are never tokenised apart (merges across the border would differ). Guards:
the pad token is set, differs from end-of-sequence and from the template's last token; BOS comes
at most once; the template reads no clock. Pairs that cannot be trained on are counted, not cut.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.pairs.texts import first_line

TokenIds = npt.NDArray[np.int64]

PINNED_DATE = "26 Jul 2024"  # the constant Llama's own template falls back to without a clock
OVER_LONG = "over_long"
IDENTICAL = "identical_after_tokenisation"
IDENTICAL_TEXT = "identical_text"
PAD_IN_TEXT = "pad_token_in_text"
ENCODE_CHUNK = 1_024
# Llama's date header, and the marks around it: they say nothing of how to answer.
DATE_HEADER = re.compile(
    r"Cutting Knowledge Date: [^\n]*\n|Today Date: [^\n]*\n|<\|\w+\|>|\bsystem\b"
)
PROBED = ("Question-7f3a", "Answer-7f3a", "Question-7f3b")  # in no template's own words
WITHOUT_OPENING = (
    "{% set whole %}TEMPLATE{% endset %}"
    "{{ whole if messages[0]['role'] == 'system' else whole.replace(OPENING, '', 1) }}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPair:
    """A pair as token ids.

    Attributes:
        pair_id: Identity of the pair, 16 bytes.
        conversation_id: Identity of its conversation; pairs that share it share a prefix.
        chosen: (T,) ids of conversation + chosen response.
        rejected: (T,) ids of conversation + rejected response.
        margin: Margin the loss requires.
    """

    pair_id: bytes
    conversation_id: bytes
    chosen: TokenIds
    rejected: TokenIds
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DroppedPairs:
    """Pairs of one source left out for one reason.

    Attributes:
        source: Source of the pairs.
        reason: Reason code.
        count: How many.
        pair_ids: Which, as hexadecimal ids in input order.
    """

    source: str
    reason: str
    count: int
    pair_ids: tuple[str, ...]


class ChatEncoder:
    """Tokenizer plus pinned chat template, checked once, used for training and scoring alike."""

    def __init__(self, tokenizer: Any, *, max_length_tokens: int) -> None:
        if max_length_tokens < 2:
            raise ValueError(f"max_length_tokens is {max_length_tokens}, must be at least 2")
        self.tokenizer = tokenizer
        self.max_length_tokens = max_length_tokens
        tokenizer.chat_template = pinned_template(tokenizer.chat_template)
        self._check_guards()

    @property
    def pad_token_id(self) -> int:
        """Id of the pad token."""
        return int(self.tokenizer.pad_token_id)

    @property
    def template_fingerprint(self) -> str:
        """Hexadecimal hash of the pinned template."""
        return blake2b(self.tokenizer.chat_template.encode(), digest_size=8).hexdigest()

    def encode(
        self, conversations: Sequence[Sequence[Turn]], responses: Sequence[str]
    ) -> list[TokenIds]:
        """Token ids of each conversation followed by its response, in order, never cut.

        Raises:
            ValueError: If the lengths differ.
        """
        if len(conversations) != len(responses):
            raise ValueError(
                f"{len(conversations)} conversations but {len(responses)} responses; "
                "give one response per conversation"
            )
        ids: list[TokenIds] = []
        for start in range(0, len(responses), ENCODE_CHUNK):
            part = slice(start, start + ENCODE_CHUNK)
            ids += self._tokenize(self._render(conversations[part], responses[part]))
        return ids

    def response_starts(
        self, conversations: Sequence[Sequence[Turn]], sequences: Sequence[TokenIds]
    ) -> list[int]:
        """Where the response begins in each sequence: the first token that a reply is asked before.

        Args:
            conversations: of each sequence.
            sequences: from `encode`, whole.
        """
        distinct = {id(conversation): conversation for conversation in conversations}
        asked = dict(zip(distinct, self._asked(list(distinct.values())), strict=True))
        return [
            _shared(asked[id(conversation)], ids)
            for conversation, ids in zip(conversations, sequences, strict=True)
        ]

    def _asked(self, conversations: Sequence[Sequence[Turn]]) -> list[TokenIds]:
        """Token ids of each conversation as a model would be asked to go on."""
        if not conversations:
            return []
        texts: list[str] = self.tokenizer.apply_chat_template(
            [list(each) for each in conversations], tokenize=False, add_generation_prompt=True
        )
        return self._tokenize(texts)

    def truncate_left(self, ids: TokenIds) -> TokenIds:
        """The last `max_length_tokens` ids: the response's end is what the head reads."""
        return ids[-self.max_length_tokens :]

    def _render(
        self, conversations: Sequence[Sequence[Turn]], responses: Sequence[str]
    ) -> list[str]:
        messages = [
            [*conversation, {"role": "assistant", "content": response}]
            for conversation, response in zip(conversations, responses, strict=True)
        ]
        if not messages:
            return []
        texts: list[str] = self.tokenizer.apply_chat_template(messages, tokenize=False)
        return texts

    def _tokenize(self, texts: list[str]) -> list[TokenIds]:
        # The template writes BOS where the model wants one; the tokenizer must not add another.
        if not texts:
            return []
        if not self.tokenizer.is_fast:
            encoded = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
            return [np.asarray(ids, dtype=np.int64) for ids in encoded["input_ids"]]
        # Straight to the tokenizers library: offsets and masks cost more than the ids.
        core = self.tokenizer.backend_tokenizer
        core.no_truncation()
        core.no_padding()
        rows = core.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(row.ids, dtype=np.int64) for row in rows]

    def _check_guards(self) -> None:
        tokenizer = self.tokenizer
        pad = tokenizer.pad_token_id
        if pad is None:
            raise ValueError(
                "the tokenizer has no pad token: name one besides end-of-sequence (`pad_token` of "
                "its row in [[backbones]])"
            )
        if pad == tokenizer.eos_token_id:
            raise ValueError(
                f"pad token {tokenizer.pad_token!r} is also the end-of-sequence token: the reward "
                "would move to the token before it; set another pad token (`pad_token` of its row "
                "in [[backbones]])"
            )
        probe = self.encode([[Turn(role="user", content="a")]], ["b"])[0]
        if pad in probe:
            raise ValueError(
                f"pad token {tokenizer.pad_token!r} is written by the chat template: "
                "the reward would move; set another pad token"
            )
        bos = tokenizer.bos_token_id
        if bos is not None and list(probe[:2]) == [bos, bos]:
            raise ValueError("the chat template writes BOS twice: remove one from the template")


def _shared(asked: TokenIds, whole: TokenIds) -> int:
    """Tokens that both begin with; a response has at least the last one for itself."""
    length = min(len(asked), len(whole) - 1)
    different = asked[:length] != whole[:length]
    return int(different.argmax()) if different.any() else length


def load_encoder(
    path: str,
    *,
    max_length_tokens: int,
    pad_token: str | None = None,
    is_start: bool = False,
    origin: Mapping[str, str] | None = None,
) -> ChatEncoder:
    """Encoder from a Hugging Face folder or hub id.

    Args:
        path: Folder or hub id.
        max_length_tokens: Longest sequence.
        pad_token: Used where the tokenizer names none, or pads with end-of-sequence.
        is_start: A training starts from it, so a system prompt of the template's own is taken
            out. What was trained under a template is read under it, whatever that says.
        origin: `revision` or `gguf_file`, where there is one.

    Raises:
        ValueError: If there is no tokenizer, a guard fails, or `pad_token` is not in the
            vocabulary.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **(origin or {}))
    except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError) as error:
        why = first_line(error)
        raise ValueError(f"{path} holds no tokenizer that can be read: {why}") from error
    set_pad_token(tokenizer, pad_token, place=path)
    tokenizer.padding_side = "right"
    try:
        if is_start:
            tokenizer.chat_template = template_without_default_prompt(tokenizer)
        return ChatEncoder(tokenizer, max_length_tokens=max_length_tokens)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def set_pad_token(tokenizer: Any, pad_token: str | None, *, place: str) -> None:
    """Give a tokenizer its pad token where it has none, or pads with end-of-sequence.

    Raises:
        ValueError: If the vocabulary does not have it.
    """
    if pad_token is None or tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return
    if pad_token not in tokenizer.get_vocab():
        raise ValueError(f"pad token {pad_token!r} is not in the vocabulary of {place}")
    tokenizer.pad_token = pad_token


def pinned_template(template: str | None) -> str:
    """The template with its date fixed, so that rewards do not change from day to day.

    >>> pinned_template("{{ messages }}")
    '{{ messages }}'

    Raises:
        ValueError: If there is none, or it reads the clock in a way a date cannot pin.
    """
    if not isinstance(template, str) or not template:
        raise ValueError("the tokenizer has no single chat template: store one with the backbone")
    if "strftime_now" not in template or template.startswith("{%- set date_string"):
        return template
    if "date_string" not in template:
        raise ValueError(
            "the chat template reads the clock (strftime_now) and takes no date_string: "
            "ship a template without the date"
        )
    return f'{{%- set date_string = "{PINNED_DATE}" -%}}\n{template}'


def template_without_default_prompt(tokenizer: Any) -> str:
    """The tokenizer's template, without a system prompt that it would put in by itself.

    Some templates open a conversation that has no system turn with one of their own. The method
    uses none (Sec. 4.1), and a response would be judged by words that nobody said. The template
    is wrapped, so that every tool which uses the checkpoint gets the same text. Llama's header
    with two dates stays: it asks for nothing, and the reward models released under it have it.

    Raises:
        ValueError: If there is no template, or what it puts in cannot be told from its turns.
    """
    template = pinned_template(tokenizer.chat_template)
    first, answer, second = PROBED
    asked = [{"role": "user", "content": first}, {"role": "assistant", "content": answer}]
    plain = _rendered(tokenizer, template, asked)
    more = _rendered(tokenizer, template, [*asked, {"role": "user", "content": second}])
    after_answer = plain.rpartition(answer)[2]
    header = more.partition(answer)[2].partition(second)[0].removeprefix(after_answer)
    opening = _own_prompt(plain.partition(first)[0], header, bos=tokenizer.bos_token or "")
    if not DATE_HEADER.sub("", opening).strip():
        return template
    wrapped = WITHOUT_OPENING.replace("TEMPLATE", template).replace("OPENING", json.dumps(opening))
    if _rendered(tokenizer, wrapped, asked) != plain.replace(opening, "", 1):
        raise ValueError(
            f"the chat template opens every conversation with {opening!r}, which could not be "
            "taken out: store a template without it beside the backbone"
        )
    return wrapped


def _own_prompt(start: str, header: str, *, bos: str) -> str:
    """What stands before the first turn, or within its header, and not in that of a later one."""
    if not header.startswith(bos):  # a few mark every turn with it
        start = start.removeprefix(bos)
    if header.endswith(start):
        return ""
    for cut in range(len(header) + 1):
        before, after = header[:cut], header[cut:]
        fits = len(start) >= len(header) and start.startswith(before) and start.endswith(after)
        if fits:
            return start[len(before) : len(start) - len(after)]
    raise ValueError(
        f"the chat template opens a conversation with {start!r} and a later turn with {header!r}, "
        "so a system prompt of its own cannot be told: store a plainer template beside the backbone"
    )


def _rendered(tokenizer: Any, template: str, messages: list[dict[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
    except TemplateError as error:
        raise ValueError(
            f"the chat template cannot write a question and its answer: {first_line(error)}"
        ) from error
    return text


def encode_pairs(
    pairs: Sequence[PreferencePair], encoder: ChatEncoder, *, margin_key: str | None = None
) -> tuple[list[EncodedPair], list[DroppedPairs]]:
    """Encode pairs; leave out, counted per source and reason, those that cannot be trained on.

    Args:
        pairs: Pairs in training order.
        encoder: Tokenizer and template.
        margin_key: Field of a pair's meta that holds the margin its loss requires.

    Returns:
        The encoded pairs in order, and what was dropped: either side over-long, both sides the
        same ids, or the pad token inside a text.
    """
    conversations = [pair.conversation for pair in pairs]
    chosen = encoder.encode(conversations, [pair.chosen for pair in pairs])
    rejected = encoder.encode(conversations, [pair.rejected for pair in pairs])
    kept: list[EncodedPair] = []
    dropped: list[tuple[str, str, bytes]] = []
    for pair, chosen_ids, rejected_ids in zip(pairs, chosen, rejected, strict=True):
        reason = _drop_reason(chosen_ids, rejected_ids, encoder=encoder)
        if reason is not None:
            dropped.append((pair.source, reason, pair.pair_id))
            continue
        kept.append(
            EncodedPair(
                pair_id=pair.pair_id,
                conversation_id=pair.conversation_id,
                chosen=chosen_ids,
                rejected=rejected_ids,
                margin=float(pair.meta.get(margin_key, 0.0)) if margin_key else 0.0,
            )
        )
    return kept, _count_dropped(dropped)


def identical_texts(pairs: Sequence[PreferencePair]) -> tuple[DroppedPairs, ...]:
    """Pairs whose sides are one text: nothing can be learnt from them, whatever reads them."""
    same = [(p.source, IDENTICAL_TEXT, p.pair_id) for p in pairs if p.chosen == p.rejected]
    return tuple(_count_dropped(same))


def _drop_reason(chosen: TokenIds, rejected: TokenIds, *, encoder: ChatEncoder) -> str | None:
    if max(len(chosen), len(rejected)) > encoder.max_length_tokens:
        return OVER_LONG
    if np.array_equal(chosen, rejected):
        return IDENTICAL
    if (chosen == encoder.pad_token_id).any() or (rejected == encoder.pad_token_id).any():
        return PAD_IN_TEXT
    return None


def _count_dropped(dropped: Iterable[tuple[str, str, bytes]]) -> list[DroppedPairs]:
    groups: dict[tuple[str, str], list[str]] = {}
    for source, reason, pair_id in dropped:
        groups.setdefault((source, reason), []).append(pair_id.hex())
    return [
        DroppedPairs(source=source, reason=reason, count=len(ids), pair_ids=tuple(ids))
        for (source, reason), ids in sorted(groups.items())
    ]
