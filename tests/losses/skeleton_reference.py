"""clDice by explicit loops over Python floats, and its soft skeleton as its authors compute it."""

import torch
import torch.nn.functional as F

from tests.losses.reference import softmax


def softmax_of(logits) -> list:
    """Probabilities [n][c][row][column] of logits (N, C, H, W)."""
    n, c, height, width = logits.shape
    pixels = [
        [[softmax(logits[i, :, y, x].double().tolist()) for x in range(width)] for y in range(height)]
        for i in range(n)
    ]
    return [
        [[[pixels[i][y][x][k] for x in range(width)] for y in range(height)] for k in range(c)]
        for i in range(n)
    ]


def around(y: int, x: int, inside, *, square: bool) -> list[tuple[int, int]]:
    """A pixel and its neighbours that are inside: those of the square of 3x3, or those that share a side with it."""
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if square or not a or not b]
    height, width = len(inside), len(inside[0])
    places = [(y + a, x + b) for a, b in steps if 0 <= y + a < height and 0 <= x + b < width]
    return [(b, a) for b, a in places if inside[b][a]]


def pool(image, inside, choose, *, square: bool):
    return [
        [
            choose(image[b][a] for b, a in around(y, x, inside, square=square)) if inside[y][x] else None
            for x in range(len(inside[0]))
        ]
        for y in range(len(inside))
    ]


def skeleton(image, inside, iterations: int):
    """The algorithm of the paper for one image, rows of floats; where it is not `inside` there are no pixels."""
    places = [(y, x) for y in range(len(inside)) for x in range(len(inside[0])) if inside[y][x]]
    found = [[0.0] * len(row) for row in inside]
    for _ in range(iterations + 1):
        eroded = pool(image, inside, min, square=False)
        opened = pool(eroded, inside, max, square=True)
        for y, x in places:
            ridge = max(0.0, image[y][x] - opened[y][x])
            found[y][x] += max(0.0, ridge - found[y][x] * ridge)
        image = eroded
    return found


def value(
    logits,
    target,
    *,
    weight=None,
    alpha: float,
    iterations: int,
    smooth: float,
    classes: str = "present",
    only=None,
    ignore_index: int = 255,
) -> float:
    """The loss of logits (N, C, H, W) and ids (N, H, W)."""
    n, c, height, width = logits.shape
    p = softmax_of(logits)
    m = [
        [
            [
                0.0 if target[i, y, x] == ignore_index else 1.0 if weight is None else float(weight[i, y, x])
                for x in range(width)
            ]
            for y in range(height)
        ]
        for i in range(n)
    ]
    losses = []
    for k in range(c) if only is None else only:
        truth = [
            [[float(target[i, y, x] == k) for x in range(width)] for y in range(height)] for i in range(n)
        ]
        inside = [[[w > 0 for w in row] for row in image] for image in m]
        if classes == "present" and not any(
            m[i][y][x] * truth[i][y][x] for i in range(n) for y in range(height) for x in range(width)
        ):
            continue
        ours = [skeleton(p[i][k], inside[i], iterations) for i in range(n)]
        theirs = [skeleton(truth[i], inside[i], iterations) for i in range(n)]
        predicted = [p[i][k] for i in range(n)]

        def total(*factors, m=m):
            return sum(
                m[i][y][x] * product(f[i][y][x] for f in factors)
                for i in range(n)
                for y in range(height)
                for x in range(width)
            )

        dice = 1 - ratio(2 * total(predicted, truth) + smooth, total(predicted) + total(truth) + smooth)
        precision = ratio(total(ours, truth) + smooth, total(ours) + smooth)
        sensitivity = ratio(total(theirs, predicted) + smooth, total(theirs) + smooth)
        both = precision + sensitivity
        cldice = 1 - (2 * precision * sensitivity / both if both else 0.0)
        losses.append((1 - alpha) * dice + alpha * cldice)
    return sum(losses) / len(losses) if losses else 0.0


def product(factors) -> float:
    result = 1.0
    for factor in factors:
        result *= factor
    return result


def ratio(above: float, below: float) -> float:
    return above / below if below else 1.0


def authors_skeleton(image, iterations: int):
    """The skeleton of images (N, C, H, W) by pooling, every step of which is kept for the way back."""

    def erode(image):
        column = -F.max_pool2d(-image, (3, 1), 1, (1, 0))
        row = -F.max_pool2d(-image, (1, 3), 1, (0, 1))
        return torch.min(column, row)

    def ridge(image):
        return F.relu(image - F.max_pool2d(erode(image), 3, 1, 1))

    found = ridge(image)
    for _ in range(iterations):
        image = erode(image)
        new = ridge(image)
        found = found + F.relu(new - found * new)
    return found
