"""Jobs that `worker.py` runs, one module per kind: `run(job, channel)`."""
