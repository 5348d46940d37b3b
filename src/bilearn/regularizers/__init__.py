"""Regularizers R(x)."""

from bilearn.regularizers.analysis import AnalysisOperator
from bilearn.regularizers.denoiser_residual import DenoiserResidual, smoothed
from bilearn.regularizers.differences import FiniteDifferences
from bilearn.regularizers.directional import DirectionalDifferences, DirectionalTV
from bilearn.regularizers.fields_of_experts import FieldsOfExperts
from bilearn.regularizers.filter_chain import FilterChain, random_layers
from bilearn.regularizers.filter_regularizer import FilterRegularizer
from bilearn.regularizers.filters import FilterBank, Filters, cosine_filters, random_filters
from bilearn.regularizers.gradient_maps import GradientMaps, fit_generalized_gaussian, gradient_maps
from bilearn.regularizers.input_convex import DifferenceNetwork, InputConvexNetwork
from bilearn.regularizers.network import NetworkRegularizer
from bilearn.regularizers.oriented import OrientedDifferences
from bilearn.regularizers.patch_network import PatchNetwork
from bilearn.regularizers.potential_regularizer import PotentialRegularizer
from bilearn.regularizers.potentials import CubicAbsolute, Potential, Quadratic, SmoothedAbsolute
from bilearn.regularizers.power_potential import PowerAbsolute
from bilearn.regularizers.regularizer import Regularizer, Sum, TermHessian
from bilearn.regularizers.response_potentials import (
    AbsoluteResponse,
    LogCoshResponse,
    ResponsePotential,
    StudentTResponse,
)
from bilearn.regularizers.ridge import RidgeRegularizer, load_ridge, ridge_from_state
from bilearn.regularizers.smoothed_analysis import SmoothedAnalysis
from bilearn.regularizers.space_variant import SpaceVariantTV
from bilearn.regularizers.splines import SplineResponse
from bilearn.regularizers.tikhonov import Tikhonov
from bilearn.regularizers.total_deep_variation import TotalDeepVariation
from bilearn.regularizers.total_variation import SmoothedTV, SquaredH1
from bilearn.regularizers.wavelets import PeriodicWavelets, WaveletSparsity

__all__ = [
    "AbsoluteResponse",
    "AnalysisOperator",
    "CubicAbsolute",
    "DenoiserResidual",
    "DifferenceNetwork",
    "DirectionalDifferences",
    "DirectionalTV",
    "FieldsOfExperts",
    "FilterBank",
    "FilterChain",
    "FilterRegularizer",
    "Filters",
    "FiniteDifferences",
    "GradientMaps",
    "InputConvexNetwork",
    "LogCoshResponse",
    "NetworkRegularizer",
    "OrientedDifferences",
    "PatchNetwork",
    "PeriodicWavelets",
    "Potential",
    "PotentialRegularizer",
    "PowerAbsolute",
    "Quadratic",
    "Regularizer",
    "ResponsePotential",
    "RidgeRegularizer",
    "SmoothedAbsolute",
    "SmoothedAnalysis",
    "SmoothedTV",
    "SpaceVariantTV",
    "SplineResponse",
    "SquaredH1",
    "StudentTResponse",
    "Sum",
    "TermHessian",
    "Tikhonov",
    "TotalDeepVariation",
    "WaveletSparsity",
    "cosine_filters",
    "fit_generalized_gaussian",
    "gradient_maps",
    "load_ridge",
    "random_filters",
    "random_layers",
    "ridge_from_state",
    "smoothed",
]
