"""Learned models on disk: ``model.safetensors`` holds the numbers, ``model.json`` says how to rebuild the energy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bilearn import __version__
from bilearn._files import replacing
from bilearn._numbers import learned as _learned
from bilearn._numbers import limits as _limits
from bilearn._numbers import number_names as _number_names
from bilearn._numbers import numbers_of as _numbers
from bilearn._numbers import values as _values
from bilearn.fidelities import (
    Fidelity,
    Huber,
    KullbackLeibler,
    LeastSquares,
    PoissonGaussian,
    PseudoHuber,
    StudentT,
)
from bilearn.lower.minimize import minimize
from bilearn.operators import ForwardOperator, FourierBlur, Identity, Mask, MatrixOperator
from bilearn.regularizers import (
    CubicAbsolute,
    DirectionalDifferences,
    DirectionalTV,
    FilterRegularizer,
    FiniteDifferences,
    NetworkRegularizer,
    Potential,
    Regularizer,
    SmoothedAbsolute,
    SmoothedTV,
    SpaceVariantTV,
    SquaredH1,
    Sum,
    Tikhonov,
    WaveletSparsity,
)
from bilearn.regularizers.filter_description import build_filters, describe_filters
from bilearn.regularizers.network_description import build_network, describe_network
from bilearn.run_records import encode
from bilearn.shipped import model_folder, shipped_names
from bilearn.solution import Solution, Tolerance
from bilearn.variational import VariationalEnergy

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
FORMAT = 1


class ModelError(ValueError):
    """A model that cannot be saved or loaded; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class LearnedModel:
    """A learned energy, ready to reconstruct.

    Attributes:
        energy: the energy with its learned parameters.
        description: what ``model.json`` says, with the keys of the caller of :func:`save_model`.
        tolerance: accuracy of reconstructions; a certified distance of 1e-4 per pixel (root mean square) if
            None, or the best that the dtype can certify.
    """

    energy: VariationalEnergy
    description: Mapping[str, Any] = field(default_factory=dict)
    tolerance: Tolerance | None = None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Natural value of every number of the model, learned or fixed, by name."""
        return {
            f"{owner}.{name}": getattr(module, name).detach().clone()
            for owner, module in self.energy.named_modules()
            for name in _number_names(module)
        }

    def reconstruct(self, y: Tensor, physics: Any = None) -> Tensor:
        """Images (B, ...) in the dtype of the data ``y``; arguments and errors as for :meth:`solve`."""
        x = self.solve(y, physics).x
        return x.to(y.dtype) if y.is_floating_point() else x

    def solve(self, y: Tensor, physics: Any = None, throw: bool = True) -> Solution:
        """Minimize the energy for data ``y``, with certificates.

        Args:
            y: (B, ...) data.
            physics: another forward operator (deepinv physics, or any object with A and A_adjoint) for these data; the
                one the model was saved with if None.
            throw: raise :class:`SolveError` where the tolerance is not reached; the floor of the dtype counts as reached
                (``error`` says how far it is).

        Returns:
            Solution whose ``x`` holds the images and whose ``error`` bounds their distance to the exact minimizers.
        """
        energy = self.energy if physics is None else self.with_operator(physics).energy
        y = y.to(self.dtype)
        tolerance = reconstruction_tolerance(energy, y) if self.tolerance is None else self.tolerance
        solution = minimize(energy, y, tolerance=tolerance, throw=False)
        return solution.raise_for_status() if throw and not solution.settled else solution

    def with_operator(self, physics: Any) -> LearnedModel:
        """The same fidelity and regularizer (shared) with another forward operator."""
        shape = self.description.get("image_shape")
        operator = prepare_operator(physics, None if shape is None else tuple(shape), self.dtype)
        energy = VariationalEnergy(self.energy.fidelity, self.energy.regularizer, operator)
        return LearnedModel(energy, self.description, self.tolerance)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of images, as learned with."""
        return torch.float32 if self.description.get("dtype") == "float32" else torch.float64


def prepare_operator(physics: Any, image_shape: tuple[int, ...] | None, dtype: torch.dtype) -> ForwardOperator:
    """Operator of any physics object, for images of one dtype; the object itself is never changed."""
    from bilearn.interop import as_operator

    operator = as_operator(physics, image_shape)
    return operator.to(dtype) if isinstance(operator, MatrixOperator) and operator is not physics else operator


def reconstruction_tolerance(energy: VariationalEnergy, y: Tensor, per_pixel: float = 1e-4) -> Tolerance:
    """A distance of ``per_pixel`` times the square root of the pixels, where mu > 0 is known; that gradient norm elsewhere."""
    size = per_pixel * energy.start(y[:1]).numel() ** 0.5
    constant = energy.curvature(y).strong_convexity
    strong = constant.known and bool((torch.as_tensor(constant.value) > 0).all())
    return Tolerance(distance=size) if strong else Tolerance(gradient=size)


def save_model(folder: str | Path, energy: VariationalEnergy, extra: Mapping[str, Any] | None = None) -> Path:
    """Write ``model.safetensors`` and ``model.json`` into ``folder``, each atomically.

    Args:
        folder: an existing or new directory.
        energy: the energy to save.
        extra: further entries of ``model.json`` (name, physics, image shape, ...).

    Returns:
        Path of ``model.json``.

    Raises:
        ModelError: if a fidelity or regularizer is not one of bilearn's.
    """
    from safetensors.torch import save

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    operator, tensors = _describe_operator(energy.operator)
    for part in ("fidelity", "regularizer"):
        for name, tensor in getattr(energy, part).state_dict().items():
            tensors[f"{part}.{name}"] = tensor
    description = {
        "format": FORMAT,
        "library": "bilearn",
        "library_version": __version__,
        "fidelity": _describe_fidelity(energy.fidelity),
        "regularizer": _describe_regularizer(energy.regularizer),
        "operator": operator,
        "parameters": {name: _plain(value) for name, value in LearnedModel(energy).parameters.items()},
        **(extra or {}),
    }
    weights = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    text = json.dumps(encode(description, DESCRIPTION), indent=2) + "\n"
    for path, content in ((target / WEIGHTS, weights), (target / DESCRIPTION, text.encode())):
        with replacing(path) as file:
            file.write(content)
    return target / DESCRIPTION


def load_model(path: str | Path, physics: Any = None) -> LearnedModel:
    """Read a model saved by :func:`save_model`.

    Args:
        path: a run directory, its ``model.json`` or ``model.safetensors``, or the name of a shipped model ("crr", "wcrr").
        physics: forward operator for the model; needed where it was learned with an operator that cannot be saved.

    Raises:
        ModelError: if files are missing, damaged, or written by a newer format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    given = model_folder(path)
    folder = given if given.is_dir() else given.parent
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(
                f"model {given}: found no {name}, expected the run directory of a finished 'bilearn learn' or one of "
                f"{', '.join(shipped_names())}"
            )
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        tensors = load((folder / WEIGHTS).read_bytes())
    except (json.JSONDecodeError, SafetensorError, UnicodeDecodeError) as error:
        raise ModelError(f"model {given}: damaged ({error}); learn it again or restore the files") from error
    if description.get("task") == "classification":
        raise ModelError(
            f"model {given}: holds a classifier, expected a model of images; read {WEIGHTS} with safetensors.torch.load_file"
        )
    if description.get("format") != FORMAT:
        raise ModelError(
            f"model {given}: found format {description.get('format')!r}, expected {FORMAT}; install the bilearn version "
            f"that wrote it ({description.get('library_version')})"
        )
    try:
        energy = VariationalEnergy(
            _build_fidelity(description["fidelity"]), _build_regularizer(description["regularizer"]), Identity()
        )
        for part, module in (("fidelity", energy.fidelity), ("regularizer", energy.regularizer)):
            module.load_state_dict(
                {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(f"{part}.")}
            )
        if physics is None:
            dtype = LearnedModel(energy, description).dtype
            energy.operator = _build_operator(description["operator"], tensors).to(dtype)
    except (KeyError, RuntimeError, TypeError) as error:
        raise ModelError(f"model {given}: {DESCRIPTION} and {WEIGHTS} do not fit together ({error})") from error
    model = LearnedModel(energy, description)
    return model if physics is None else model.with_operator(physics)


def _plain(value: Tensor) -> Any:
    if value.numel() == 1:
        return value.item()
    return {
        "shape": list(value.shape),
        "min": value.min().item(),
        "max": value.max().item(),
        "mean": value.mean().item(),
    }


_FIDELITIES: dict[str, Callable[..., Fidelity]] = {
    "huber": Huber,
    "kullback-leibler": KullbackLeibler,
    "poisson-gaussian": PoissonGaussian,
    "pseudo-huber": PseudoHuber,
    "student-t": StudentT,
}


def _describe_fidelity(fidelity: Fidelity) -> dict[str, Any]:
    numbers = _numbers(fidelity)
    if isinstance(fidelity, LeastSquares):
        return {"kind": "least-squares", "numbers": numbers}
    for kind, named in _FIDELITIES.items():
        if isinstance(fidelity, named):  # type: ignore[arg-type]
            return {"kind": kind, "numbers": numbers}
    raise _foreign("fidelity", fidelity)


def _build_fidelity(entry: Mapping[str, Any]) -> Fidelity:
    numbers = entry["numbers"]
    values, limits = _values(numbers), _limits(numbers)
    if entry["kind"] in _FIDELITIES:
        return _FIDELITIES[entry["kind"]](**values, learn=_learned(numbers), bounds=limits)
    if entry["kind"] == "least-squares":
        return LeastSquares(values["weight"], numbers["weight"]["learn"], limits["weight"])
    raise KeyError(f"unknown fidelity {entry['kind']!r}")


_POTENTIALS: dict[str, Callable[[], Potential]] = {
    "smoothed-absolute": SmoothedAbsolute,
    "cubic-absolute": CubicAbsolute,
}
_SMOOTHED: dict[str, Callable[..., Regularizer]] = {
    "smoothed-tv": SmoothedTV,
    "wavelets": WaveletSparsity,
    "directional-tv": DirectionalTV,
}


def _describe_regularizer(regularizer: Regularizer) -> dict[str, Any]:
    numbers = _numbers(regularizer)
    if isinstance(regularizer, Sum):
        terms = [t for t in regularizer.terms if isinstance(t, Regularizer)]
        return {"kind": "sum", "terms": [_describe_regularizer(t) for t in terms]}
    if isinstance(regularizer, FilterRegularizer):
        described = describe_filters(regularizer)
        if described is None:
            raise _foreign("regularizer", regularizer)
        return described
    if isinstance(regularizer, NetworkRegularizer):
        network = describe_network(regularizer)
        if network is None:
            raise _foreign("regularizer", regularizer)
        return {**network, "numbers": numbers}
    if isinstance(regularizer, Tikhonov):
        return {"kind": "tikhonov", "numbers": numbers}
    if isinstance(regularizer, SquaredH1):
        return {"kind": "squared-h1", **_describe_differences(regularizer.differences), "numbers": numbers}
    if isinstance(regularizer, SmoothedTV):
        options = _options(regularizer, "bracket", "isotropic", "coupled", "potential")
        return {"kind": "smoothed-tv", **options, **_describe_differences(regularizer.differences), "numbers": numbers}
    if isinstance(regularizer, WaveletSparsity):
        wavelets = regularizer.wavelets
        return {
            "kind": "wavelets",
            **_options(regularizer, "bracket", "coupled", "potential"),
            **_options(wavelets, "wavelet", "levels", "axes"),
            "penalize_coarse": wavelets.coarse,
            "numbers": numbers,
        }
    if isinstance(regularizer, DirectionalTV) and isinstance(regularizer.analysis, DirectionalDifferences):
        options = _options(regularizer, "bracket", "coupled", "potential")
        differences = _describe_differences(regularizer.analysis.differences)
        del differences["axes"]
        size = list(regularizer.analysis.normals.shape[1:])
        return {"kind": "directional-tv", "reference": size, **options, **differences, "numbers": numbers}
    if isinstance(regularizer, SpaceVariantTV):
        parts = (regularizer.analysis, regularizer.potential, regularizer)
        differences = _describe_differences(regularizer.analysis.differences)
        del differences["axes"]
        numbers = {name: entry for part in parts for name, entry in _numbers(part).items()}
        return {"kind": "space-variant-tv", **_options(regularizer, "coupled"), **differences, "numbers": numbers}
    raise _foreign("regularizer", regularizer)


def _describe_differences(differences: FiniteDifferences) -> dict[str, Any]:
    return _options(differences, "axes", "boundary", "direction")


def _options(owner: object, *names: str) -> dict[str, Any]:
    """Attributes by name; a potential by its name in files."""
    values = {name: getattr(owner, name) for name in names}
    if "potential" in values:
        values["potential"] = _potential_name(values["potential"])
    return values


def _potential_name(potential: Potential) -> str:
    for name, kind in _POTENTIALS.items():
        if type(potential) is kind:
            return name
    raise _foreign("potential", potential)


def _build_regularizer(entry: Mapping[str, Any]) -> Regularizer:
    if entry["kind"] == "sum":
        return Sum(*(_build_regularizer(term) for term in entry["terms"]))
    if entry["kind"] in ("foe", "ridge"):
        return build_filters(entry)
    numbers = entry["numbers"]
    values, limits = _values(numbers), _limits(numbers)
    if entry["kind"] == "network":
        return build_network(entry, _learned(numbers), limits)
    rest = {name: value for name, value in entry.items() if name not in ("kind", "numbers")}
    if entry["kind"] == "space-variant-tv":
        return SpaceVariantTV(**values, learn=_learned(numbers), bounds=limits, **rest)
    if entry["kind"] in _SMOOTHED:
        potential = _POTENTIALS[rest.pop("potential", "smoothed-absolute")]()
        if entry["kind"] == "directional-tv":
            rest["reference"] = torch.zeros(rest["reference"], dtype=torch.float64)
        options = {"learn": _learned(numbers), "bounds": limits, "potential": potential, **rest}
        return _SMOOTHED[entry["kind"]](**values, **options)
    builders: dict[str, Callable[..., Regularizer]] = {"squared-h1": SquaredH1, "tikhonov": Tikhonov}
    return builders[entry["kind"]](values["alpha"], learn=numbers["alpha"]["learn"], bounds=limits["alpha"], **rest)


def _foreign(role: str, module: object) -> ModelError:
    return ModelError(
        f"{role}: found {type(module).__name__}, which is not one of bilearn's own and cannot be described in a file; "
        "save energy.state_dict() instead"
    )


def _describe_operator(operator: ForwardOperator) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of an operator; operators that cannot be stored are named only."""
    if isinstance(operator, Identity):
        return {"kind": "identity"}, {}
    if isinstance(operator, Mask):
        return {"kind": "mask"}, {"operator.mask": operator.mask}
    if isinstance(operator, FourierBlur):
        return {"kind": "fourier-blur", "shape": list(operator.shape)}, {"operator.parts": operator.parts}
    if isinstance(operator, MatrixOperator):
        shapes = {"image_shape": list(operator.image_shape), "data_shape": list(operator.data_shape)}
        if operator.matrix.layout == torch.strided:
            return {"kind": "dense-matrix", **shapes}, {"operator.matrix": operator.matrix}
        entries = operator.matrix.to_sparse_coo().coalesce()
        size = list(operator.matrix.shape)
        return {"kind": "matrix", "size": size, **shapes}, {
            "operator.indices": entries.indices().to(torch.int32),
            "operator.values": entries.values(),
        }
    return {"kind": "external", "name": type(operator).__name__}, {}


def _build_operator(entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ForwardOperator:
    if entry["kind"] == "identity":
        return Identity()
    if entry["kind"] == "mask":
        return Mask(tensors["operator.mask"])
    if entry["kind"] == "fourier-blur":
        parts, axes = tensors["operator.parts"], len(entry["shape"])
        operator = FourierBlur(torch.ones(*parts.shape[: -axes - 1], *[1] * axes), tuple(entry["shape"]))
        operator.load_state_dict({"parts": parts})
        return operator
    if entry["kind"] == "dense-matrix":
        return MatrixOperator(tensors["operator.matrix"], tuple(entry["image_shape"]), tuple(entry["data_shape"]))
    if entry["kind"] == "matrix":
        values = tensors["operator.values"]
        matrix = torch.sparse_coo_tensor(
            tensors["operator.indices"].long(), values, tuple(entry["size"]), check_invariants=True
        )
        return MatrixOperator(matrix, tuple(entry["image_shape"]), tuple(entry["data_shape"]))
    raise ModelError(
        f"operator: the model was learned with {entry.get('name', 'an operator')}, which cannot be stored; "
        "pass it again: load_model(path, physics=...)"
    )
