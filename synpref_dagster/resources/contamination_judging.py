"""What LLM judges say about texts that share words with a benchmark prompt (App. D.1)."""

from collections.abc import Sequence

from synpref_dagster.curation.contamination_review import Opinion, Suspicion
from synpref_dagster.curation.judge_prompts import CONTAMINATION, contamination_messages
from synpref_dagster.resources.endpoint_judge import EndpointJudge, ask_each


def opinions(judges: Sequence[EndpointJudge], asked: Sequence[Suspicion]) -> list[list[Opinion]]:
    """What the judges that answered say about each suspicion."""
    messages = [
        contamination_messages(each.text, each.prompt.prompt, shared=each.shared) for each in asked
    ]
    return [
        [
            Opinion(decision=str(fields["decision"]), why=str(fields["reason"]))
            for fields in (reply.fields for reply in said)
            if fields is not None
        ]
        for said in ask_each(judges, CONTAMINATION, messages)
    ]
