"""Copies to the host, and that nobody waits for them before they are asked for."""

from types import SimpleNamespace

import pytest
import torch

from segkit.system.host_copy import HostCopy


def test_on_the_cpu_they_are_the_tensors_themselves():
    one, other = torch.arange(3), torch.ones(2)
    copies = HostCopy(one, other).wait()
    assert copies[0] is one and copies[1] is other


def test_a_gpu_is_waited_for_only_when_the_copies_are_asked_for(monkeypatch):
    done = []

    def tensor(name):
        def to(device, *, non_blocking):
            done.append(f"{name} to {device}, {'at some time' if non_blocking else 'at once'}")
            return name

        return SimpleNamespace(is_cuda=True, device="cuda:1", to=to)

    def event():
        return SimpleNamespace(
            record=lambda stream: done.append(f"note on {stream}"), synchronize=lambda: done.append("wait")
        )

    monkeypatch.setattr(torch.cuda, "Event", event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    copy = HostCopy(tensor("a"), tensor("b"))
    assert done == ["a to cpu, at some time", "b to cpu, at some time", "note on the stream of cuda:1"]
    assert copy.wait() == ["a", "b"] and done[-1] == "wait"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_nothing_waits_and_the_values_arrive():
    numbers = torch.arange(1_000_000, device="cuda")
    try:
        torch.cuda.set_sync_debug_mode("error")
        copy = HostCopy(numbers * 2, numbers.float())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    doubled, floats = copy.wait()
    assert torch.equal(doubled, torch.arange(0, 2_000_000, 2)) and floats.device.type == "cpu"
    assert torch.equal(floats, torch.arange(1_000_000).float())
