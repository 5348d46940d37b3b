"""Training, validation and test pairs of a configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.data import (
    DataError,
    NamedImage,
    Patches,
    Split,
    add_gaussian_noise,
    add_poisson_noise,
    blocky_signals,
    crops,
    downscale,
    ellipse_phantoms,
    photographs,
    read_folder,
    split_groups,
    stack,
    to_gray,
)
from bilearn.experiment.build_physics import build_operator
from bilearn.experiment.data_schema import DataConfig, GaussianNoise, NoiseConfig, PoissonNoise
from bilearn.experiment.schema import ExperimentConfig
from bilearn.operators import ForwardOperator


@dataclass(frozen=True)
class Pairs:
    """True images and their data.

    Attributes:
        truth: (N, C, H, W), or (N, C, L) for signals.
        data: (N, ...) y = A x + noise.
        names: one name per image.
    """

    truth: Tensor
    data: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ProblemData:
    """All pairs of an experiment, their operator and the shape of one image.

    ``validation`` and ``test`` are None where the configuration asks for none.
    """

    train: Pairs
    validation: Pairs | None
    test: Pairs | None
    operator: ForwardOperator
    image_shape: tuple[int, ...]


def build_data(config: ExperimentConfig) -> ProblemData:
    """Read or draw the images, split them, apply the operator and add noise.

    The noise of a part depends on the seed and on that part alone, not on the size of the others.

    Raises:
        DataError, ConfigError: one sentence on what does not fit.
    """
    split, measured = _images(config.data, config.run.seed)
    dtype = torch.float32 if config.run.dtype == "float32" else torch.float64
    truth = {part: stack(images) for part, images in vars(split).items() if images}
    shapes = {part: tuple(x.shape[1:]) for part, x in truth.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{part} {' x '.join(map(str, shape))}" for part, shape in shapes.items())
        raise DataError(f"mixed sizes: found {found}; set data.crop to cut all images to one size")
    image_shape = shapes["train"]
    operator = build_operator(config.physics, image_shape, config.run.seed)
    pairs = {}
    for part, x in truth.items():
        images = getattr(split, part)
        if measured is None:
            clean = operator.A(x)
            y = add_noise(clean, config.noise, noise_generator(config, part))
        else:
            y = stack([measured[image.group] for image in images])
        pairs[part] = Pairs(
            x.to(config.run.device, dtype), y.to(config.run.device, dtype), tuple(image.name for image in images)
        )
    return ProblemData(
        pairs["train"],
        pairs.get("validation"),
        pairs.get("test"),
        operator.to(config.run.device, dtype),
        image_shape,
    )


def noise_generator(config: ExperimentConfig, part: str) -> torch.Generator:
    """A generator for the noise of one part, seeded by the noise seed and the part's name."""
    seed = config.run.seed if config.noise.kind == "none" or config.noise.seed is None else config.noise.seed
    digest = hashlib.sha256(f"bilearn noise {seed} {part}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def add_noise(clean: Tensor, config: NoiseConfig, generator: torch.Generator) -> Tensor:
    """Noisy data of a configuration."""
    if isinstance(config, GaussianNoise):
        return add_gaussian_noise(clean, config.sigma, generator)
    if isinstance(config, PoissonNoise):
        return add_poisson_noise(clean, config.gain, generator)
    return clean


def _images(config: DataConfig, run_seed: int) -> tuple[Split, dict[str, NamedImage] | None]:
    """Prepared images by part, and measured data by group where there are any."""
    seed = run_seed if config.seed is None else config.seed
    generator = torch.Generator().manual_seed(seed)
    if config.source in ("phantoms", "signals"):
        assert config.train is not None
        count = config.train + config.validation + config.test
        drawn = (
            ellipse_phantoms(count, config.size, generator)
            if config.source == "phantoms"
            else blocky_signals(count, config.size, seed)
        )
        edges = (config.train, config.train + config.validation)
        return Split(tuple(drawn[: edges[0]]), tuple(drawn[edges[0] : edges[1]]), tuple(drawn[edges[1] :])), None
    if config.patches is not None:
        whole, _ = _images(config.model_copy(update={"crop": None, "patches": None}), run_seed)
        patches = Patches(whole.train, _size(config), seed, config.flips, config.rotations)
        validation, test = (
            [cut for image in part for cut in crops(image, _size(config), 1, generator)]
            for part in (whole.validation, whole.test)
        )
        return Split(tuple(patches.draw(0, config.patches)), tuple(validation), tuple(test)), None
    shuffler = generator if config.shuffle else None
    if config.source == "skimage":
        images = prepare(photographs(config.names), config, generator)
        return split_groups(images, config.train, config.validation, config.test, shuffler), None
    assert config.folder is not None
    images = prepare(read_folder(config.folder, config.scale), config, generator)
    if config.test_folder is None:
        split = split_groups(images, config.train, config.validation, config.test, shuffler)
    else:
        inner = split_groups(images, config.train, config.validation, 0, shuffler)
        tests = prepare(read_folder(config.test_folder, config.scale), config, generator)
        split = Split(inner.train, inner.validation, tuple(tests[: config.test or None]))
    return split, _measurements(config, images)


def prepare(images: Sequence[NamedImage], config: DataConfig, generator: torch.Generator) -> list[NamedImage]:
    """Gray values, down-scaling and crops, in this order."""
    prepared = [downscale(to_gray(i) if config.gray else i, config.downscale) for i in images]
    if config.crop is None:
        if config.crops_per_image > 1:
            raise DataError(f"crops_per_image: found {config.crops_per_image} without a crop size; set crop")
        return prepared
    return [cut for image in prepared for cut in crops(image, _size(config), config.crops_per_image, generator)]


def _size(config: DataConfig) -> tuple[int, int]:
    assert config.crop is not None
    return config.crop if isinstance(config.crop, tuple) else (config.crop, config.crop)


def _measurements(config: DataConfig, images: Sequence[NamedImage]) -> dict[str, NamedImage] | None:
    if config.measurements is None:
        return None
    found = {i.name: i for i in read_folder(config.measurements, config.scale)}
    missing = [image.name for image in images if image.name not in found]
    if missing:
        raise DataError(
            f"measurements {config.measurements}: found no file named like the image '{missing[0]}', "
            "expected one file per image with the same name"
        )
    return {image.group: to_gray(found[image.name]) if config.gray else found[image.name] for image in images}
