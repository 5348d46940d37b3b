"""Where training images come from: files, built-in photographs, phantoms and signals; crops, splits and noise."""

from bilearn.data.files import list_images, read_folder, read_image
from bilearn.data.images import DataError, NamedImage, crops, downscale, stack, to_gray
from bilearn.data.noise import add_gaussian_noise, add_poisson_noise
from bilearn.data.patches import Patches, PatchStream
from bilearn.data.photographs import photograph_names, photographs
from bilearn.data.split import Split, split_groups
from bilearn.data.synthetic import blocky_signals, ellipse_phantoms, shepp_logan

__all__ = [
    "DataError",
    "NamedImage",
    "PatchStream",
    "Patches",
    "Split",
    "add_gaussian_noise",
    "add_poisson_noise",
    "blocky_signals",
    "crops",
    "downscale",
    "ellipse_phantoms",
    "list_images",
    "photograph_names",
    "photographs",
    "read_folder",
    "read_image",
    "shepp_logan",
    "split_groups",
    "stack",
    "to_gray",
]
