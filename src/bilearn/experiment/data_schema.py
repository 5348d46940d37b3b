"""The typed configuration of an experiment; every section of a TOML file is one class here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator


class Section(BaseModel):
    """A section: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _complete_parameters(cls, tree: Any) -> Any:
        """``alpha = { learn = false }`` keeps the default start and bounds of alpha."""
        if not isinstance(tree, Mapping):
            return tree
        filled = dict(tree)
        for name, field in cls.model_fields.items():
            default, given = field.default, filled.get(name)
            if isinstance(default, Parameter) and isinstance(given, Mapping):
                bounds = {"bounds": default.bounds} if given.get("learn", True) is True else {}
                filled[name] = {"start": default.start, **bounds, **given}
        return filled


class Parameter(Section):
    """A number of the model. ``alpha = 0.1`` fixes it; ``alpha = { start = 0.1 }`` learns it."""

    start: float = Field(description="value at the start; it also makes the 'default' reconstruction")
    bounds: tuple[float, float] | None = Field(default=None, description="[lower, upper] of the natural value")
    learn: bool = Field(default=True, description="whether it is learned")
    pixelwise: bool = Field(default=False, description="one value per pixel instead of one number")
    cells: list[PositiveInt] | None = Field(
        default=None,
        description="one value per cell of a grid with this many cells per axis, interpolated to the pixels",
    )

    @model_validator(mode="after")
    def _inside(self) -> Parameter:
        if self.start <= 0:
            raise ValueError(f"start: found {self.start:g}, expected a positive number")
        if self.bounds is not None:
            lower, upper = self.bounds
            if not 0 < lower < upper:
                raise ValueError(f"bounds: found [{lower:g}, {upper:g}], expected 0 < lower < upper")
            if not lower <= self.start <= upper:
                raise ValueError(f"start: found {self.start:g}, expected a number in bounds = [{lower:g}, {upper:g}]")
        if self.pixelwise and self.cells is not None:
            raise ValueError("pixelwise, cells: found both, expected one of them")
        return self

    @property
    def varies(self) -> bool:
        """Whether it has more than one value."""
        return self.pixelwise or self.cells is not None


def _fixed(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"start": float(value), "learn": False}
    return value


Number = Annotated[Parameter, BeforeValidator(_fixed)]


def learned(start: float, lower: float, upper: float) -> Parameter:
    """A parameter that is learned within bounds."""
    return Parameter(start=start, bounds=(lower, upper))


class DataConfig(Section):
    """Where the true images come from, how they are cut, and how many go where."""

    source: Literal["folder", "skimage", "phantoms", "signals"] = Field(
        default="folder",
        description="'folder': your images; 'skimage': photographs inside scikit-image; 'phantoms': random ellipses; "
        "'signals': blocky 1-D signals",
    )
    folder: str | None = Field(
        default=None, description="folder with the true images (PNG, JPEG, TIFF, .npy, .npz, .h5)"
    )
    test_folder: str | None = Field(default=None, description="folder with the test images, if they are kept apart")
    measurements: str | None = Field(
        default=None,
        description="folder with measured data y, one file per image and of the same name; no noise is added",
    )
    names: list[str] | None = Field(default=None, description="skimage: which photographs; all natural ones if absent")
    size: int = Field(default=64, ge=8, description="phantoms: side in pixels; signals: number of samples")
    gray: bool = Field(default=True, description="turn color images into gray values")
    scale: PositiveFloat | None = Field(
        default=None, description="stored number that stands for white, where not [0, 1]"
    )
    downscale: PositiveInt = Field(default=1, description="average blocks of this many pixels first")
    crop: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="cut to this many pixels (height = width, or [height, width])"
    )
    crops_per_image: PositiveInt = Field(default=1, description="crops cut from each image at random places")
    patches: PositiveInt | None = Field(
        default=None,
        description="learn from this many patches of size crop, from random places of the training images; train, validation "
        "and test then count whole images, the latter two cut to their centers",
    )
    flips: bool = Field(default=False, description="patches: swap left and right in half of them")
    rotations: bool = Field(default=False, description="patches: rotate them by random multiples of 90 degrees")
    train: PositiveInt | None = Field(default=None, description="training images; all that are left if absent")
    validation: int = Field(default=0, ge=0, description="validation images")
    test: int = Field(default=0, ge=0, description="test images")
    shuffle: bool = Field(default=True, description="shuffle the images before they are split")
    seed: int | None = Field(default=None, ge=0, description="seed of places, split and phantoms; run.seed if absent")

    @model_validator(mode="after")
    def _consistent(self) -> DataConfig:
        if self.source == "folder" and self.folder is None:
            raise ValueError('folder is missing; name the folder with your images, or choose source = "skimage"')
        if self.source != "folder":
            for key in ("folder", "test_folder", "measurements"):
                if getattr(self, key) is not None:
                    raise ValueError(f'{key} is given together with source = "{self.source}"; remove one of them')
        if self.source in ("phantoms", "signals") and self.train is None:
            raise ValueError(f"train is missing; say how many {self.source} to learn from")
        self._check_patches()
        if self.measurements is not None and (self.crop or self.downscale > 1 or self.test_folder):
            raise ValueError(
                "measurements cannot be combined with crop, downscale or test_folder; prepare the files first"
            )
        return self

    def _check_patches(self) -> None:
        if self.patches is None:
            if self.flips or self.rotations:
                raise ValueError("flips and rotations apply to patches; set patches to their number")
            return
        if self.source in ("phantoms", "signals"):
            raise ValueError(f'patches are cut from images; source = "{self.source}" draws as many as train says')
        if self.crop is None:
            raise ValueError("patches need a size; set crop")
        if self.crops_per_image > 1:
            raise ValueError("patches and crops_per_image exclude one another; remove crops_per_image")


class IdentityConfig(Section):
    """Denoising: A x = x."""

    kind: Literal["identity"] = "identity"


class BlurConfig(Section):
    """Gaussian blur with periodic boundary."""

    kind: Literal["blur"]
    sigma: PositiveFloat = Field(default=1.5, description="standard deviation of the kernel in pixels")
    size: PositiveInt | None = Field(
        default=None, description="side of the kernel in pixels (odd); 6 sigma + 1 if absent"
    )


class MaskConfig(Section):
    """Inpainting: a random part of the pixels is observed."""

    kind: Literal["mask"]
    keep: float = Field(default=0.5, gt=0, le=1, description="fraction of the pixels that is observed")
    seed: int | None = Field(default=None, ge=0, description="seed of the mask; run.seed if absent")


class TomographyConfig(Section):
    """Parallel-beam tomography (deepinv.physics.Tomography, scaled to unit norm)."""

    kind: Literal["tomography"]
    angles: PositiveInt = Field(default=30, description="number of views: few make sparse-view tomography")
    arc: float = Field(
        default=180.0, gt=0, le=180, description="degrees they cover: below 180 is limited-angle tomography"
    )


PhysicsConfig = Annotated[IdentityConfig | BlurConfig | MaskConfig | TomographyConfig, Field(discriminator="kind")]


class NoNoise(Section):
    """No noise is added."""

    kind: Literal["none"]


class GaussianNoise(Section):
    """Additive normal noise."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: float = Field(default=0.1, ge=0, description="standard deviation, in units of the data")
    seed: int | None = Field(default=None, ge=0, description="seed of the noise; run.seed if absent")


class PoissonNoise(Section):
    """Photon noise: gain * Poisson(A x / gain)."""

    kind: Literal["poisson"]
    gain: PositiveFloat = Field(default=0.02, description="brightness of one photon")
    seed: int | None = Field(default=None, ge=0, description="seed of the noise; run.seed if absent")


NoiseConfig = Annotated[NoNoise | GaussianNoise | PoissonNoise, Field(discriminator="kind")]
