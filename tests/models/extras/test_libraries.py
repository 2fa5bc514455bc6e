"""Models of other libraries, where those are installed: shapes, gradients, channels, options, and saved weights."""

import sys

import pytest
import torch

from segkit.config.load import config_from_mapping
from segkit.errors import ConfigError
from segkit.models.extras.library import cut_to, pad_to_multiple
from segkit.registry import MODELS
from segkit.runs.predictor import load_predictor
from segkit.runs.train import train
from segkit.system.run_files import RunFiles

LIBRARIES = {"smp": "segmentation_models_pytorch", "timm": "timm", "hf": "transformers"}
#: Model, parameters, and the stride of its logits for images of which no side is a multiple of 32.
CASES = [
    ("smp", {"encoder": "resnet18"}, 1),
    ("smp", {"architecture": "FPN", "encoder": "mobilenet_v2"}, 4),
    ("smp", {"architecture": "Segformer", "encoder": "mit_b0"}, 4),
    ("smp", {"architecture": "DeepLabV3Plus", "encoder": "resnet18"}, 4),
    ("timm", {"backbone": "resnet18"}, 4),
    ("timm", {"backbone": "convnext_atto", "norm": "group"}, 4),
    ("timm", {"backbone": "vit_tiny_patch16_224", "options": {"dynamic_img_size": True, "depth": 3}}, 16),
    ("hf", {"options": {"depths": [1, 1, 1, 1], "decoder_hidden_size": 32}}, 4),
]


def need(name):
    pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]} is not installed")


def make(name, parameters, *, in_channels=3, num_classes=5):
    need(name)
    torch.manual_seed(0)
    return MODELS.get(name)(num_classes, in_channels, **parameters)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "parameters", "stride"), CASES, ids=str)
@pytest.mark.parametrize("in_channels", [3, 1])
def test_logits_and_gradients(name, parameters, stride, in_channels):
    model = make(name, parameters, in_channels=in_channels)
    logits = model(torch.randn(2, in_channels, 70, 90))
    assert logits.shape == (2, 5, -(-70 // stride), -(-90 // stride)) and logits.dtype == torch.float32
    (torch.randn_like(logits) * logits).sum().backward()
    assert not [key for key, parameter in model.named_parameters() if parameter.grad is None]


#: Small ones of each of transformers' heads.
SMALL = {
    "segformer": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 8, 8], "num_attention_heads": [1, 1, 1, 1]},
    "upernet": {"hidden_size": 8},
    "dpt": {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "fusion_hidden_size": 16},
    "mobilevit": {},
    "mobilevitv2": {},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        *[(name, parameters) for name, parameters, _ in CASES if name != "hf"],
        *[("hf", {"architecture": kind, "options": options}) for kind, options in SMALL.items()],
    ],
    ids=str,
)
def test_logits_are_computed_in_fp32_on_a_cpu(name, parameters):
    """Which autocast would have in bf16, with 8 digits of 2."""
    model = make(name, parameters).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(torch.randn(1, 3, 64, 64))
    assert logits.dtype == torch.float32


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_maps_with_as_many_rows_as_channels_are_not_mistaken(size):
    """Swin gives (N, h, w, C), here with C = h as swin_tiny has for images of 384 rows."""
    options = {"img_size": size, "embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    model = make("timm", {"backbone": "swin_tiny_patch4_window7_224", "decoder": 8, "options": options})
    shown = []
    model.laterals[0].register_forward_pre_hook(lambda module, given: shown.append(given[0]))
    image = torch.randn(1, 3, *size)
    model.eval()(image)
    first = model.backbone(image)[0]
    assert first.shape == (1, 16, size[1] // 4, 16)
    torch.testing.assert_close(shown[0], first.permute(0, 3, 1, 2))


@pytest.mark.filterwarnings("ignore")
def test_every_row_of_an_image_is_seen():
    """ConvNeXt leaves out what fills no patch of 4, and smp's Unet does not ask for other images."""
    model = make("smp", {"encoder": "tu-convnext_atto", "options": {"decoder_channels": [8] * 5}}).eval()
    image = torch.randn(1, 3, 71, 64, requires_grad=True)
    logits = model(image)
    assert logits.shape == (1, 5, 71, 64)
    (logits * torch.randn_like(logits)).sum().backward()
    assert (image.grad.abs().sum((0, 1, 3)) > 0).all()


@pytest.mark.filterwarnings("ignore")
def test_patches_that_do_not_fill_the_padded_image_are_refused():
    options = {**SMALL["dpt"], "patch_size": 14, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3]}
    model = make("hf", {"architecture": "dpt", "options": options})
    with pytest.raises(ConfigError) as caught:
        model.check_run(batch_size=1, height=60, width=448)
    assert str(caught.value) == (
        "model.multiple: images are padded to a multiple of 32, and the network looks at patches of 14 x 14, so that "
        "some of their last rows and columns would not be seen\n   -> model.multiple=14"
    )
    model = make("hf", {"architecture": "dpt", "options": options, "multiple": 14})
    model.check_run(batch_size=1, height=60, width=448)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_missing_library_is_said_with_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    with pytest.raises(ConfigError) as caught:
        MODELS.get(name)(5, 3)
    assert str(caught.value).startswith(f"model.name: {name} needs ")
    assert str(caught.value).endswith(f"-> pip install 'segkit[{name}]'")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "smp",
            {"encoder": "resnet35"},
            "model.encoder: segmentation-models-pytorch has no 'resnet35', did you mean",
        ),
        (
            "smp",
            {"options": {"decoder_chanels": 3}},
            "model.options: smp's Unet has no option 'decoder_chanels', did",
        ),
        (
            "smp",
            {"options": {"classes": 3}},
            "model.options: classes of smp's Unet is given by segkit -> remove it",
        ),
        ("smp", {"options": {"encoder_depth": 9}}, "model: Unet with resnet34 cannot be built: "),
        ("timm", {"backbone": "resne18"}, "model.backbone: timm has no 'resne18', did you mean resnet18"),
        (
            "hf",
            {"options": {"depth": 3}},
            "model.options: transformers' segformer has no option 'depth' that is free",
        ),
        (
            "hf",
            {"options": {"num_labels": 3}},
            "model.options: transformers' segformer has no option 'num_labels'",
        ),
    ],
    ids=str,
)
def test_mistakes_are_said(name, parameters, message):
    with pytest.raises(ConfigError) as caught:
        make(name, parameters)
    assert str(caught.value).startswith(message)


@pytest.mark.filterwarnings("ignore")
def test_weights_of_transformers_need_the_options_they_are_of(tmp_path):
    options = {"depths": [1, 1, 1, 1], "decoder_hidden_size": 32}
    source = make("hf", {"options": options}, num_classes=7)
    source.network.save_pretrained(tmp_path)
    model = make("hf", {"options": options, "weights": str(tmp_path)})
    assert torch.equal(
        model.network.state_dict()["decode_head.linear_fuse.weight"],
        source.network.state_dict()["decode_head.linear_fuse.weight"],
    )
    with pytest.raises(ConfigError, match=r"other options -> model.options: \{'depths': \[1, 1, 1, 1\]"):
        make("hf", {"weights": str(tmp_path)})


def test_padding_and_cutting_keep_what_belongs_to_the_image():
    image = torch.ones(1, 3, 33, 65)
    padded = pad_to_multiple(image, 32)
    assert padded.shape == (1, 3, 64, 96) and padded.sum() == image.sum()
    assert cut_to(torch.zeros(1, 5, 16, 24), (33, 65), (64, 96)).shape == (1, 5, 9, 17)
    whole = torch.ones(1, 3, 64, 96)
    assert pad_to_multiple(whole, 32) is whole


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "parameters"), [(case[0], case[1]) for case in CASES[1::3]], ids=str)
def test_a_run_is_trained_interrupted_resumed_and_used(name, parameters, tmp_path, monkeypatch):
    need(name)
    monkeypatch.chdir(tmp_path)
    config = config_from_mapping(
        {
            "name": "extra",
            "device": "cpu",
            "data": {"name": "shapes", "size": 64, "train_size": 4, "val_size": 2},
            "model": {"name": name, **parameters},
            "loss": {"name": "ohem_ce"},
            "train": {"iterations": 4, "batch_size": 2, "workers": 0, "checkpoint_every": 2},
            "log": {"tensorboard": False},
        },
        origin="test",
    )
    run = train(config)
    checkpoints = RunFiles(run.folder).checkpoints
    *_, half, last = sorted(checkpoints.glob("*.pt"))
    whole = torch.load(last, weights_only=True)["trainer"]["model"]
    last.unlink()
    train(config, resume=run.folder)
    resumed = torch.load(last, weights_only=True)["trainer"]["model"]
    assert half.is_file() and all(torch.equal(resumed[key], tensor) for key, tensor in whole.items())
    predictor = load_predictor(run.folder, "cpu")
    assert predictor.predict(torch.zeros(3, 50, 70, dtype=torch.uint8)).shape == (50, 70)
