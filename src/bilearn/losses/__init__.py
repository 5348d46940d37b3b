"""Upper-level losses: how far a reconstruction is from the truth, and how uncertain that number is."""

from bilearn.losses.custom import CallableLoss, as_loss
from bilearn.losses.loss import UpperLoss
from bilearn.losses.negative_psnr import NegativePSNR
from bilearn.losses.similarity import SimilarityError
from bilearn.losses.smoothed_l1 import SmoothedL1
from bilearn.losses.squared_error import SquaredError
from bilearn.losses.ssim import SSIMLoss

__all__ = [
    "CallableLoss",
    "NegativePSNR",
    "SSIMLoss",
    "SimilarityError",
    "SmoothedL1",
    "SquaredError",
    "UpperLoss",
    "as_loss",
]
