"""Engines: where workers run, one engine a file."""
