import io
import signal
import threading

import pytest
import torch

from bilearn._files import delaying_interrupts, replacing


class InterruptingFile(io.BytesIO):
    """Presses Ctrl-C while a library writes."""

    def write(self, data):
        signal.raise_signal(signal.SIGINT)
        return super().write(data)


@pytest.fixture
def heeded():
    """Ctrl-C raises KeyboardInterrupt, also where a shell started the tests in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def save_while_interrupted(target):
    with replacing(target) as file:
        buffer = InterruptingFile()
        torch.save({"a": torch.arange(3)}, buffer)
        file.write(buffer.getvalue())


def fail_half_way(target):
    with replacing(target) as file:
        file.write(b"new")
        raise RuntimeError("half way")


def test_ctrl_c_while_a_file_is_written_takes_effect_when_it_is_in_place(tmp_path, heeded):
    target = tmp_path / "tree.pt"
    with pytest.raises(KeyboardInterrupt):
        save_while_interrupted(target)
    assert torch.equal(torch.load(target, weights_only=True)["a"], torch.arange(3))
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_failed_block_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_interrupts_are_left_alone_in_other_threads_and_where_they_are_ignored():
    done = []

    def work():
        with delaying_interrupts():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with delaying_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
