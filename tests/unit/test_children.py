"""Workers end with the process that started them, also if it is killed."""

from __future__ import annotations

import subprocess
import sys

import pytest

FITS = """
import time
from samtailor.fitting.engines import Setup
from samtailor.fitting.engines.processes import Processes

engine = Processes(Setup(2, 1, print, (), print))
engine.submit(time.sleep, 0).result()
engine.submit(time.sleep, 600)
print("started", flush=True)
time.sleep(600)
"""
DATA = """
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from samtailor.data.children import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, get_context("spawn"), end_with_parent)
    pool.submit(time.sleep, 0).result()
    pool.submit(time.sleep, 600)
    print("started", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("script", [FITS, DATA], ids=["fits", "data"])
def test_workers_of_a_killed_process_end(script, tmp_path):
    file = tmp_path / "script.py"
    file.write_text(script)
    process = subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True)
    while (line := process.stdout.readline()) and "started" not in line:
        pass  # what the workers print
    assert line
    process.kill()
    process.communicate(timeout=120)  # the pipe closes when the last process that has it ends
