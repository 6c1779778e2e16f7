"""Method `auto`: how the rounds of a contest use the time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from samtailor.fitting.contest.budget import Budget
from samtailor.fitting.contest.candidates import Candidate, all_candidates
from samtailor.fitting.contest.choice import choose, survivors
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.fitting.contest.rounds import gain, hold_rounds
from samtailor.fitting.contest.schedule import Schedule, fair
from samtailor.fitting.contest.scoring import Scores
from samtailor.fitting.select_inference import PLANS
from samtailor.structures import TilingPlan
from samtailor.train.config import FitConfig

PLM = Candidate("plm", "plm", ("click", "box"), 1, "plm", 1000)
MAP = Candidate("tailor", "map", ("region",), 2, "tailor", 300, fold_options={"members": 2})
STEP = {PLM: 0.05, MAP: 0.07}
IDS = [f"i{number}" for number in range(6)]


class Clock(Budget):
    """A budget whose time is what the fits of a test are said to take."""

    used = 0.0

    @property
    def spent(self):
        return self.used / self.workers


def scores(values):
    return Scores(IDS, ["a"] * len(IDS), {name: list(row) for name, row in values.items()}, len(IDS))


def prompted(level):
    """Scores of clicks and boxes at a level; single images differ a little."""
    rows = [level + 0.002 * (-1) ** number for number in range(len(IDS))]
    one = scores({"1": rows, "0": [0.4] * len(IDS)})
    return {"click": one, "box": one}


def contest(seconds, level_of, *, workers=2, candidates=(PLM, MAP), most=10_000):
    """Hold rounds; `level_of` returns the score of PLM by its steps."""
    clock = Clock(seconds, workers)
    schedule = Schedule(clock, 3, most)
    held = []

    def hold(steps):
        held.append({one.name: count for one, count in steps.items()})
        for one, count in steps.items():
            clock.used += 3 * (count * STEP[one] + 1.0)
            schedule.measure(one, 3 * count, STEP[one], 3 * count * STEP[one] + 1.0)
        region = {"region": scores({"0": [0.8] * len(IDS)})}
        return [(one, n, prompted(level_of(n)) if one is PLM else region) for one, n in steps.items()]

    made = hold_rounds(candidates, schedule, {}, hold)
    return made, schedule, clock, held


def growing(steps):
    return 0.4 + 0.4 * (1 - 50 / (50 + steps))


def test_prompts_get_further_rounds_alone_while_they_gain():
    made, schedule, clock, held = contest(600, growing)
    assert [set(one) for one in held[:2]] == [{"plm", "tailor"}] * 2
    steps = [one["plm"] for one in held]
    assert steps == sorted(steps)
    assert steps[-1] == 1000
    assert made.growing == [PLM]
    assert [row["steps"] for row in made.earlier if row["candidate"] == "plm"] == steps[:-1]
    assert next(n for one, n, _ in made.rows if one is PLM) == 1000
    assert clock.left * clock.workers > schedule.seconds(MAP, 300, fold=False)  # time for the fits on all images


def test_prompts_that_do_not_gain_keep_the_steps_that_won():
    made, _, _, held = contest(600, lambda steps: 0.7 if steps <= 200 else 0.6)
    assert len(held) == 2  # no third round
    assert made.growing == []
    assert next(n for one, n, _ in made.rows if one is PLM) == held[0]["plm"] <= 200
    (lost,) = [row for row in made.earlier if row["candidate"] == "plm"]
    assert (lost["steps"], lost["means"]["click"]) == (held[1]["plm"], pytest.approx(0.6))


def test_what_is_left_is_used():
    for seconds in (60, 120, 240):
        made, schedule, clock, _ = contest(seconds, growing)
        steps = {one: count for one, count, _ in made.rows}
        final = schedule.final({one: (count, schedule.complete(one)) for one, count in steps.items()})
        assert final[PLM] >= 1.5 * steps[PLM] or final[PLM] == 1000
        clock.used += sum(schedule.seconds(one, count, fold=False) for one, count in final.items())
        assert clock.spent <= seconds
        assert clock.spent >= 0.6 * seconds or final == {PLM: 1000, MAP: 300}


def test_equal_shares_of_the_time_and_the_rest_to_those_that_need_it():
    assert fair([10, 100], 60) == [10, 50]
    assert fair([100, 100], 60) == [30, 30]
    assert fair([5, 6], 60) == [5, 6]


def test_one_process_shares_its_time_between_the_fits_on_all_images():
    schedule = Schedule(Clock(80.0, 1), 3, 10_000)
    for one, each in STEP.items():
        schedule.measure(one, 30, each, None)
    final = schedule.final({PLM: (10, 1000), MAP: (10, 300)})
    assert final[PLM] == int((72 - 300 * 0.07 * 1.5) / 0.05)  # the map needs less than half of the time
    assert final[MAP] == 300
    assert schedule.final({PLM: (10, 40)})[PLM] == 40


def test_a_region_map_is_fitted_on_all_images_for_twice_the_steps_where_there_is_time():
    schedule = Schedule(Clock(80.0, 2), 3, 10_000)
    assert schedule.longest(MAP) == 2 * schedule.complete(MAP) == 2 * MAP.steps
    assert Schedule(Clock(80.0, 2), 3, MAP.steps + 1).longest(MAP) == MAP.steps + 1  # by the settings
    assert schedule.longest(replace(MAP, steps=1)) == 1  # in closed form


def test_gain_is_over_clicks_and_boxes():
    better, base = prompted(0.6), prompted(0.5)
    assert gain(better, base, {}).mean == pytest.approx(0.1)
    assert gain(better, None, {}).mean == pytest.approx(0.2)
    assert gain(better, base, {}).better
    assert gain(base, better, {}).worse


def test_a_job_on_a_busy_machine_counts_by_the_clock_of_the_budget():
    assert Budget(60.0, clock="wall").pace(10.0, 35.0) == 3.5
    assert Budget(60.0, clock="wall").pace(10.0, 6.0) == 0.6  # several threads
    assert Budget(60.0, clock="cpu").pace(10.0, 35.0) == 1


def test_prompts_that_gain_little_leave_the_time_to_the_map_and_take_what_is_left():
    def little(steps):
        return 0.4 + (0.0001 if steps < 900 else 0.3)

    _, _, _, held = contest(200, little)
    assert set(held[1]) == {"tailor"}
    assert set(held[2]) == {"plm"}
    assert len(held) == 3


def test_a_candidate_in_closed_form_does_not_drop_one_that_is_not_trained_yet():
    closed = Candidate("linear", "linear", ("region",), 4, "tailor", 1)
    high, low = ({"region": scores({"0": [level + 0.001 * n for n in range(len(IDS))]})} for level in (0.8, 0.5))
    assert set(survivors([(MAP, 60, low), (closed, 1, high)], {})) == {MAP, closed}
    assert survivors([(MAP, 300, low), (closed, 1, high)], {}) == [closed]


def region(name, values, rank=2, steps=300):
    """A row of a candidate without a prompt; values are levels by variant."""
    candidate = Candidate(name, name, ("region",), rank, "tailor", 300)
    rows = {variant: [level + 0.001 * n for n in range(len(IDS))] for variant, level in values.items()}
    return candidate, steps, {"region": scores(rows)}


def test_a_candidate_that_was_dropped_is_not_chosen_for_being_simple():
    rows = [region("tailor", {"0": 0.70}, steps=60), region("zoom", {"0": 0.70}, rank=3)]
    assert choose(rows, {}).region.candidate.name == "tailor"
    assert choose(rows, {}, dropped=["tailor"]).region.candidate.name == "zoom"
    assert choose(rows[:1], {}, dropped=["tailor"]).region.candidate.name == "tailor"


def test_small_objects_are_seen_in_tiles_unless_that_is_worse():
    rows = [region("tailor", {"0": 0.70, "2": 0.695, "3": 0.695})]
    assert choose(rows, {}).region.variant == "0"
    assert choose(rows, {}, first_plan=2).region.variant == "2"
    worse = [region("tailor", {"0": 0.70, "2": 0.65, "3": 0.60})]
    assert choose(worse, {}, first_plan=2).region.variant == "0"
    decoded = [region("tailor", {"0": 0.70, "2": 0.70, "3": 0.75})]
    assert choose(decoded, {}, first_plan=2).region.variant == "3"


@pytest.mark.parametrize(("side", "seconds", "plan"), [(0.1, 0.05, 2), (0.4, 0.05, 0), (0.1, 2.0, 0)])
def test_tiles_come_first_for_small_objects_where_encoding_is_cheap(side, seconds, plan):
    data = DataFingerprint(8, 9, {"a": 9}, 8, side, side, side, 0.0, 0.0, 2, (100, 100), seconds, 2)
    assert data.first_plan == plan
    assert plan in (0, PLANS.index(TilingPlan((1, 2))))


@pytest.mark.parametrize(("budget", "takes_part"), [("40s", False), (None, True), ("10m", True)])
def test_the_discriminant_alone_takes_part_if_there_is_time(budget, takes_part):
    data = DataFingerprint(8, 9, {"a": 9}, 8, 0.1, 0.1, 0.1, 0.0, 0.0, 2, (100, 100), 0.1, 2)
    made = {one.name for one in all_candidates(FitConfig(method="auto", budget=budget), data)}
    assert ("linear" in made) == takes_part
    assert made >= {"base", "plm", "tailor", "zoom"}
