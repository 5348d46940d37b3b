"""Convex and weakly convex ridge regularizers (CRR, WCRR)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bilearn import _batch
from bilearn.parameters import Log10, learnable
from bilearn.regularizers.filter_chain import FilterChain, random_layers
from bilearn.regularizers.filter_regularizer import FilterRegularizer, Ranges
from bilearn.regularizers.filters import FilterBank

_NAMES = ("weight", "scale", "sharpness", "gains")
_BOUNDS = {"weight": (1e-7, 1e7), "scale": (1e-3, 1e3), "sharpness": (1.0, 1e5), "gains": (1e-3, 1e6)}


class RidgeRegularizer(FilterRegularizer):
    """R(x) = a/t^2 sum_c g_c^-2 sum_j [ phi(b u_cj)/b - w phi(u_cj) ],  u_c = t g_c (W x)_c,  phi Huber's function.

    phi(z) = z^2/2 for |z| <= 1 and |z| - 1/2 beyond; W has norm 1. a is the ``weight``, t the ``scale``, b the ``sharpness``,
    g the ``gains``, w = ``weak``. With c_1 = clip(u, +-1/b), c_2 = clip(u, +-1) the gradient is a/t W' g^-1 (b c_1 - w c_2): a
    piecewise linear function. R is C1, its Hessian a generalized one.

    -a w |W|^2 <= H <= a (b - w) |W|^2, exactly: convex for w = 0 (CRR), a w-weakly convex for w > 0 (WCRR, w = 1).

    Goujon, Neumayer, Bohra, Ducotterd, Unser, "A neural-network-based convex regularizer for inverse problems", IEEE Trans.
    Comput. Imaging 9, 2023; Goujon, Neumayer, Unser, "Learning weakly convex regularizers for convergent image-reconstruction
    algorithms", SIAM J. Imaging Sci. 17, 2024; in the form of Hertrich et al., arXiv 2510.01755.

    Args:
        bank: W; the published chain 1 -> 4 -> 8 -> 64 of 5 x 5 layers, drawn at random, if None.
        weak: w >= 0.
        weight, scale, sharpness: positive numbers; sharpness at least 1 and at least w.
        gains: one number or (fields,).
        learn: which of "weight", "scale", "sharpness", "gains" are learned; the bank has its own flag.
        bounds: of these, where they differ from the default.
        generator: of the random chain; seed 0 if None.

    Raises:
        ValueError: if a name is unknown or a value out of bounds.
    """

    weight: Tensor
    scale: Tensor
    sharpness: Tensor
    gains: Tensor

    def __init__(
        self,
        bank: FilterBank | None = None,
        weak: float = 0.0,
        weight: float | Tensor = 1.0,
        scale: float | Tensor = 1.0,
        sharpness: float | Tensor = 54.6,
        gains: float | Tensor = 20.0,
        learn: Collection[str] = ("weight", "sharpness", "gains"),
        bounds: Mapping[str, tuple[float, float]] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        limits = {**_BOUNDS, **({} if bounds is None else bounds)}
        for role, names in (("learn", learn), ("bounds", limits)):
            unknown = sorted(set(names) - set(_NAMES))
            if unknown:
                raise ValueError(f"{role}: found {unknown}, expected names out of {list(_NAMES)}")
        if not 0 <= weak <= limits["sharpness"][0]:
            raise ValueError(
                f"RidgeRegularizer.weak: found {weak}, expected a number between 0 and the lower bound of the sharpness, "
                f"{limits['sharpness'][0]}"
            )
        if bank is None:
            seeded = torch.Generator().manual_seed(0) if generator is None else generator
            bank = FilterChain(random_layers((4, 8, 64), 5, seeded))
        super().__init__(bank)
        self.weak = float(weak)
        values = {"weight": weight, "scale": scale, "sharpness": sharpness, "gains": gains}
        for name in _NAMES:
            value = torch.as_tensor(values[name], dtype=torch.float64)
            value = value.reshape(-1).expand(bank.fields) if name == "gains" else value
            learnable(self, name, value, Log10(limits[name]), name in learn)

    def _thresholds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """1/(b t g) and 1/(t g): the responses W x at which the two clips set in, each (fields, 1, 1)."""
        gain = (self.scale * self.gains).reshape(-1, 1, 1)
        return (1 / (self.sharpness * gain)).to(like), (1 / gain).to(like)

    def _factors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """a b and a w."""
        return (self.weight * self.sharpness).to(like), (self.weight * self.weak).to(like)

    def values(self, u: Tensor) -> Tensor:
        """a b c_1 (u - c_1/2) - a w c_2 (u - c_2/2) with the clips of u = W x."""
        (inner, outer), (steep, weak) = self._thresholds(u), self._factors(u)
        sharp = u.clamp(-inner, inner)
        value = steep * sharp * (u - sharp / 2)
        if self.weak == 0:
            return value
        wide = u.clamp(-outer, outer)
        return value - weak * wide * (u - wide / 2)

    def slopes(self, u: Tensor) -> Tensor:
        """a b c_1 - a w c_2."""
        if torch.is_grad_enabled():
            return self._differentiable_slopes(u)
        (inner, outer), (steep, weak) = self._thresholds(u), self._factors(u)
        sharp = u.clamp(-inner, inner).mul_(steep)
        return sharp if self.weak == 0 else sharp.sub_(u.clamp_(-outer, outer).mul_(weak))

    def totals_and_slopes(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """With s = a b c_1 - a w c_2 the values add up to <s, u> - a b |c_1|^2/2 + a w |c_2|^2/2."""
        (inner, outer), (steep, weak) = self._thresholds(u), self._factors(u)
        sharp = u.clamp(-inner, inner)
        squares = steep * _batch.norm(sharp).square()
        slopes = sharp.mul_(steep)
        if self.weak > 0:
            wide = u.clamp(-outer, outer)
            squares = squares - weak * _batch.norm(wide).square()
            slopes.sub_(wide.mul_(weak))
        return _batch.total(u.mul_(slopes)) - squares / 2, slopes

    def _differentiable_slopes(self, u: Tensor) -> Tensor:
        """The same as a/(t g) [clip(b t g u) - w clip(t g u)], whose clips at +-1 are cheaper to differentiate."""
        gain = (self.scale * self.gains).reshape(-1, 1, 1)
        clipped = F.hardtanh(u * (self.sharpness * gain).to(u))
        if self.weak > 0:
            clipped = clipped - self.weak * F.hardtanh(u * gain.to(u))
        return clipped * (self.weight / gain).to(u)

    def seconds(self, u: Tensor) -> Tensor:
        """a b where |u| is below the first threshold, minus a w where it is below the second."""
        (inner, outer), (steep, weak) = self._thresholds(u), self._factors(u)
        size = u.abs()
        second = (size <= inner).to(u).mul_(steep)
        return second if self.weak == 0 else second.sub_((size <= outer).to(u).mul_(weak))

    def ranges(self, like: Tensor) -> Ranges:
        """[-a w, a (b - w)]; f'' jumps."""
        steep, weak = self._factors(like)
        ones = torch.ones(self.bank.fields, dtype=like.dtype, device=like.device)
        return Ranges(-weak * ones, (steep - weak) * ones, torch.inf * ones)

    def second_variation(self, u: Tensor, reach: Tensor) -> Tensor:
        """The jumps within reach."""
        (inner, outer), (steep, weak) = self._thresholds(u), self._factors(u)
        size = u.abs()
        return steep * ((size - inner).abs() <= reach) + weak * ((size - outer).abs() <= reach)


def ridge_from_state(state: Mapping[str, Tensor], weak: float) -> RidgeRegularizer:
    """A ridge regularizer from a state dictionary in the format of the comparative study of Hertrich et al. (arXiv 2510.01755).

    Entries: "regularizer.filters.0.parametrizations.weight.original" and "regularizer.filters.k.weight", the layers;
    "regularizer.scaling" (1, F, 1, 1) = log g; "regularizer.beta" = log b; "alpha" = log a and "scale" = log t, 0 if absent.

    Args:
        state: the dictionary.
        weak: w, which the format does not contain: 0 for CRR, 1 for WCRR.

    Raises:
        ValueError: if an entry is missing.
    """
    prefix = "regularizer.filters."
    layers = sorted((int(name.removeprefix(prefix).split(".")[0]), name) for name in state if name.startswith(prefix))
    missing = [name for name in ("regularizer.scaling", "regularizer.beta") if name not in state]
    if missing or not layers:
        raise ValueError(
            f"state: found no {missing[0] if missing else prefix + '*'} among {sorted(state)[:8]}, expected the entries of a "
            "ridge regularizer"
        )
    logs = {
        name: state[key].detach().to("cpu", torch.float64) if key in state else torch.zeros((), dtype=torch.float64)
        for name, key in (
            ("weight", "alpha"),
            ("scale", "scale"),
            ("sharpness", "regularizer.beta"),
            ("gains", "regularizer.scaling"),
        )
    }
    weight, scale, sharpness = (logs[name].exp().reshape(()) for name in ("weight", "scale", "sharpness"))
    bank = FilterChain([state[name].detach().cpu() for _, name in layers], padding="layers")
    return RidgeRegularizer(bank, weak, weight, scale, sharpness, logs["gains"].exp(), learn=_NAMES)


def load_ridge(path: str | Path, weak: float) -> RidgeRegularizer:
    """:func:`ridge_from_state` of a file written by ``torch.save``; only tensors are unpickled."""
    return ridge_from_state(torch.load(path, map_location="cpu", weights_only=True), weak)
