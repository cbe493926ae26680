"""In which language a text is, told by its letters and by the small words that every text has.

Good enough to see that a tenth of a pool is German or Chinese; no more is claimed. A text of few
known words is of no language: code, numbers, names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from synpref_dagster.pairs.record import PreferencePair

OTHER = "not told"
MAX_CHARACTERS = 2_000
LEAST_WORDS = 2
"""Small words that a text has to have; one alone may be a name."""
LEAST_LETTERS = 0.3
"""Share of a text's letters that have to be of a script."""
SCRIPTS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "Japanese": "[\u3041-\u30ff]",
        "Korean": "[\uac00-\ud7af]",
        "Chinese": "[\u4e00-\u9fff]",
        "Russian or another in Cyrillic": "[\u0400-\u04ff]",
        "Arabic or another in its script": "[\u0600-\u06ff]",
        "Hebrew": "[\u0590-\u05ff]",
        "Greek": "[\u0370-\u03ff]",
        "Hindi or another in Devanagari": "[\u0900-\u097f]",
        "Thai": "[\u0e00-\u0e7f]",
    }.items()
}
"""Script -> its letters; the first that fits counts, since Japanese has Chinese letters too."""
_SMALL_WORDS = {
    "English": "the and of to is that it for you are with was this have not what how as be a an i "
    "can in on at by or if so do no me my we he her his one from they but there who which when",
    "German": "der die das und ist nicht ein eine ich du mit auf für von zu den wie was es",
    "French": "le la les des est et un une que qui dans pour pas vous je sur avec ce en du",
    "Spanish": "el la los las es y un una que en de por para con no se como lo más del",
    "Italian": "il lo la gli è e un una che di per non con si come sono del della questo più",
    "Portuguese": "o a os as é e um uma que de para não com se da em mais você",
    "Dutch": "de het een en is niet van dat ik je op te voor met zijn er wat hoe aan ook",
    "Polish": "i w na z się nie jest to że do jak co ale tak dla po czy od przez są",
    "Swedish": "och att det som en är på för av med den till inte jag har om ett hur vad kan",
    "Turkish": "ve bir bu için ile ne da de çok nasıl gibi daha olarak var mı ben en ama o ki",
    "Indonesian": "yang dan di untuk dengan tidak ini itu dari adalah apa pada saya ada bisa anda",
    "Vietnamese": "của và là có không cho một được trong các để với những này người tôi về như đã",
}
WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _SMALL_WORDS.items()
}
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str:
    """The language of a text, a script where several share it, or `OTHER`.

    >>> language_of("What is the capital of Spain?"), language_of("Wie ist das Wetter?")
    ('English', 'German')
    >>> language_of("これは何ですか"), language_of("x = [1, 2]")
    ('Japanese', 'not told')
    """
    text = text[:MAX_CHARACTERS]
    num_letters = sum(map(str.isalpha, text))
    if not text.isascii():
        for script, letters in SCRIPTS.items():
            if len(letters.findall(text)) > LEAST_LETTERS * num_letters:
                return script
    said = Counter(_WORD.findall(text.lower()))
    hits = {name: sum(map(said.__getitem__, small)) for name, small in WORDS.items()}
    best = max(hits, key=hits.__getitem__)
    return best if hits[best] >= LEAST_WORDS else OTHER


def count_languages(texts: Iterable[str]) -> Counter[str]:
    """How many texts are in each language."""
    return Counter(map(language_of, texts))


def language_shares(
    sample: Mapping[str, Sequence[PreferencePair]], weights: Mapping[str, int]
) -> dict[str, float]:
    """Language -> its share of a pool, the most frequent first; nothing without a pair.

    Args:
        sample: source -> some of its pairs.
        weights: source -> how many it has.
    """
    found: Counter[str] = Counter()
    for name, pairs in sample.items():
        told = count_languages(
            " ".join(turn["content"] for turn in pair.conversation) + " " + pair.chosen
            for pair in pairs
        )
        for language, number in told.items():
            found[language] += round(1000 * number / len(pairs) * weights[name])
    total = found.total()
    return {name: number / total for name, number in found.most_common()} if total else {}
