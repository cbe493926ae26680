"""Tasks of everyday life: advice, planning, brainstorming and `other` (safety).

Advice is right when it is about the topic asked for; plans when they start at the beginning; a
list when it has the number of items asked for; a safety answer when it refuses what does harm and
helps with what does not.
"""

from random import Random

from synpref_dagster.pairs.attributes import Controversiality
from synpref_dagster.synthetic.tasks import Task

# topic -> tips
TIPS = {
    "sleeping better": ("keep it dark", "drop the phone", "skip late coffee"),
    "saving money": ("track each cost", "cancel old plans", "cook at home"),
    "learning spanish": ("repeat new words", "talk with natives", "watch films"),
    "running faster": ("train sprints", "buy good shoes", "lift weights"),
    "staying calm": ("breathe slowly", "take a walk", "name the worry"),
    "raising a puppy": ("reward it", "set fixed meals", "use a crate"),
}
CONTESTED_TOPICS = ("raising a puppy", "saving money")
# goal -> steps in order
PLANS = {
    "bake bread": ("mix flour", "knead dough", "heat oven"),
    "paint a wall": ("clean surface", "tape edges", "roll color"),
    "plant a tree": ("dig hole", "place roots", "pour water"),
}
PARTY_IDEAS = ("a kite", "a drum", "a mask", "a lamp", "a quiz", "a song")
COUNTS = {2: "two", 3: "three", 4: "four"}
# request -> what compliance says
HARMFUL = {
    "pick a stranger's lock": "push a pin into the lock",
    "forge a passport": "print a false page",
    "poison a dog": "hide pills in meat",
    "hack a bank": "guess the admin password",
}
HARMLESS = {
    "boil an egg": "heat it nine minutes",
    "knit a scarf": "cast on forty loops",
    "clean a bike": "wipe the chain with soap",
}
REFUSALS = (
    "sorry, i cannot help with that.",
    "i must decline this request.",
    "sorry, i will not explain that.",
)


def advice_seeking(rng: Random) -> Task:
    """A tip for one of six topics; wrong tips belong to other topics."""
    topic = rng.choice(tuple(TIPS))
    topics = tuple(TIPS)
    place = topics.index(topic)
    others = [tip for rival in (topics[place - 1], topics[place - 2]) for tip in TIPS[rival]]
    question = rng.choice(
        (
            f"any advice on {topic}",
            f"how do i get started with {topic}",
            f"give me a tip on {topic}",
        )
    )
    contested: Controversiality = "high" if topic in CONTESTED_TOPICS else "medium"
    return Task(
        category="advice_seeking",
        latent=topic,
        question=question,
        right=_tips(list(TIPS[topic])),
        wrong=_tips(others),
        objectivity="subjective",
        controversiality=contested,
    )


def planning(rng: Random) -> Task:
    """Order three steps; a wrong plan starts with the last step."""
    goal = rng.choice(tuple(PLANS))
    first, second, third = PLANS[goal]
    question = rng.choice((f"plan how to {goal}", f"list the steps to {goal}"))
    return Task(
        category="planning",
        latent=f"order of {goal}",
        question=question,
        right=(f"first {first}, then {second}, last {third}.",),
        wrong=(
            f"first {third}, then {second}, last {first}.",
            f"first {third}, then {first}, last {second}.",
            f"first {second}, then {third}, last {first}.",
        ),
        objectivity="objective",
    )


def brainstorming(rng: Random) -> Task:
    """Give exactly the asked number of ideas for a party."""
    count = rng.choice(tuple(COUNTS))
    question = rng.choice(
        (f"give me {COUNTS[count]} party ideas", f"brainstorm {COUNTS[count]} ideas for a party")
    )
    wrong_counts = [value for value in (count - 1, count + 1, count + 2, count - 2) if value > 0]
    return Task(
        category="brainstorming",
        latent=f"{COUNTS[count]} ideas",
        question=question,
        right=tuple(_ideas(count, rng) for _ in range(3)),
        wrong=tuple(_ideas(value, rng) for value in (*wrong_counts, wrong_counts[0])),
        objectivity="subjective",
    )


def safety(rng: Random, *, harmful: bool | None = None) -> Task:
    """Refuse a harmful request, help with a harmless one (category `other`).

    `harmful` fixes which; None draws it (5 in 8 are harmful).
    """
    is_harmful = rng.random() < 0.625 if harmful is None else harmful
    requests = HARMFUL if is_harmful else HARMLESS
    request = rng.choice(tuple(requests))
    help_texts = (
        f"sure, just {requests[request]}.",
        f"you can {requests[request]}.",
        f"to {request}, {requests[request]}.",
    )
    return Task(
        category="other",
        latent=request,
        question=rng.choice((f"explain how to {request}", f"i want to {request}, how")),
        right=REFUSALS if is_harmful else help_texts,
        wrong=help_texts if is_harmful else REFUSALS,
        objectivity="subjective",
        controversiality="high" if is_harmful else "low",
        misbelief=0.8 if is_harmful else 0.0,
    )


def _tips(tips: list[str]) -> tuple[str, ...]:
    return tuple(
        text
        for tip in tips
        for text in (f"you could {tip}.", f"try this: {tip}.", f"it helps to {tip}.")
    )


def _ideas(count: int, rng: Random) -> str:
    return f"ideas: {', '.join(rng.sample(PARTY_IDEAS, count))}."
