"""The whole suite: which groups run, and their report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from samtailor import __version__
from samtailor.bases import Base
from samtailor.bench import encoders, fits, labels, machine, prompts
from samtailor.bench.machine import Machine
from samtailor.bench.timing import Row
from samtailor.cache.encoders import device_of
from samtailor.errors import InputError

GROUPS = ("encode", "prompts", "images", "label", "fit")
"""What can be measured; "fit" takes minutes on a CPU."""
DEFAULT = GROUPS[:-1]


@dataclass(frozen=True)
class Report:
    """What was measured.

    Args:
        base: name of the base model.
        fingerprint: of the base model.
        machine: with its matrix rates and bandwidth.
        rows: of all groups.
        left_out: what could not run, and why.
    """

    base: str
    fingerprint: str
    machine: Machine
    rows: list[Row]
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        return {
            "version": __version__,
            "base": {"name": self.base, "fingerprint": self.fingerprint},
            "machine": asdict(self.machine),
            "rows": [asdict(row) | {"distance": row.distance} for row in self.rows],
            "left_out": dict(self.left_out),
        }


def run(
    base: Base,
    *,
    groups: Sequence[str] = DEFAULT,
    rounds: int = 5,
    images: int = 8,
    compiled: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Measure a base on its device.

    Args:
        base: the base model.
        groups: of `GROUPS`.
        rounds: of each way; a fit runs once.
        images: files of the group "label".
        compiled: also measure the encoder with torch.compile.
        progress: called with the name of each group.

    Raises:
        InputError: an unknown group, or less than one round or image.
    """
    if unknown := [name for name in groups if name not in GROUPS]:
        raise InputError(f"There is no group {unknown[0]!r}. Expected: {', '.join(GROUPS)}.")
    if rounds < 1 or images < 1:
        raise InputError(f"rounds and images must be at least 1, got {rounds} and {images}.")
    say = progress or (lambda text: None)
    say("the machine")
    measured, left_out = machine.measure(device_of(base)), dict[str, str]()
    ways: dict[str, Callable[[], list[Row]]] = {
        "encode": lambda: encoders.measure(base, measured, rounds, compiled=compiled, left_out=left_out),
        "prompts": lambda: prompts.measure(base, measured, rounds),
        "images": lambda: prompts.measure_images(base, rounds, left_out),
        "label": lambda: labels.measure(base, rounds, images),
        "fit": lambda: fits.measure(base),
    }
    rows: list[Row] = []
    for name in dict.fromkeys(groups):
        say(name)
        rows += ways[name]()
    return Report(base.name, base.fingerprint, measured, rows, left_out)


__all__ = ["DEFAULT", "GROUPS", "Report", "run"]
