"""Cases of public bug reports: what each must do, and how it is judged. See `measure_cases.py`."""
