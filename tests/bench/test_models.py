"""The benchmark of networks: every one with its size, those that cannot be had with the reason."""

import torch

from scripts.bench import run_models
from scripts.bench.training import models
from segkit.models import LightFPN

QUICK = ["--small", "--processes", "0", "--rounds", "1", "--threads", "1"]
CPU_IMAGE = torch.zeros(2, 3, 64, 64)


def missing_package():
    raise ImportError("No module named 'a_peer'")


def test_every_network_is_measured_or_said_to_be_missing(monkeypatch, tmp_path, capsys):
    own = {name: models.OWN[name] for name in (models.BASELINE, "light_fpn")}
    monkeypatch.setattr(models, "OWN", own)
    monkeypatch.setattr(models, "PEERS", {"a peer": missing_package})
    assert run_models.main([*QUICK, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "bench_models.md").read_text()
    for case in ("training, fp32", "training, bf16", "prediction, fp32", "prediction, bf16"):
        assert f"## models: {case}, 2 images of 64 x 64" in printed
    assert printed.count("| light_fpn (2.76 M parameters, 0.1") == 4
    assert printed.count("| a peer |") == 4
    assert printed.count("not available: No module named 'a_peer'") == 4


def test_operations_are_of_one_image():
    model = LightFPN(models.CLASSES)
    size = models.describe_size(model, CPU_IMAGE[:1])
    assert size == "2.76 M parameters, 0.13 GFLOPs"
    assert models.describe_size(model, torch.zeros(1, 3, 128, 128)) == "2.76 M parameters, 0.50 GFLOPs"


def test_every_form_of_output_gives_the_main_logits_first():
    main, side = torch.zeros(1), torch.ones(1)
    assert models.get_logits(main) == [main]
    assert models.get_logits({"out": main, "aux": side}) == [main, side]
    assert models.get_logits((main, side)) == [main, side]


def test_a_training_step_changes_the_weights_and_a_prediction_does_not():
    torch.manual_seed(0)
    model = LightFPN(models.CLASSES, width=4, stem=4, decoder=4)
    target = torch.randint(models.CLASSES, (2, 64, 64))
    before = model.classifier.weight.detach().clone()
    ids = models.make_prediction(model.eval(), CPU_IMAGE, target, torch.bfloat16)()
    assert ids.shape == target.shape and torch.equal(model.classifier.weight, before)
    models.make_step(model.train(), CPU_IMAGE, target, None)()
    assert not torch.equal(model.classifier.weight, before)
