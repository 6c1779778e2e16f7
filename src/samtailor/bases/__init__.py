"""Frozen promptable models, one file per decoder family."""
