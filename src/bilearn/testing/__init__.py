"""Checks for components of your own: they raise AssertionError and say what failed and by how much."""

from bilearn.testing.energy import check_energy

__all__ = ["check_energy"]
