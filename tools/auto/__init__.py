"""One run of tools/measure_auto.py: fits, evaluation, memory."""
