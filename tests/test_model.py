import json

import pytest
import torch

from bilearn.coarse_map import CoarseMap
from bilearn.fidelities import Huber, KullbackLeibler, LeastSquares, PoissonGaussian, PseudoHuber, StudentT
from bilearn.model import ModelError, load_model, save_model
from bilearn.operators import FourierBlur, Identity, Mask, MatrixOperator
from bilearn.regularizers import (
    CubicAbsolute,
    DirectionalTV,
    Regularizer,
    SmoothedAbsolute,
    SmoothedTV,
    SpaceVariantTV,
    SquaredH1,
    Sum,
    Tikhonov,
    WaveletSparsity,
)
from bilearn.variational import VariationalEnergy

SHAPE = (1, 6, 8)


def operators():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(5, 48, dtype=torch.float64, generator=generator)
    matrix[matrix < 0.5] = 0
    return [
        Identity(),
        Mask((torch.rand(SHAPE, dtype=torch.float64, generator=generator) > 0.5).double()),
        FourierBlur(torch.rand(3, 3, dtype=torch.float64, generator=generator), SHAPE[1:]),
        MatrixOperator(matrix.to_sparse_coo(), SHAPE, (5,)),
        MatrixOperator(matrix, SHAPE, (5,)),
    ]


FIDELITIES = [
    LeastSquares(2.0, learn=True, bounds=(1.0, 3.0)),
    KullbackLeibler(background=0.3),
    Huber(scale=0.2, learn=["scale"]),
    PseudoHuber(weight=3.0),
    StudentT(),
    StudentT(0.5, CoarseMap(torch.full((1, 1, 2, 3), 0.2), SHAPE[1:], "patches"), learn=["scale"]),
    KullbackLeibler(CoarseMap(torch.tensor([[0.1, 0.4]]), SHAPE[1:]), learn=("background",)),
    PoissonGaussian(0.02, 0.3, learn=["gain"]),
]
REGULARIZERS = [
    SmoothedTV(alpha=0.03, xi=0.2, nu=0.05, bracket=True, learn=["nu"], isotropic=False, boundary="periodic"),
    SmoothedTV(alpha=torch.rand(1, 1, 6, 8, dtype=torch.float64) + 0.1, direction="forward", coupled=True),
    SquaredH1(0.7, learn=False, boundary="dirichlet"),
    Sum(Tikhonov(0.3), SquaredH1(0.4)),
    SmoothedTV(nu=0.3, potential=CubicAbsolute()),
    WaveletSparsity(0.2, wavelet="db2", levels=1, penalize_coarse=False, bracket=True),
    SpaceVariantTV(
        alpha=CoarseMap(torch.full((2, 2), 0.2), SHAPE[1:]),
        angle=torch.rand(1, 1, 6, 8, dtype=torch.float64),
        exponent=0.7,
        learn=["angle", "xi"],
        bounds={"exponent": (0.5, 2.0)},
        boundary="periodic",
    ),
    DirectionalTV(torch.eye(6, 8, dtype=torch.float64), eta=0.3, direction="forward", potential=CubicAbsolute()),
]
CASES = (
    [(LeastSquares(), SmoothedTV(), a) for a in operators()]
    + [(d, Tikhonov(0.5), Identity()) for d in FIDELITIES]
    + [(LeastSquares(), r, Identity()) for r in REGULARIZERS]
)


@pytest.mark.parametrize("parts", CASES, ids=lambda p: "-".join(type(m).__mro__[0].__name__ for m in p))
def test_a_saved_model_is_the_same_function(tmp_path, parts):
    energy = VariationalEnergy(*parts)
    save_model(tmp_path, energy, {"name": "a"})
    loaded = load_model(tmp_path)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, *SHAPE, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        y = energy.operator.A(torch.rand(2, *SHAPE, dtype=torch.float64, generator=generator)).abs()
        assert torch.equal(loaded.energy(x, y), energy(x, y))
        assert torch.equal(loaded.energy.grad(x, y), energy.grad(x, y))
    flags = [(n, p.requires_grad) for n, p in energy.named_parameters()]
    assert [(n, p.requires_grad) for n, p in loaded.energy.named_parameters()] == flags
    assert loaded.description["name"] == "a"


def test_reconstruction_has_a_certificate_and_another_operator_may_be_given(tmp_path):
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha=0.1, xi=0.1, nu=0.1))
    save_model(tmp_path, energy, {"image_shape": list(SHAPE)})
    model = load_model(tmp_path)
    y = torch.rand(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solution = model.solve(y)
    assert solution.certified
    assert bool((solution.error <= 1e-4 * 48**0.5).all())
    assert torch.equal(model.reconstruct(y), solution.x)
    mask = Mask(torch.ones(SHAPE, dtype=torch.float64) * 0.5)
    other = model.reconstruct(y, mask)
    expected = VariationalEnergy(energy.fidelity, energy.regularizer, mask)
    assert float(expected.grad(other, y).detach().norm()) < 1e-2
    assert float((other - solution.x).norm()) > 0.1
    assert isinstance(model.energy.operator, Identity)
    assert set(model.parameters) == {"fidelity.weight", "regularizer.alpha", "regularizer.xi", "regularizer.nu"}


def test_float32_models_reconstruct_in_float32(tmp_path):
    save_model(tmp_path, VariationalEnergy(LeastSquares(), SmoothedTV(), operators()[3]), {"dtype": "float32"})
    x = load_model(tmp_path).reconstruct(torch.rand(1, 5, generator=torch.Generator().manual_seed(0)))
    assert x.dtype == torch.float32


class Foreign(Regularizer):
    def forward(self, x):
        return x.flatten(1).abs().sum(1)


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(ModelError, match="regularizer: found Foreign, which is not one of bilearn's own"):
        save_model(tmp_path, VariationalEnergy(LeastSquares(), Foreign()))


class ForeignPotential(SmoothedAbsolute):
    pass


def test_a_foreign_potential_is_refused(tmp_path):
    with pytest.raises(ModelError, match="potential: found ForeignPotential"):
        save_model(tmp_path, VariationalEnergy(LeastSquares(), SmoothedTV(potential=ForeignPotential())))


def test_an_operator_that_cannot_be_stored_must_be_passed_again(tmp_path):
    from bilearn.operators import Unstructured

    class Doubling(torch.nn.Module):
        def A(self, x):
            return 2 * x

        A_adjoint = A

    save_model(tmp_path, VariationalEnergy(LeastSquares(), SmoothedTV(), Unstructured(Doubling())))
    with pytest.raises(ModelError, match=r"load_model\(path, physics=\.\.\.\)"):
        load_model(tmp_path)
    assert isinstance(load_model(tmp_path, Identity()).energy.operator, Identity)


def test_missing_damaged_and_newer_files(tmp_path):
    with pytest.raises(ModelError, match=r"found no model\.json"):
        load_model(tmp_path)
    path = save_model(tmp_path, VariationalEnergy(LeastSquares(), SmoothedTV()))
    assert load_model(path).description["format"] == 1
    text = path.read_text()
    path.write_text(json.dumps({**json.loads(text), "format": 2}))
    with pytest.raises(ModelError, match="found format 2, expected 1"):
        load_model(tmp_path)
    path.write_text(json.dumps({**json.loads(text), "regularizer": {"kind": "magic", "numbers": {}}}))
    with pytest.raises(ModelError, match="do not fit together"):
        load_model(tmp_path)
    path.write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="damaged"):
        load_model(tmp_path)
    path.write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        load_model(tmp_path)
