"""The Lovasz extension of 1 - IoU of each class from the logits, and its gradient.

Three kernels. `pixels.read` takes the logits a block at a time and leaves of each pixel what its probabilities are made
of, and of each class its mass and the smallest error of a true pixel. `order.walk` takes a class at a time: other
pixels whose error is below that change nothing, since all of the class is wrong before them; the rest is sorted by
radix (`sort`), and one walk from the largest error down gives the slopes. `pixels.write_back` makes the gradient of a
block of these. A task is cut by the sizes alone, so that nothing depends on which thread took it. Called with the
address of their numbers (`slots.Slot`).
"""
