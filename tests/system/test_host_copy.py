"""Copies to the host and to the device, and that nobody waits for them before they are needed."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from segkit.system.host_copy import DeviceCopies, HostCopy


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


class Noted(torch.Tensor):
    """A tensor that notes what is done with it in `done`, and stays where it is."""

    done: ClassVar[list[str]] = []

    def to(self, device, *, non_blocking):
        self.done.append(f"to {device}, {'at some time' if non_blocking else 'at once'}")
        return self

    def record_stream(self, stream):
        self.done.append(f"in use on {stream.name}")


def test_off_a_gpu_a_batch_is_moved_as_it_is():
    batch = {"image": torch.arange(3), "name": ["a"]}
    moved = DeviceCopies(torch.device("cpu")).copy(batch)
    assert moved["image"] is batch["image"] and moved["name"] is batch["name"]


def test_a_gpu_copies_beside_what_it_computes_and_what_comes_next_waits_for_the_copy(monkeypatch):
    done, made = [], []
    monkeypatch.setattr(Noted, "done", done)

    def make(device):
        made.append(device)
        return SimpleNamespace(name="the second")

    @contextmanager
    def on(stream):
        done.append(f"on {stream.name}")
        yield
        done.append("back")

    current = SimpleNamespace(
        name="the first", wait_stream=lambda other: done.append(f"wait for {other.name}")
    )
    monkeypatch.setattr(torch.cuda, "Stream", make)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    copies = DeviceCopies(torch.device("cuda:1"))
    for _ in range(2):
        done.clear()
        moved = copies.copy({"image": torch.zeros(1).as_subclass(Noted), "name": ["a"]})
        assert moved["name"] == ["a"]
        assert done == [
            "on the second", "to cuda:1, at some time", "back", "wait for the second", "in use on the first",
        ]  # fmt: skip
    assert made == [torch.device("cuda:1")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_batches_arrive_whole_while_it_computes():
    copies = DeviceCopies(torch.device("cuda"))
    busy = torch.rand(4096, 4096, device="cuda")
    for n in range(20):
        image = torch.full((1000, 1000), n).pin_memory()
        for _ in range(5):
            busy = busy @ busy
            busy = busy / busy.norm()
        moved = copies.copy({"image": image})["image"]
        assert moved.is_cuda and bool((moved == n).all())
        del moved
