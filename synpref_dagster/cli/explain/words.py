"""Reason codes in words, as a person reads them in the history of a pair."""

from collections.abc import Mapping

DECISION_WORDS: Mapping[str, str] = {
    "human_agrees": "people say that the label is right",
    "gold_and_best_agree": "gold RM and best RM agree with the label",
    "gold_and_judges_agree": "gold RM and judges agree with the label, the best RM does not",
    "all_agree": "gold RM, best RM and judges agree with the label",
    "human_disagrees": "people say that the opposite label is right",
    "all_disagree": "gold RM, best RM and judges all say the opposite, and flips that sure proved "
    "right on gold",
    "recycled_all": "not confirmed, and the profile flips all such pairs (filtering.recycle = all)",
    "human_undecided": "people could not decide it",
    "missing_reward": "a reward model gave it no reward",
    "reward_tie": "a reward model finds both responses equally good",
    "judges_undecided": "the best RM says the opposite and the judges have no label",
    "flip_guarded": "gold RM, best RM and judges all say the opposite, but flips that sure are not "
    "known to be right on gold",
    "split_evidence": "the witnesses contradict each other",
}
DROP_WORDS: Mapping[str, str] = {
    "duplicate": "an exact duplicate: the first row with this pair counts",
    "already_known": "an exact duplicate of a pair accepted earlier",
    "contaminated": "contaminated, its prompt is in a benchmark",
    "pii": "personal data",
    "malformed_conversation": "the conversation is malformed",
    "not_text": "something in it is no text",
    "not_encodable": "a text is not valid Unicode",
    "null_byte": "a text holds a null byte",
    "over_byte_limit": "a text is too long",
    "unknown_role": "a turn has an unknown role",
    "empty_conversation": "the conversation is empty",
    "roles_not_alternating": "the roles of the conversation do not alternate",
    "conversation_not_ending_with_user": "the conversation does not end with the user",
    "empty_turn": "a turn is empty",
    "empty_response": "a response is empty",
    "identical_responses": "both responses are the same",
    "messages_stored_as_text": "its messages are stored as text that cannot be read exactly",
    "rendered_chat": "a text is a rendered chat that cannot be taken apart exactly",
    "tool_calls_unsupported": "it holds calls of tools",
    "multimodal_unsupported": "it holds pictures, sound or files",
    "reasoning_unsupported": "it holds thoughts beside what was said",
    "unsupported_content": "it holds a content of a kind that nobody knows",
    "several_speakers": "two people speak under one role",
    "two_system_prompts": "it has two different system prompts",
    "unread_context": "a column beside it may belong to the conversation",
    "undecidable": "most people could not decide",
    "tied": "as many people for the label as against it",
    "no_majority": "no side had a majority of people",
    "no_verdict": "nobody answered",
    "already_gold": "people labelled this content",
    "human_undecided": "people could not decide it",
    "all_abstained": "every judge abstained",
    "no_weight": "no judge whose vote counts answered",
    "votes_tied": "the judges' votes are tied",
    "validation_conversation": "its conversation validates the models",
    "contradictory_labels": "judges contradicted themselves on the pair and its twin",
    "already_silver": "judges had labelled this content before",
    "became_gold": "people labelled it since",
}
RISK_WORDS: Mapping[str, str] = {
    "contradictory_label": "the same content is there under the opposite label",
    "preference_cycle": "it lies on a preference cycle",
    "large_preference_cycle": "it lies on a large preference cycle (a noisy source, not risky)",
    "contradictory": "the pool contradicts its label",
    "low_margin": "the reward model can hardly tell",
}
LABEL_WORDS: Mapping[int, str] = {
    1: "for the label",
    -1: "against the label",
    0: "undecided",
}


def in_words(words: Mapping[str, str], code: str) -> str:
    """What a reason code says; one without words of its own is spelled out.

    >>> in_words(DROP_WORDS, "pii"), in_words(DROP_WORDS, "prompt_not_shared")
    ('personal data', 'prompt not shared')
    """
    return words.get(code, code.replace("_", " "))


def risk_in_words(risk: str) -> str:
    """Why a pair is marked as risky; nothing where it is not.

    >>> risk_in_words("contradictory, low_margin")
    'the pool contradicts its label; the reward model can hardly tell'
    """
    return "; ".join(in_words(RISK_WORDS, code) for code in risk.split(", ") if code)
