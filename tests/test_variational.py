"""Every energy of the registry against finite differences and its own declared constants."""

from __future__ import annotations

import pytest
from registry import ENERGIES, EnergyCase

from bilearn.testing import check_energy


@pytest.mark.parametrize("case", ENERGIES, ids=lambda c: c.name)
def test_energy(case: EnergyCase) -> None:
    energy = case.make()
    check_energy(energy, case.point(), case.data(energy))
