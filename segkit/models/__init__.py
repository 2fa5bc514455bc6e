"""Segmentation models: `forward(image (N, C, H, W)) -> logits (N, num_classes, h, w)` at their own stride.

A model with an auxiliary head returns `{"out": logits, "aux": logits}` instead. The size of the labels is not
a model's business: the loss and the evaluation upsample. Each file registers what it defines in `MODELS`.
"""
