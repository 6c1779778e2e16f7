"""Progress without a terminal: a line at the start, then one every ten seconds."""

from __future__ import annotations

import pytest

from samtailor.train.progress import Progress
from samtailor.train.progress_lines import ProgressLines, count_lines, figures, fit_lines, minutes, stage_name


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def printed() -> list[str]:
    return []


@pytest.fixture
def lines(clock, printed) -> ProgressLines:
    return ProgressLines(printed.append, clock)


def test_a_line_at_the_start_and_then_every_ten_seconds(lines, clock, printed):
    update = count_lines(lines, "Evaluating images")
    assert printed == ["Evaluating images ..."]
    for second in range(1, 26):
        clock.now = float(second)
        update(second, 50)
    assert printed[1:] == ["Evaluating images: 10/50, 0:40 left", "Evaluating images: 20/50, 0:30 left"]


def test_the_end_of_a_long_task_is_a_line(lines, clock, printed):
    update = count_lines(lines, "Labeling images")
    clock.now = 12.0
    update(1, 2)
    clock.now = 15.0
    update(2, 2)
    update(2, 2)
    assert printed[1:] == ["Labeling images: 1/2, 0:12 left", "Labeling images: 2/2, finished in 0:15"]


def test_a_short_task_is_one_line(lines, clock, printed):
    update = count_lines(lines, "Encoding images")
    for done in range(1, 9):
        clock.now += 0.1
        update(done, 8)
    assert printed == ["Encoding images ..."]


def test_a_fit_reports_stage_loss_and_time_left(lines, clock, printed):
    show = fit_lines(lines)
    show(Progress("encode", 1, 4))
    show(Progress("select", 1, 4))
    show(Progress("fit", 1, 600, seconds_left=900.0))
    clock.now = 11.0
    show(Progress("fit", 9, 600, loss=0.5, miou=0.44, best_miou=0.45, images_per_second=3.2, seconds_left=3725.0))
    assert printed == [
        "Encoding images ...",
        "Selecting tiled inference ...",
        "Training ...",
        "Training: 9/600, loss 0.500, held-out mIoU 44.0 (best 45.0), 3.2 images/s, 1:02:05 left",
    ]


def test_a_resumed_fit_estimates_the_time_from_its_own_steps(lines, clock, printed):
    lines.update("Training", 80, 100)
    clock.now = 10.0
    lines.update("Training", 90, 100)
    assert printed[-1] == "Training: 90/100, 0:10 left"


def test_parallel_fits_have_lines_of_their_own(lines, clock, printed):
    show = fit_lines(lines)
    show(Progress("fit", 1, 9, name="SAM-F"))
    show(Progress("fit", 1, 9, name="SAM+PLM"))
    assert printed == ["SAM-F: training ...", "SAM+PLM: training ..."]


def test_words():
    assert stage_name(Progress("other", 0, 1)) == "Other"
    assert figures(Progress("fit", 0, 1)) == ""
    assert [minutes(seconds) for seconds in (0, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "1:00:00"]
