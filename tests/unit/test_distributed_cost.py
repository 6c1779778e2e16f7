"""Rate, time left and cost of large runs, while they run and in the manifest."""

from __future__ import annotations

from functools import partial

import pytest
from test_distributed import Engine, Killed, go

from samtailor.cli.batch_progress import metered
from samtailor.distributed.api import Machines
from samtailor.distributed.cost import Meter, Price, amount
from samtailor.distributed.engines.cluster import Resources
from samtailor.distributed.store import Store
from samtailor.errors import InputError


def test_the_rate_begins_with_the_first_result_and_the_cost_with_the_start():
    now = [100.0]
    meter = Meter(Price(6.0, 2), clock=lambda: now[0])
    now[0] = 160.0  # the workers have started
    first = meter.update(50, 250)
    assert (first.rate, first.seconds_left, first.total_cost) == (None, None, None)
    assert first.cost == pytest.approx(0.2)
    now[0] = 170.0
    later = meter.update(100, 250)
    assert later.rate == pytest.approx(5.0)
    assert later.seconds_left == pytest.approx(30.0)
    assert later.cost == pytest.approx(12 * 70 / 3600)
    assert later.total_cost == pytest.approx(12 * 100 / 3600)
    assert later.words() == "5.0 images/s, cost 0.23 of about 0.33"
    plain = Meter(clock=lambda: now[0]).update(1, 2)
    assert (plain.cost, plain.words()) == (None, "")


@pytest.mark.parametrize(
    ("cost", "words"),
    [(0.0, "0.00"), (0.0001234, "0.00012"), (0.5, "0.5"), (2.345, "2.35"), (1234567.8, "1,234,567.80")],
)
def test_amounts(cost, words):
    assert amount(cost) == words


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_wrong_prices_are_refused(price):
    with pytest.raises(InputError, match="price of an hour"):
        Machines(price_per_hour=price)


def test_the_price_is_that_of_the_largest_number_of_workers():
    assert Machines(price_per_hour=0.5, resources=Resources(workers=(2, 8))).price == Price(0.5, 8)
    assert Machines().price is None


def test_the_manifest_has_what_each_command_took(tmp_path):
    price = Price(3600.0, 2)
    summary = go(tmp_path, Engine(), price=price)
    assert summary.cost == pytest.approx(2 * summary.seconds)
    go(tmp_path, Engine())  # nothing is missing
    go(tmp_path, Engine(), 25)
    one, other = Store(tmp_path / "out").read_json("manifest.json")["commands"]
    assert (one["images"], one["workers"], one["price_per_hour"]) == (20, 2, 3600.0)
    assert one["cost"] == pytest.approx(2 * summary.seconds, abs=1e-5)
    assert other.keys() == {"images", "seconds"}
    assert other["images"] == 5


def test_a_command_that_was_killed_is_not_in_the_manifest(tmp_path):
    with pytest.raises(Killed):
        go(tmp_path, Engine(stop_after=12))
    go(tmp_path, Engine())
    (only,) = Store(tmp_path / "out").read_json("manifest.json")["commands"]
    assert 0 < only["images"] < 20


def test_progress_as_lines(capsys, monkeypatch):
    times = iter((0.0, 20.0, 40.0))
    monkeypatch.setattr("samtailor.distributed.cost.Meter", partial(Meter, clock=lambda: next(times)))
    monkeypatch.setattr("samtailor.cli.batch_progress.ProgressLines", lambda write: Lines(write))
    with metered("Labeling images", Price(1.8, 2)) as progress:
        progress(10, 100)
        progress(30, 100)
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == "Labeling images 30/100, 1.0 images/s, cost 0.04 of about 0.11, 70.0"
    )


class Lines:
    """The lines without their own clock."""

    def __init__(self, write):
        self.write = write

    def start(self, task):
        self.write(task)

    def update(self, task, done, total, words, left):
        self.write(f"{task} {done}/{total}, {words}, {left}")
