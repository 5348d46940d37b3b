import pytest
import torch

from bilearn.checkpoint import FILE, CheckpointError, load_checkpoint, save_checkpoint


def test_a_tree_comes_back_bit_for_bit(tmp_path):
    tree = {"x": torch.rand(3, dtype=torch.float64), "n": 3, "nested": {"t": (1.5, None, "a"), "l": [True]}}
    save_checkpoint(tmp_path / "new", tree)
    back = load_checkpoint(tmp_path / "new")
    assert torch.equal(back.pop("x"), tree.pop("x"))
    assert back == tree


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"n": 1})

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path, {"n": 2})
    assert load_checkpoint(tmp_path) == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_missing_damaged_and_foreign_files(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint; the run ended before its first step"):
        load_checkpoint(tmp_path)
    (tmp_path / FILE).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path)
    torch.save({"format": 99}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        load_checkpoint(tmp_path)
