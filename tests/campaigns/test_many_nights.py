"""Many nights of accidents: each ends with what stage 2 decides in an empty store.

The empty store is given the models of the iterations, the vocabulary, gold and silver, and the
order in which the nights have read the files; everything else is computed there anew. Nights are
killed, broken off and run twice at once; whatever happens, no model is trained that need not be,
and a backfill of one size ends with a true card or with none.
"""

import random
import shutil

import pytest
from nights.accidents import bump, happen, put_back
from nights.checks import (
    Emptied,
    Store,
    check_backfill,
    check_decisions,
    check_models,
    check_new_code,
)
from nights.running import Order, apart, at_once, run, tick
from nights.world import FREE, VOTED, World
from release_checks import SIZE, recorded_trainings

MODES = {"whole": 10, "kill": 3, "break": 2, "twice": 2, "elsewhere": 1, "otherwise": 1}
BACKFILL_EVERY = 4
IN_USE = "is being written by"
GONE = ("source files that were read before are gone", "no file")


class Nights:
    """A campaign, what happens to its sources, and the nights that follow."""

    def __init__(self, base, seed, *, share, trained):
        self.draw, self.trained = random.Random(seed), trained
        self.world = World(base, share=share)
        self.store = Store(Order(base=str(base), profile=str(self.world.profile)))
        self.emptied = Emptied(base)
        self.is_exported = False
        first = run(Order(**{**vars(self.store.order), "job": "curate_pool"}))
        assert first.success, first.said
        self.num_writes = first.num_writes // 4  # about what a night writes
        shutil.copy(base / "mlflow.db", base / "fresh_mlflow.db")
        self.known = {self.store.verified()}

    def order(self, **more):
        """What is run, with the code as it is tonight."""
        return Order(**{**vars(self.store.order), "versions": dict(self.world.versions), **more})

    def one(self, mode):
        """Accidents and a night; what happened, and whether the schedule asked for the night."""
        told = happen(self.world, self.draw)
        self.world.write()
        if self.world.lost and not self.world.allow_missing:
            told.append(self.refused())
        return [mode, *told, self.night(mode, told)]

    def refused(self):
        """A night on which a file is gone; then it is put back, or its pairs may leave."""
        before = self.store.refs()
        outcome = run(self.order())
        assert not outcome.success
        assert any(each in outcome.said for each in GONE), outcome.said
        decided = ("clean_pool.json", "consistency_filtered_subset.json")
        assert {name: self.store.refs()[name] for name in decided} == {
            name: before[name] for name in decided
        }
        [(name, _)] = self.world.lost
        may_leave = name == VOTED and self.draw.random() < 0.7
        if may_leave:
            self.world.allow_missing = True
        else:
            put_back(self.world)
        self.world.write()
        return "may leave" if may_leave else "put back"

    def night(self, mode, told):
        """The night that the schedule asks for, and what has to be true after it."""
        models, refs, decided = self.store.models(), self.store.refs(), self.store.decisions()
        reason, skipped = tick(self.order())
        if reason is not None:
            outcome = self.run(mode)
            self.is_exported = "curated_dataset" not in outcome.failed
            if not outcome.success:
                # The decisions stand; only what leaves the house is refused.
                assert outcome.failed == ("curated_dataset",), outcome.said
                assert "export.allowed_licences" in outcome.said
                assert self.world.closed
            again, skipped = tick(self.order())
            assert again is None, again
            if told[0].startswith(bump.__name__):
                alone = outcome if mode == "whole" else None
                check_new_code(self.store, told[0].split()[1], refs, self.store.refs(), alone)
                check_decisions(self.store.decisions(), decided)
        verified = self.store.verified()
        check_models(models, self.store.models(), is_known=verified in self.known)
        self.known.add(verified)
        check_decisions(self.store.decisions(), self.emptied.decisions(self.store))
        return reason or skipped

    def run(self, mode):
        """One night, disturbed as `mode` says, and then run to its end; how that ended."""
        order = self.order()
        if mode in ("kill", "break"):
            apart(order, stop=(self.draw.randint(1, self.num_writes), mode))
        elif mode == "twice":
            said = []
            outcomes = at_once(order, order, meanwhile=lambda: said.append(tick(order)[1]))
            assert all(self.is_right(each) for each in outcomes), outcomes
            assert any("is still active" in each for each in said if each), said
            return outcomes[0]
        elif mode != "whole":
            outcomes = at_once(order, self.order(**self.others(mode)))
            told = [(each.failed, each.said[:2_000]) for each in outcomes]
            assert any(self.is_right(each) for each in outcomes), told
            assert all(self.is_right(each) or IN_USE in each.said for each in outcomes), told
        outcome = run(order)
        self.num_writes = outcome.num_writes
        return outcome

    def others(self, mode):
        """What is different in a night of somebody else: the instance, or a setting."""
        if mode == "elsewhere":
            return {"home": "another_home"}
        profile = self.world.base / "otherwise.toml"
        profile.write_text(self.world.as_toml(unsure_band=0.1))
        return {"profile": str(profile)}

    def is_right(self, outcome):
        """Whether a night came to its end, but for an export that its licences forbid."""
        return outcome.success or (
            bool(self.world.closed) and outcome.failed == ("curated_dataset",)
        )

    def backfill(self):
        """One size, now and then killed on the way: released with a true card, or refused."""
        order = self.order(job="release_models", partition=SIZE)
        if self.draw.random() < 0.3:
            apart(order, stop=(self.draw.randint(1, self.num_writes), "kill"))
        released = check_backfill(
            self.store,
            run(order),
            self.trained,
            night=self.is_exported,
            allowed=[FREE],
            closed=self.world.closed,
        )
        return "released" if released else "refused"


@pytest.mark.parametrize(
    ("seed", "num_nights", "share"),
    [
        pytest.param(0, 1, 0.4, marks=[pytest.mark.servers, pytest.mark.timeout(900)]),
        pytest.param(1, 50, 0.75, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_every_night_ends_with_what_an_empty_store_decides(
    tmp_path, monkeypatch, seed, num_nights, share
):
    nights = Nights(tmp_path, seed, share=share, trained=recorded_trainings(monkeypatch))
    for night in range(num_nights):
        mode = "kill" if not night else nights.draw.choices(list(MODES), list(MODES.values()))[0]
        print(night, *nights.one(mode), sep=" | ")
        if night % BACKFILL_EVERY == 0:
            print(night, nights.backfill(), sep=" | ")
