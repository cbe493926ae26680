"""The licence of files, as a LICENSE, a README or a SOURCE file beside or above them names it.

What files say differently is unknown: a licence is never guessed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from synpref_dagster.sources.survey.found import UNKNOWN, FoundLicence

MAX_CHARS = 100_000  # of a file about data
MAX_STATEMENT = 600  # of a line that names a licence
_ABOUT = re.compile(
    r"(licen[cs]e|copying|readme|source|datasheet|data_?card|dataset_?card)([._-].*)?",
    re.IGNORECASE,
)
_LICENCE_FILE = re.compile(r"(licen[cs]e|copying)([._-].*)?", re.IGNORECASE)
_STATEMENT = re.compile(
    r"^[\s>*_#|-]*(?:data\s+)?licen[cs]e[*_]*\s*[:=|][*_]*\s*(.+)$", re.IGNORECASE
)
_ONE_LINE = re.compile(  # a list of one in YAML, or a heading with what stands below it
    r"^(?:licen[cs]e\s*:\s*\n\s*-|#+\s*licen[cs](?:e|ing)\s*\n+)\s*", re.IGNORECASE | re.MULTILINE
)
_NAMES = (  # what texts call licences -> how profiles do; the first of those at one place counts
    (r"\bmit\b", "MIT"),
    (r"\bapache(?: licen[cs]e)?[\s,-]*(?:version )?2(?:\.0)?\b", "Apache-2.0"),
    (r"\bcc0\b(?:[\s-]*1\.0)?", "CC0-1.0"),
    (r"\bcc[\s-]by((?:[\s-](?:nc|sa|nd))*)(?:[\s-]([1-4]\.\d))?", "CC-BY"),
    (r"\bodc[\s-]by\b", "ODC-BY"),
    (r"\bodbl\b", "ODbL"),
    (r"\bbsd[\s-]3(?:[\s-]clause)?\b", "BSD-3-Clause"),
    (r"\bbsd[\s-]2(?:[\s-]clause)?\b", "BSD-2-Clause"),
    (r"\ba?l?gpl[\s-]?v?[23](?:\.0)?\b", "GPL"),
    (r"\bllama[\s-]?3(?:\.\d)?(?:[\s-]community)?(?:[\s-]licen[cs]e)?", "Llama 3 Community"),
)
_TEXTS = (  # how the texts of licences begin
    (r"\bmit license\b|permission is hereby granted, free of charge", "MIT"),
    (r"apache license\s+version 2\.0", "Apache-2.0"),
    (r"cc0 1\.0 universal", "CC0-1.0"),
    (r"\battribution((?:-(?:noncommercial|sharealike|noderiv\w*))*) ([1-4]\.\d)", "CC-BY"),
    (r"open data commons attribution", "ODC-BY"),
    (r"open database license", "ODbL"),
    (r"redistributions? of source code must retain", "BSD"),
    (r"gnu (?:affero |lesser )?general public license\s+version (\d)", "GPL"),
)
_PARTS = {"noncommercial": "NC", "sharealike": "SA"}


def licence_of(folder: Path, top: Path) -> FoundLicence:
    """The licence of what lies in a folder.

    Args:
        folder: looked at first, then the folders around it.
        top: the last of these.
    """
    for place in (folder, *folder.parents):
        said = {file.name: names for file in _about(place) if (names := _named_in(file))}
        if said:
            return _agreed(said)
        if place == top:
            break
    return FoundLicence(said_by="no LICENSE, README or SOURCE file names one")


def says_of_itself(folder: Path) -> bool:
    """Whether a file in this very folder is about the data in it."""
    return bool(_about(folder))


def is_about_data(name: str) -> bool:
    """Whether a file is one about data, by its name: LICENSE, README, SOURCE."""
    return _ABOUT.fullmatch(name) is not None and not re.search(
        r"\.(jsonl?|ndjson|csv|tsv|parquet|arrow|feather)(\.\w+)?$", name, re.IGNORECASE
    )


def _about(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_file() and _is_about(each))
    except OSError:
        return []


def _is_about(file: Path) -> bool:
    return is_about_data(file.name)


def _agreed(said: dict[str, list[str]]) -> FoundLicence:
    """The one licence that all files name; a file that names several only has to name it too."""
    common = [name for name in next(iter(said.values())) if all(name in n for n in said.values())]
    files = ", ".join(said)
    if len(common) == 1:
        return FoundLicence(name=common[0], said_by=files)
    told = "; ".join(f"{file}: {', '.join(names)}" for file, names in said.items())
    return FoundLicence(name=UNKNOWN, said_by=f"not one and the same is named ({told})")


def _named_in(file: Path) -> list[str]:
    """The licences that a file names, each once."""
    try:
        text = file.read_bytes()[:MAX_CHARS].decode("utf-8", "replace")
    except OSError:
        return []
    if _LICENCE_FILE.fullmatch(file.name):
        plain = " ".join(text.split()).lower()
        if found := [*_matches(_TEXTS, plain)]:
            return found[:1]
        return list(dict.fromkeys(_matches(_NAMES, plain[:MAX_STATEMENT])))
    found = [name for line in _statements(text) for name in _matches(_NAMES, line.lower())]
    return list(dict.fromkeys(found))


def _statements(text: str) -> Iterator[str]:
    lines = _ONE_LINE.sub(r"license: ", text).splitlines()
    for line in lines:
        if told := _STATEMENT.match(line[:MAX_STATEMENT]):
            yield told[1]


def _matches(names: tuple[tuple[str, str], ...], text: str) -> Iterator[str]:
    found = [(match.start(), name, match) for form, name in names for match in
             re.finditer(form, text)]  # fmt: skip
    for _, name, match in sorted(found, key=lambda each: each[0]):
        yield _spelled(name, match)


def _spelled(name: str, match: re.Match[str]) -> str:
    if name == "CC-BY":
        parts = [part for part in re.split(r"[\s-]+", match[1].lower()) if part]
        short = [_PARTS.get(part, part[:2].upper() if len(part) == 2 else "ND") for part in parts]
        return "-".join(filter(None, ("CC-BY", *short, match[2])))
    if name == "GPL":
        version = re.search(r"[23]", match[0])
        kind = "AGPL" if "affero" in match[0] or "agpl" in match[0] else ""
        kind = kind or ("LGPL" if "lesser" in match[0] or "lgpl" in match[0] else "GPL")
        return f"{kind}-{version[0]}.0" if version else kind
    if name == "BSD":
        is_longer = "neither the name" in match.string
        return "BSD-3-Clause" if is_longer else "BSD-2-Clause"
    return name
