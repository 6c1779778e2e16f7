"""What `child.py` runs, one file a kind of job: `run(job, line)`."""
