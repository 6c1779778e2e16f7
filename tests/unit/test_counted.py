"""One of a thing is not several."""

from __future__ import annotations

import pytest

from samtailor.errors import counted
from samtailor.evaluation.scores import Evaluation
from samtailor.report import tables
from samtailor.structures import Score


@pytest.mark.parametrize(("number", "text"), [(0, "0 masks"), (1, "1 mask"), (2, "2 masks")])
def test_the_number_decides(number, text):
    assert counted(number, "mask") == text


def test_a_noun_with_a_plural_of_its_own():
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]


@pytest.mark.parametrize(
    ("rows", "text"),
    [(1, "1 mask in 1 image of 1 group, one prompt"), (2, "2 masks in 2 images of 2 groups, one prompt")],
)
def test_the_report_counts_so(rows, text):
    scores = tuple(Score(f"p{i}", "a", 0, 0.5, 0.6, 0.6, 0.7, 0.4, 0.9, 300) for i in range(rows))
    section = tables.headline({"SAM": Evaluation(scores, "mask-center", 0)})
    assert section["text"].startswith(text)
    assert f"bootstrap over {rows} group{'s' * (rows > 1)} of images" in section["note"]
