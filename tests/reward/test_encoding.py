from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoTokenizer

from synpref_dagster.pairs.record import Turn
from synpref_dagster.reward.encoding import (
    ChatEncoder,
    encode_pairs,
    load_encoder,
    pinned_template,
    template_without_default_prompt,
)

ASK = [Turn(role="user", content="word1 word2")]


@pytest.fixture
def tokenizer(qwen_stand_in):
    return AutoTokenizer.from_pretrained(qwen_stand_in)


@pytest.fixture
def encoder(qwen_stand_in):
    return load_encoder(str(qwen_stand_in), max_length_tokens=32)


def test_a_sequence_is_the_template_around_the_words(encoder):
    ids = encoder.encode([ASK], ["word3"])[0]
    tokens = encoder.tokenizer.convert_ids_to_tokens(ids)
    assert tokens == ["<|user|>", "word1", "word2", "<|end|>", "<|assistant|>", "word3", "<|end|>"]


def test_encoding_equals_the_tokenizer_of_the_checkpoint(encoder, tokenizer):
    messages = [*ASK, {"role": "assistant", "content": "word3 word4"}]
    expected = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert encoder.encode([ASK], ["word3 word4"])[0].tolist() == expected


def test_a_pad_token_equal_to_eos_is_refused(tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(ValueError, match="also the end-of-sequence token"):
        ChatEncoder(tokenizer, max_length_tokens=32)


def test_a_missing_pad_token_is_refused(tokenizer):
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="no pad token"):
        ChatEncoder(tokenizer, max_length_tokens=32)


def test_a_pad_token_written_by_the_template_is_refused(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template + "<|pad|>"
    with pytest.raises(ValueError, match="written by the chat template"):
        ChatEncoder(tokenizer, max_length_tokens=32)


def test_a_double_bos_is_refused(tokenizer):
    tokenizer.bos_token = "word29"
    tokenizer.chat_template = "word29 word29 " + tokenizer.chat_template
    with pytest.raises(ValueError, match="BOS twice"):
        ChatEncoder(tokenizer, max_length_tokens=32)


def test_a_template_date_is_pinned_and_stored(tokenizer):
    tokenizer.chat_template = (
        "{%- if not date_string is defined %}"
        "{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
        "{{ date_string }}" + tokenizer.chat_template
    )
    encoder = ChatEncoder(tokenizer, max_length_tokens=32)
    text = encoder.tokenizer.apply_chat_template(ASK, tokenize=False)
    assert text.startswith("26 Jul 2024")
    assert pinned_template(tokenizer.chat_template) == tokenizer.chat_template


def test_a_template_bound_to_the_clock_is_refused():
    with pytest.raises(ValueError, match="reads the clock"):
        pinned_template("{{ strftime_now('%Y') }}")


def test_pairs_that_cannot_be_trained_on_are_counted_by_source_and_reason(encoder, pairs):
    long = replace(pairs[0], rejected="word1 " * 40, source="long")
    same = replace(pairs[1], chosen="word1  word2", rejected="word1 word2")
    pad = replace(pairs[2], chosen="word1 <|pad|>")
    kept, dropped = encode_pairs([long, same, pad, pairs[3]], encoder)
    assert [pair.pair_id for pair in kept] == [pairs[3].pair_id]
    assert [(group.source, group.reason, group.count) for group in dropped] == [
        ("long", "over_long", 1),
        ("world", "identical_after_tokenisation", 1),
        ("world", "pad_token_in_text", 1),
    ]
    assert dropped[0].pair_ids == (long.pair_id.hex(),)


def test_truncation_keeps_the_end(encoder):
    assert encoder.truncate_left(np.arange(40)).tolist() == list(range(8, 40))


def test_different_numbers_of_texts_are_refused(encoder):
    with pytest.raises(ValueError, match="1 conversations but 2 responses"):
        encoder.encode([ASK], ["a", "b"])


TURNS = (
    "{% for m in messages %}{{ '<s>' if TAGGED else '' }}{{ '[' + m['role'] + '] ' }}"
    "{{ m['content'] + ' </s> ' }}{% endfor %}"
)
PROMPTS = {
    "an if before the turns": "{% if messages[0]['role'] != 'system' %}Be kind. {% endif %}TURNS",
    "a system turn": "{% if messages[0]['role'] != 'system' %}{{ '[system] Be kind. </s> ' }}"
    "{% endif %}TURNS",
    "in the first turn of the loop": "{% for m in messages %}{% if loop.first and m['role'] != "
    "'system' %}{{ '[system] Be kind. </s> ' }}{% endif %}{{ '[' + m['role'] + '] ' + "
    "m['content'] + ' </s> ' }}{% endfor %}",
    "behind a token that opens every text": "{{ bos_token }}{% if messages[0]['role'] != 'system' "
    "%}{{ '[system] Be kind. </s> ' }}{% endif %}TURNS",
    "where every turn opens with that token": "{% if messages[0]['role'] != 'system' %}{{ "
    "'<s>[system] Be kind. </s> ' }}{% endif %}" + TURNS.replace("TAGGED", "true"),
}
ASKED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


@pytest.mark.parametrize("place", PROMPTS)
def test_a_prompt_that_a_template_puts_in_by_itself_is_taken_out(tokenizer, place):
    template = PROMPTS[place].replace("TURNS", TURNS.replace("TAGGED", "false"))
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.chat_template = template
    before = tokenizer.apply_chat_template(ASKED, tokenize=False)
    assert "Be kind." in before
    tokenizer.chat_template = template_without_default_prompt(tokenizer)
    after = tokenizer.apply_chat_template(ASKED, tokenize=False)
    tag = "<s>" if place == "where every turn opens with that token" else ""
    turns = f"{tag}[user] Why? </s> {tag}[assistant] So. </s> "
    assert after == (f"<s>{turns}" if "opens every text" in place else turns)
    told = [{"role": "system", "content": "Be brief."}, *ASKED]
    assert "Be brief." in tokenizer.apply_chat_template(told, tokenize=False)


LLAMA = (  # Llama 3.2's, in short
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = "
    "strftime_now('%d %b %Y') %}{% endif %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: {{ date_string }}\n\n"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
    "{% set messages = messages[1:] %}{% else %}PROMPT{% endif %}<|eot_id|>"
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
    "m['content'] + '<|eot_id|>' }}{% endfor %}"
)
QWEN3 = (  # thoughts of the last answer are written, also where there are none
    "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}{{ '<|im_start|>assistant\n"
    "<think>\n\n</think>\n\n' + m.content.split('</think>')[-1].lstrip('\n') + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLLM2 = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>"
    "system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + "
    "m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
)
LLAMA2 = (  # a prompt within the first turn
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' }}{% if loop.first %}"
    "{{ '<<SYS>>\nBe an honest assistant.\n<</SYS>>\n\n' }}{% endif %}{{ m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' </s>' }}{% endif %}{% endfor %}"
)
PLAIN = (  # a separator before every turn but the first
    "{% for m in messages %}{% if not loop.first %}\n\n{% endif %}{{ m.role + ': ' + m.content }}"
    "{% endfor %}"
)


@pytest.mark.parametrize(
    "template",
    [
        TURNS.replace("TAGGED", "false"),
        "{{ bos_token }}" + TURNS.replace("TAGGED", "false"),
        QWEN3,
        PLAIN,
    ],
)
def test_a_template_without_a_prompt_of_its_own_stays_as_it_is(tokenizer, template):
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.chat_template = template
    assert template_without_default_prompt(tokenizer) == template


def test_the_date_header_stays_for_released_models_have_it(tokenizer):
    tokenizer.chat_template = LLAMA.replace("PROMPT", "")
    assert template_without_default_prompt(tokenizer) == pinned_template(tokenizer.chat_template)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (SMOLLM2, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"),
        (LLAMA2, "<s>[INST] Why? [/INST] So. </s>"),
        (
            LLAMA.replace("PROMPT", "Be an honest assistant."),
            "<s><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nSo.<|eot_id|>",
        ),
    ],
)
def test_prompts_of_real_templates_are_taken_out_and_given_ones_stay(tokenizer, template, expected):
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.chat_template = template
    tokenizer.chat_template = wrapped = template_without_default_prompt(tokenizer)
    assert tokenizer.apply_chat_template(ASKED, tokenize=False) == expected
    assert template_without_default_prompt(tokenizer) == pinned_template(wrapped)
    if template is SMOLLM2:
        told = [{"role": "system", "content": "Be brief."}, *ASKED]
        assert "system\nBe brief." in tokenizer.apply_chat_template(told, tokenize=False)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (
            "Be kind. {% for m in messages %}{{ loop.index }}: {{ m.content }}{% endfor %}",
            "later turn",
        ),
        ("{{ raise_exception('only one turn') }}", "cannot write a question"),
    ],
)
def test_a_template_that_cannot_be_told_from_its_prompt_is_refused_in_a_line(
    tokenizer, template, why
):
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=why) as refused:
        template_without_default_prompt(tokenizer)
    assert "\n" not in str(refused.value)


def test_thoughts_of_a_template_are_the_same_in_training_and_after_it(tokenizer, tmp_path):
    tokenizer.chat_template = QWEN3
    tokenizer.save_pretrained(tmp_path)
    start = load_encoder(str(tmp_path), max_length_tokens=64, is_start=True)
    start.tokenizer.save_pretrained(tmp_path / "trained")
    after = load_encoder(str(tmp_path / "trained"), max_length_tokens=64)
    assert start.template_fingerprint == after.template_fingerprint
    assert start.encode([ASK], ["word3"])[0].tolist() == after.encode([ASK], ["word3"])[0].tolist()


def test_what_was_trained_under_a_prompt_is_read_under_it(tokenizer, tmp_path):
    tokenizer.chat_template = SMOLLM2
    tokenizer.save_pretrained(tmp_path)
    for is_start in (False, True):
        encoder = load_encoder(str(tmp_path), max_length_tokens=64, is_start=is_start)
        text = encoder.tokenizer.apply_chat_template(ASKED, tokenize=False)
        assert ("helpful" in text) is not is_start


def test_a_place_without_a_tokenizer_is_refused_in_a_line(tmp_path):
    with pytest.raises(ValueError, match="holds no tokenizer that can be read") as refused:
        load_encoder(str(tmp_path), max_length_tokens=64)
    assert "\n" not in str(refused.value)
