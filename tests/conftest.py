"""Shared set-up: the registry is importable from every test folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

# torch shows most of its warnings once per process; warnings are errors here, whatever the order of the tests
torch.set_warn_always(True)

# tests run in two processes, and two busy threads in each would wait for one another
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """The one warning of torch that says nothing about us: its sparse tensors are 'in beta state'."""
    config.addinivalue_line("filterwarnings", "ignore:Sparse (CSR|CSC|invariant)")


@pytest.fixture
def generator() -> torch.Generator:
    """A generator with a fixed seed."""
    return torch.Generator().manual_seed(0)
