"""AdaBelief, the optimizer of the published training of learned regularizers, for :class:`TorchOptimizer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class AdaBelief(torch.optim.Optimizer):
    """Adam with the variance of gradients around their running mean in place of their second moment.

    With gradient g and moments m, s that start at zero, in step t:

    1. m <- b1 m + (1 - b1) g,  s <- b2 s + (1 - b2) (g - m)^2 + eps.
    2. theta <- theta - lr (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + eps).

    Steps are long where gradients are what the mean predicts, short where they are not.

    Reference:
        Zhuang et al., AdaBelief optimizer: adapting stepsizes by the belief in observed gradients, NeurIPS 2020, algorithm 2.

    Args:
        params: as for every torch optimizer.
        lr: learning rate.
        betas: decay of the mean and of the variance, in [0, 1).
        eps: positive number that keeps the denominator away from zero.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
    ) -> None:
        if not (lr > 0 and eps > 0 and all(0.0 <= b < 1.0 for b in betas)):
            raise ValueError(
                f"AdaBelief: found lr = {lr}, betas = {betas}, eps = {eps}, expected lr > 0, eps > 0 and betas in [0, 1)"
            )
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step from the gradients in ``.grad``.

        Args:
            closure: recomputes the loss first, as for every torch optimizer.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["mean"] = torch.zeros_like(parameter)
                    state["variance"] = torch.zeros_like(parameter)
                state["step"] += 1
                mean, variance = state["mean"], state["variance"]
                mean.lerp_(parameter.grad, 1 - first)
                surprise = parameter.grad - mean
                variance.mul_(second).addcmul_(surprise, surprise, value=1 - second).add_(group["eps"])
                count = float(state["step"])
                scale = (variance / (1 - second**count)).sqrt_().add_(group["eps"])
                parameter.addcdiv_(mean, scale, value=-group["lr"] / (1 - first**count))
        return loss
