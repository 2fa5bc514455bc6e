"""What is exported: the network alone, or with everything from the bytes of an image to class ids."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.evaluation.model_output import output_logits
from segkit.runs.predictor import Predictor
from segkit.system.device import Normalize
from segkit.training.build_dataset import normalisation


class LogitsOnly(nn.Module):
    """image (N, C, H, W) float, normalised -> logits (N, K, h, w) fp32, without auxiliary ones."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return output_logits(self.model(image)).float()


class WithPreprocessing(nn.Module):
    """image (N, C, H, W) uint8 -> class ids (N, H, W), uint8 for at most 256 classes, else int64.

    As `Predictor.predict`: logits are upsampled bilinearly, of equal ones the class of lower id is meant, and a single
    one z stands for [0, z]. Resizing images to a size of the data set is left to who calls it.
    """

    def __init__(self, model: nn.Module, normalize: Normalize):
        super().__init__()
        self.model = model
        self.normalize = normalize

    def forward(self, image: Tensor) -> Tensor:
        logits = output_logits(self.model(self.normalize(image))).float()
        if logits.shape[1] == 1:
            logits = F.pad(logits, (0, 0, 0, 0, 1, 0))
        size = (image.shape[-2], image.shape[-1])
        ids = F.interpolate(logits, size, mode="bilinear", align_corners=False).argmax(dim=1)
        return ids.to(torch.uint8) if logits.shape[1] <= 256 else ids


def make_network(predictor: Predictor, *, with_preprocessing: bool) -> nn.Module:
    """A copy of the predictor's network to be exported, in eval mode and in torch's plain memory format: in
    channels_last an exported program holds for the batches of its example alone."""
    model = copy.deepcopy(predictor.model).to(memory_format=torch.contiguous_format)
    if with_preprocessing:
        normalize = Normalize(*normalisation(predictor.config, predictor.channels))
        network: nn.Module = WithPreprocessing(model, normalize)
    else:
        network = LogitsOnly(model)
    return network.eval().requires_grad_(False)
