"""Named faults at every write of an operation, and what is left afterwards. See `measure_faults.py`."""
