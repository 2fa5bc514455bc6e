"""torchvision's networks: our logits are theirs before the upsampling, options, weights without a network."""

import urllib.error

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models import MobileNet_V3_Large_Weights

from segkit.errors import ConfigError
from segkit.models import torchvision_segmentation as ours
from segkit.models.norms import OverwritingBatchNorm2d
from segkit.registry import MODELS

NAMES = [name for name in MODELS.names() if MODELS.get(name).__module__ == ours.__name__]
MOBILE = "deeplabv3_mobilenet_v3_large"
WEIGHTS = MobileNet_V3_Large_Weights.IMAGENET1K_V1


def random_image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def outputs_of(output):
    return output if isinstance(output, dict) else {"out": output}


def stored_weights(monkeypatch, tmp_path):
    """Where torch.hub looks for the weights, in an empty folder of this test."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints" / WEIGHTS.url.rsplit("/", 1)[1]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (MOBILE, {"aux": True}),
        (MOBILE, {"aux": False}),
        pytest.param("deeplabv3_resnet50", {"aux": True}, marks=pytest.mark.heavy),
        pytest.param("fcn_resnet50", {"aux": True}, marks=pytest.mark.heavy),
        ("fcn_resnet50", {"aux": False}),
        ("lraspp_mobilenet_v3_large", {}),
    ],
)
def test_upsampled_logits_equal_torchvisions_forward(name, options):
    aux = options.get("aux", False)
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights_backbone=None, num_classes=4, aux_loss=aux).eval()
    torch.manual_seed(1)
    mine = MODELS.get(name)(4, **options).eval()
    mine.load_state_dict(theirs.state_dict())  # strict: the names are the same too
    image = random_image(1, 3, 65, 47)
    with torch.no_grad():
        wanted, found = theirs(image), outputs_of(mine(image))
    assert set(found) == set(wanted)
    for key, logits in found.items():
        assert logits.shape[-1] < 47
        upsampled = F.interpolate(logits, size=(65, 47), mode="bilinear", align_corners=False)
        assert torch.equal(upsampled, wanted[key]), key


@pytest.mark.parametrize("name", [MOBILE, "lraspp_mobilenet_v3_large"])
def test_the_weights_of_a_seed_are_torchvisions(name):
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, weights_backbone=None, num_classes=4, aux_loss=False)
    torch.manual_seed(3)
    mine = MODELS.get(name)(4, **({"aux": False} if name == MOBILE else {}))
    wanted = theirs.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in mine.state_dict().items())


@pytest.mark.parametrize(
    ("name", "out", "aux"),
    [
        (MOBILE, 16, 8),
        ("deeplabv3_resnet50", 8, 8),
        ("deeplabv3_resnet101", 8, 8),
        ("fcn_resnet50", 8, 8),
        ("fcn_resnet101", 8, 8),
        ("lraspp_mobilenet_v3_large", 8, None),
    ],
)
def test_strides(name, out, aux):
    with torch.device("meta"):
        outputs = outputs_of(MODELS.get(name)(4).eval()(torch.empty(1, 3, 64, 128)))
    expected = {"out": (1, 4, 64 // out, 128 // out)}
    if aux:
        expected["aux"] = (1, 4, 64 // aux, 128 // aux)
    assert {key: tuple(logits.shape) for key, logits in outputs.items()} == expected


def test_without_the_auxiliary_head_the_output_is_a_tensor():
    model = MODELS.get(MOBILE)(4, aux=False)
    assert isinstance(model(random_image(2, 3, 32, 32)), torch.Tensor)
    assert not any(name.startswith("aux_classifier") for name in model.state_dict())


def test_lraspp_has_no_aux_option():
    with pytest.raises(TypeError):
        MODELS.get("lraspp_mobilenet_v3_large")(4, aux=True)


def test_deeplab_refuses_to_train_on_one_image():
    model = MODELS.get(MOBILE)(4).train()
    with pytest.raises(ConfigError) as error:
        model(random_image(1, 3, 64, 64))
    assert str(error.value) == (
        "deeplabv3_mobilenet_v3_large cannot train on one image at a time: the batch normalisation after its "
        "image-level pooling sees one value per channel, which has no variance\n"
        "  -> train.batch_size: 2 or more, or a model without that pooling: fcn_*, lraspp_* or unet"
    )
    assert model.eval()(random_image(1, 3, 64, 64))["out"].isfinite().all()


@pytest.mark.parametrize("name", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
def test_the_models_it_recommends_do_train_on_one_image(name):
    assert outputs_of(MODELS.get(name)(4).train()(random_image(1, 3, 33, 33)))["out"].isfinite().all()


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError) as error:
        MODELS.get(MOBILE)(4, weights_backbone="coco")
    assert str(error.value) == "weights_backbone must be none or imagenet, got 'coco'"


def test_imagenet_weights_from_the_file_on_disk(monkeypatch, tmp_path):
    path = stored_weights(monkeypatch, tmp_path)
    torch.manual_seed(5)
    state = torchvision.models.mobilenet_v3_large().state_dict()
    torch.save(state, path)
    torch.manual_seed(6)
    model = MODELS.get(MOBILE)(4, weights_backbone="imagenet")
    loaded = model.backbone.state_dict()
    assert len(loaded) > 200
    assert all(torch.equal(value, state[f"features.{key}"]) for key, value in loaded.items())


@pytest.mark.parametrize("in_channels", [1, 2, 4])
def test_imagenet_weights_with_other_channels(monkeypatch, tmp_path, in_channels):
    path = stored_weights(monkeypatch, tmp_path)
    torch.manual_seed(5)
    state = torchvision.models.mobilenet_v3_large().state_dict()
    torch.save(state, path)
    model = MODELS.get("lraspp_mobilenet_v3_large")(4, in_channels, weights_backbone="imagenet")
    weight, rgb = model.backbone["0"][0].weight, state["features.0.0.weight"]
    assert weight.shape == (16, in_channels, 3, 3)
    if in_channels == 1:
        # A grey image scores like the same image in three equal channels.
        grey = random_image(1, 1, 8, 8)
        torch.testing.assert_close(F.conv2d(grey, weight), F.conv2d(grey.expand(1, 3, 8, 8), rgb))
    else:
        for channel in range(in_channels):
            torch.testing.assert_close(weight[:, channel], rgb[:, channel % 3] * 3 / in_channels)


def test_a_replaced_first_convolution_keeps_its_geometry_and_scale():
    torch.manual_seed(0)
    rgb = MODELS.get("fcn_resnet50")(2).backbone.conv1
    hyperspectral = MODELS.get("fcn_resnet50")(2, 12).backbone.conv1
    for attribute in ("out_channels", "kernel_size", "stride", "padding", "bias"):
        assert getattr(hyperspectral, attribute) == getattr(rgb, attribute), attribute
    assert hyperspectral.weight.std().item() == pytest.approx(rgb.weight.std().item(), rel=0.05)


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        TimeoutError("timed out"),
        RuntimeError("invalid hash value"),
        ConnectionResetError("reset by peer"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_failed_download_says_where_to_put_the_file(monkeypatch, tmp_path, failure):
    path = stored_weights(monkeypatch, tmp_path)

    def fail(url, destination, *args, **kwargs):
        assert (url, destination) == (WEIGHTS.url, str(path))
        raise failure

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ConfigError) as error:
        MODELS.get(MOBILE)(4, weights_backbone="imagenet")
    assert str(error.value) == (
        f"model.weights_backbone: imagenet needs https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth "
        f"and the download failed ({failure})\n"
        f"  -> put the file at {path} by hand, or model.weights_backbone=none"
    )


@pytest.mark.parametrize("content", [b"", b"<html>proxy login</html>"], ids=["empty", "html"])
def test_damaged_file_says_to_delete_it(monkeypatch, tmp_path, content):
    path = stored_weights(monkeypatch, tmp_path)
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        MODELS.get(MOBILE)(4, weights_backbone="imagenet")
    first, second = str(error.value).rsplit("\n", 1)
    assert first.startswith(f"model.weights_backbone: imagenet: {path} cannot be read (")
    assert second == f"  -> delete it and let it be downloaded again from {WEIGHTS.url}"


def test_every_backbone_has_its_weights():
    for name in NAMES:
        url = ours.IMAGENET_WEIGHTS[name.split("_", 1)[1]].url
        assert url.startswith("https://download.pytorch.org/models/")


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", MOBILE])
def test_predictions_overwrite_what_only_batch_normalisation_reads(name):
    """And come out the same as with gradients, which need it."""
    model = MODELS.get(name)(4).eval()
    kinds = {type(module) for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)}
    assert kinds == {OverwritingBatchNorm2d}
    image = random_image(1, 3, 65, 47)
    expected = outputs_of(model(image))
    with torch.no_grad():
        found = outputs_of(model(image))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
