r"""Marks by which chat templates begin and end turns: those that are read, and any others.

Models come with templates of their own, and new ones every month. What is read exactly is a row of
`OPENINGS`. Of the others the kind is known: a text that begins with a mark of control, or with a
mark and the name of a role, is a rendering whoever made it.
"""

import re

from synpref_dagster.pairs.structure import UNSEEN, seen

_ANY = r"([\w-]+)"
_ROLE = r"(user|assistant|system|human|model|developer|tool|ipython|function|observation|prompter)"
OPENINGS = (
    rf"<\|im_start\|> ?{_ANY}(?:<\|im_sep\|>|\r?\n)",  # ChatML: Qwen, Yi, Phi-4, and many more
    rf"<\|start_header_id\|>{_ANY}<\|end_header_id\|>",  # Llama 3
    rf"<\|header_start\|>{_ANY}<\|header_end\|>",  # Llama 4
    rf"<start_of_turn>{_ANY}\r?\n",  # Gemma
    rf"<\|turn>{_ANY}\r?\n",  # Gemma 4
    rf"<\|start_of_role\|>{_ANY}<\|end_of_role\|>",  # Granite
    rf"<\|start\|>{_ANY}<\|message\|>",  # Harmony
    rf"<\|im_{_ROLE}\|>{_ROLE}<\|im_middle\|>",  # Kimi
    r"<\|START_OF_TURN_TOKEN\|><\|(USER|CHATBOT|SYSTEM)_TOKEN\|>",  # Command
    rf"<\|bom\|><\|{_ROLE}\|> ?",  # Jamba
    rf"<\|{_ROLE}\|>(?=\S|\r?\n| ?\Z| [^a-z\s])",  # Zephyr, Phi, Tulu, OLMo, GLM, Falcon 3
    r"<\|(system|developer|user|assistant)_start\|>",  # Apertus
    r"<｜(User|Assistant)｜>",  # DeepSeek
    r"<extra_id_[01]>(System|User|Assistant)\r?\n",  # Nemotron
    r"GPT4 Correct (User|Assistant):",  # OpenChat
    rf"<seed:bos>{_ANY}\r?\n",  # Seed-OSS
    r"\]~b\](user|system|developer|ai|tool)(?: name=[^\r\n]*)?\r?\n",  # MiniMax
    r"\[\|(user|system|assistant|tool)\|\]",  # EXAONE
)
OPENING = re.compile("|".join(OPENINGS))
BEGIN = re.compile(
    rf"(?:[\s{UNSEEN}]|<s>|<bos>|<\|begin_of_text\|>|<\|endoftext\|>|<\|startoftext\|>|<BOS_TOKEN>"
    r"|\[gMASK\]|<sop>|<｜[\w▁]*begin▁of▁sentence｜>|<\|begin_of_sentence\|>|\]~!b\[)*"
)
END = (
    r"(?:<\|(?:im_end|return|separator|(?:end|END|eo|EO)\w*|\w+_end)\|>|<end_of_turn>|<turn\|>"
    r"|<｜[\w▁]*(?:end▁of|EOT)[\w▁]*｜>|<eos>|</s>|<seed:eos>|\[e~\[|\[\|endofturn\|\]|<eo[ah]>)"
)
TOKEN = re.compile(
    rf"{END}|<\|[\w.:-]{{1,40}}\|>|<｜[\w▁]+｜>|</?(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
    r"|<\|\w+>|<\w+\|>|<(?:extra_id|SPECIAL|reserved|unused)_?\d+>|\[unused\d+\]|<seed:[be]os>"
    r"|\]~!?b[\[\]]|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|\[\|\w+\|\]"
)
SPEAKER = re.compile(rf"<\|{_ROLE}\|>")
SPEAKER_LINES = re.compile(rf"^<\|{_ROLE}\|>\s*$", re.MULTILINE)
_ROLES = "system|user|human|assistant|model|developer|ai|bot"
_USER, _ASSISTANT = "(?:user|human|用户)", "(?:assistant|model|bot|ai)"
_UNREAD = re.compile(
    r"(?:<s>|<bos>)?(?:"
    # A mark and a role right behind it, or a role in a mark of its own, answered below.
    rf"[^\w\s]\S{{0,30}}[^\w\s](?:{_ROLES})\n|<role>(?:{_ROLES})</role>"
    rf"|[<\[]{_USER}[>\]](?!:).*[<\[/]{_ASSISTANT}[>\]](?!:)"
    # Roles on lines of their own, which is what is left of a rendering without its tokens.
    r"|(?-i:(?>(?:system\n.*?)?user\n).*\S\s*(?:assistant|model)\s*(?:\n|\Z))"
    rf"|#{{1,6}} ?{_USER}:.*\n#{{1,6}}\s*\Z"
    r"|\[Round \d+\]\s*(?:\n|问|User:)|BEGINNING OF CONVERSATION:|Source: (?:system|user)\n"
    r"|<(?:reserved|unused)_?\d+>|\[unused\d+\]|&lt;[|｜]\w|<\s\|\s?\w+\s?\|\s?>)",
    re.IGNORECASE | re.DOTALL,
)
_UNREAD_BEGIN = frozenset("[<#]&BSsuUhH用")
_HINTS = (
    *("<|", "|>", "<｜", "_of_turn>", "SYS>>", "<extra_id_", "</s>", "<eos>", "<SPECIAL_"),
    *("<seed:", "<eoh>", "<eoa>"),
)


def holds_token(text: str) -> bool:
    """Whether a text may hold a mark of a template: a quick look before any other."""
    # Every row comes here: most texts hold no bracket at all.
    if "<" in text and any([hint in text for hint in _HINTS]):  # noqa: C419 - faster than lazy
        return True
    if "[" in text and any([hint in text for hint in ("INST]", "[|", "_PROMPT]", "_TOOLS]")]):  # noqa: C419
        return True
    return "~b]" in text or "[e~[" in text or begins_unread(text)


def begins_unread(text: str) -> bool:
    r"""Whether a text is rendered by a template that is not read.

    >>> begins_unread("<x:bos>user\nHi"), begins_unread("user\nHi\nassistant\n")
    (True, True)
    >>> begins_unread("<user>Ada</user> is XML."), begins_unread("user\nstories")
    (False, False)
    """
    begun = text if "!" <= text[:1] <= "~" else seen(text)
    return begun[:1] in _UNREAD_BEGIN and begun != "" and _UNREAD.match(begun) is not None


def first_hint(text: str) -> int:
    """Where the first mark may begin: most of a text need not be searched closely."""
    places = (text.find(hint) for hint in ("<", "[", "]", "GPT4"))
    return min((place for place in places if place >= 0), default=0)
