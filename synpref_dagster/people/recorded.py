"""People whose verdicts were recorded beforehand (demo, tests, public sets that ship votes).

Stands in for human review (paper Sec. 3.2): it reveals the verdicts of the pairs that it is asked
about and of no other, and counts what was asked, which is the human budget of a campaign.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synpref_dagster.pairs.record import ID_BYTES, PreferencePair, canonical_sign

# Against the sorted order of the two responses; None: the person could not decide.
VERDICT_SIGNS: Mapping[str, int | None] = {
    "first": 1,
    "second": -1,
    "tie": 0,
    "undecidable": None,
}
LedgerRow = dict[str, Any]


class RecordedReviewer:
    """Answers review requests from recorded verdicts."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep the recorded verdicts.

        Args:
            rows: `content_id` (16 bytes or hex), `annotator`, `verdict`: first, second, tie,
                undecidable, or the sign +1, -1, 0 against the sorted order of the responses.

        Raises:
            ValueError: a verdict or content id is none of these.
        """
        self._recorded: dict[bytes, dict[str, int | None]] = {}
        for row in rows:
            by_annotator = self._recorded.setdefault(content_id(row["content_id"]), {})
            by_annotator.setdefault(str(row["annotator"]), _sign(row["verdict"]))
        self._asked: set[bytes] = set()
        self.num_verdicts = 0

    @property
    def num_asked(self) -> int:
        """Number of different pairs that people were asked about."""
        return len(self._asked)

    def review(self, pairs: Sequence[PreferencePair]) -> list[LedgerRow]:
        """Ledger rows of the requested pairs, one per recorded verdict, in the order of the pairs.

        Returns:
            `pair_id`, `content_id`, `annotator`, `verdict` (+1 the current label is right, -1
            wrong, 0 tie or undecided) and `decided` (False where the person could not decide). A
            pair without a recorded verdict has no row.
        """
        ledger = []
        for pair in pairs:
            self._asked.add(pair.content_id)
            sign = canonical_sign(pair.chosen, pair.rejected)
            for annotator, verdict in self._recorded.get(pair.content_id, {}).items():
                ledger.append(
                    {
                        "pair_id": pair.pair_id,
                        "content_id": pair.content_id,
                        "annotator": annotator,
                        "verdict": 0 if verdict is None else sign * verdict,
                        "decided": verdict is not None,
                    }
                )
        self.num_verdicts += len(ledger)
        return ledger


def content_id(value: object) -> bytes:
    """The 16 bytes of a content id that is given as such, or in hexadecimal digits."""
    if isinstance(value, bytes) and len(value) == ID_BYTES:
        return value
    if isinstance(value, str) and len(value) == 2 * ID_BYTES:
        return bytes.fromhex(value)
    raise ValueError(f"content_id {value!r} is neither {ID_BYTES} bytes nor their hex form")


def _sign(verdict: object) -> int | None:
    if isinstance(verdict, str) and verdict in VERDICT_SIGNS:
        return VERDICT_SIGNS[verdict]
    if not isinstance(verdict, (str, bytes)) and verdict in (-1, 0, 1):
        return int(verdict)
    raise ValueError(f"verdict {verdict!r} must be one of {', '.join(VERDICT_SIGNS)}, or -1, 0, 1")
