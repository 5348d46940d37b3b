"""Linear forward operators."""

from bilearn.operators.fourier_blur import FourierBlur
from bilearn.operators.matrix_operator import MatrixOperator
from bilearn.operators.operator import ForwardOperator, Identity, Mask, Spectrum, Unstructured

__all__ = ["ForwardOperator", "FourierBlur", "Identity", "Mask", "MatrixOperator", "Spectrum", "Unstructured"]
