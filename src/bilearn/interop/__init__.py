"""Bridges to deepinv. Importing this package does not import deepinv; using it does."""

from bilearn.interop.operators import as_operator, tomography_matrix
from bilearn.interop.terms import PhysicsEnergy, PriorRegularizer

__all__ = ["PhysicsEnergy", "PriorRegularizer", "as_operator", "tomography_matrix"]
