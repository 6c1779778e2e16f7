"""Method `auto`: warnings about poor regions, and forecasts that are too uncertain to be given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from samtailor.cli.class_table import HEAD, class_table
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import Choice, Entry
from samtailor.fitting.contest.report.forecast import Forecast, forecasts, words
from samtailor.fitting.contest.report.outcome import _better_clicks
from samtailor.fitting.contest.report.words import contest_sentences
from samtailor.fitting.contest.scoring import Scores
from samtailor.fitting.gate import Decision, Gate
from samtailor.fitting.result import FitResult
from samtailor.fitting.verdict import verdict
from samtailor.train.config import FitConfig

IDS = [f"i{number}" for number in range(8)]


def contest(region, click, base, strength=1.0):
    """A contest with a mean Dice of the region, and IoU of clicks by the adapter and by the base model."""

    def entry(**levels):
        values = {name: [level + 0.01 * (-1) ** n for n in range(8)] for name, level in levels.items()}
        return Entry(Candidate("a", "a", (), 1), next(iter(levels)), Scores(IDS, ["a"] * 8, values, 8), 10)

    clicks = entry(**{"1": click, "0": base})
    answers = Decision("click", 8, 8, 8, "adapter" if strength else "base")
    choice = Choice((answers,), region=entry(**{"0": region}), entries={"click": clicks})
    return SimpleNamespace(choice=choice, groups={})


def test_a_region_that_is_worse_than_clicks_is_reported():
    found = _better_clicks(contest(0.5, 0.6, 0.4))
    assert found == {"region": pytest.approx(0.5), "click": pytest.approx(0.75, abs=1e-3), "adapter": True}
    assert _better_clicks(contest(0.5, 0.6, 0.4, strength=0.0))["click"] == pytest.approx(0.571, abs=1e-3)
    assert _better_clicks(contest(0.8, 0.6, 0.4)) is None
    assert _better_clicks(contest(0.76, 0.6, 0.4, strength=0.0)) is None


def test_the_words_recommend_clicks_where_they_are_better():
    given = {
        "images": 8, "objects": 8, "folds": 3, "spent": 50.0, "budget": 120.0, "rows": {},
        "clicks": {"region": 0.5, "click": 0.75, "adapter": False},
    }  # fmt: skip
    gate = Gate((Decision("region", 8, 8, 8, "adapter", new=0.5, metric="Dice", part="cross-validated"),))
    text = "\n".join(contest_sentences({"contest": given}, gate, {}))
    assert "one click on each object has Dice 75.0 on the same images (by the base model), no prompt 50.0" in text
    assert "Use clicks" in text
    assert "Use clicks" not in "\n".join(contest_sentences({"contest": given | {"clicks": None}}, gate, {}))


def test_the_table_of_several_classes_says_who_answers_and_what_more_masks_bring():
    def part(*decisions, rows=()):
        figures = {
            "comparison": Gate(decisions).to_json(),
            "contest": {"images": 8, "objects": 9, "folds": 3, "forecast": {"metric": "Dice", "rows": rows}},
        }
        return FitResult(Path("a"), FitConfig(), figures)

    def decision(way, answers, new, base=None):
        return Decision(way, 8, 8, 8, answers, new=new, base=base)

    rows = [{"masks": 8, "gain": 0.021, "error": 0.015}, {"masks": 16, "gain": 0.03, "error": 0.025}]
    parts = {
        "a": part(
            decision("click", "adapter", 0.6, 0.5), decision("box", "base", 0.6, 0.7),
            decision("region", "adapter", 0.8), rows=rows,
        ),
        "b": part(Decision("click", 3, 3, 3, "base")),
        "c": FitResult(Path("c"), FitConfig(), {}),
    }  # fmt: skip
    first, second = class_table(parts)
    assert first == ["a", "8/9", "80.0", "50.0", "60.0 *", "70.0 *", "60.0", "+2.1 ± 1.5", "-"]
    assert second == ["b", "8/9", "-", "too few to say", "too few to say", "-", "-", "-", "-"]
    assert len(first) == len(HEAD)


def test_of_several_classes_only_warnings_are_said_in_sentences():
    good = {"images": 8, "objects": 8, "folds": 3, "spent": 1.0, "budget": 60.0, "clicks": None}
    poor = good | {"clicks": {"region": 0.5, "click": 0.75, "adapter": False}}
    parts = {name: FitResult(Path(name), FitConfig(), {"contest": one}) for name, one in (("a", good), ("b", poor))}
    (line,) = verdict(FitResult(Path("."), FitConfig(), {}, parts=parts))
    assert line.startswith("b: The masks without a prompt are poor")


def test_a_forecast_that_cannot_be_trusted_is_not_given():
    rows = [{"masks": 8, "gain": 0.021, "error": 0.015}, {"masks": 16, "gain": 0.03, "error": 0.025}]
    text = words(rows, "Dice")
    assert "8 more masks +2.1 ± 1.5 (" in text
    assert "+3.0" not in text
    assert "No forecast of Dice for 16 more masks: its standard error would be 2.5 points." in text
    assert words(rows[1:], "Dice").startswith("No forecast")
    assert "No forecast" not in words(rows[:1], "Dice")
    known = [Forecast(8, gain, error).trusted for gain, error in ((0.0, 0.015), (0.0, 0.016), (0.03, 0.02))]
    assert known == [True, False, False]
    assert "A gain is likely all the same." in words([{"masks": 8, "gain": 0.04, "error": 0.03}], "Dice")
    assert "likely" not in words([{"masks": 8, "gain": 0.03, "error": 0.03}], "Dice")


def test_the_error_of_a_forecast_grows_with_the_spread_of_the_scores():
    def error(spread):
        more = {f"i{n}": 0.6 + spread * (-1) ** n for n in range(8)}
        fewer = {id: value - 0.05 for id, value in more.items()}
        return forecasts(fewer, more, (4.0, 5.3), 8)[0].error

    assert error(0.2) > error(0.01)
