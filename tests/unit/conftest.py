"""Fixtures of these tests."""

from commands import adapter_folder, base_folder, data_folder, run

__all__ = ["adapter_folder", "base_folder", "data_folder", "run"]
