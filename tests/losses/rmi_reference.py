"""Region mutual information by definition: loops over cells and windows, and the windows of a whole image unfolded."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.losses.reference import log_sum_exp, softmax


def value(
    logits, target, *, mix, radius, pool, ridge, probabilities="softmax", weight=None, ignore_index=255
) -> float:
    """The loss of logits (N, C, H, W) and ids (N, H, W), in Python floats."""
    n, c, height, width = logits.shape
    z = logits.detach().double().tolist()
    ce, mass, images = 0.0, 0.0, []
    for i in range(n):
        p, m = {}, {}
        for row in range(height):
            for column in range(width):
                true = int(target[i, row, column])
                if true == ignore_index:
                    continue
                m[row, column] = 1.0 if weight is None else float(weight[i, row, column])
                here = [z[i][k][row][column] for k in range(c)]
                if probabilities == "softmax":
                    p[row, column] = softmax(here)
                    ce += m[row, column] * (log_sum_exp(here) - here[true])
                else:
                    p[row, column] = [1 / (1 + math.exp(-each)) for each in here]
                    for k in range(c):
                        right = p[row, column][k] if k == true else 1 - p[row, column][k]
                        ce -= m[row, column] * math.log(right)
                mass += m[row, column]
        cells = average_cells(p, target[i], m, c, height, width, pool)
        windows = list_windows(cells, math.ceil(height / pool), math.ceil(width / pool), radius)
        if windows:
            images.append(sum(left_open(windows, k, ridge) for k in range(c)))
    by_pixel = ce / mass if mass else 0.0
    return mix * by_pixel + (1 - mix) * (sum(images) / len(images) if images else 0.0)


def average_cells(p, target, m, c, height, width, pool):
    """{(row, column) of a cell: (its mass, mean probabilities, mean labels)}, of the cells that have mass."""
    cells = {}
    for top in range(0, height, pool):
        for left in range(0, width, pool):
            inside = [
                (row, column)
                for row in range(top, min(top + pool, height))
                for column in range(left, min(left + pool, width))
                if m.get((row, column), 0) > 0
            ]
            total = sum(m[place] for place in inside)
            if total:
                cells[top // pool, left // pool] = (
                    total / pool**2,
                    [sum(m[place] * p[place][k] for place in inside) / total for k in range(c)],
                    [sum(m[place] * (int(target[place]) == k) for place in inside) / total for k in range(c)],
                )
    return cells


def list_windows(cells, height, width, radius):
    """The cells of every window that has them all."""
    windows = []
    for top in range(height - radius + 1):
        for left in range(width - radius + 1):
            places = [(top + row, left + column) for row in range(radius) for column in range(radius)]
            if all(place in cells for place in places):
                windows.append([cells[place] for place in places])
    return windows


def left_open(windows, k: int, ridge: float) -> float:
    """Of class k, with the inverse and the determinant written out."""
    u = np.array([sum(cell[0] for cell in window) / len(window) for window in windows])
    p = np.array([[cell[1][k] for cell in window] for window in windows])
    y = np.array([[cell[2][k] for cell in window] for window in windows])
    return (log_det(p, y, u, ridge) - log_det(y, y, u, ridge)) / (2 * p.shape[1])


def log_det(p, y, u, ridge):
    p, y = p - (u @ p) / u.sum(), y - (u @ y) / u.sum()
    yy, yp, pp = y.T @ (y * u[:, None]), y.T @ (p * u[:, None]), p.T @ (p * u[:, None])
    eye = np.eye(len(pp))
    sign, found = np.linalg.slogdet(yy - yp @ np.linalg.inv(pp + ridge * eye) @ yp.T + ridge * eye)
    assert sign == 1
    return found


def by_unfolding(p, y, *, radius: int, ridge: float) -> torch.Tensor:
    """The sum over classes of what is left open, the mean over images, of probabilities and labels (N, C, h, w), every
    window alike; as the authors compute it, less the value of p = y."""
    n, c, height, width = p.shape
    d = radius**2

    def unfold(x):
        z = F.unfold(x.reshape(n * c, 1, height, width), radius).double()  # (N C, d, P)
        return z - z.mean(dim=2, keepdim=True)

    def log_det_of(p, y):
        eye = ridge * torch.eye(d, dtype=torch.float64)
        yp = y @ p.transpose(1, 2)
        left = y @ y.transpose(1, 2) - yp @ torch.inverse(p @ p.transpose(1, 2) + eye) @ yp.transpose(1, 2)
        return torch.logdet(left + eye)

    p, y = unfold(p), unfold(y)
    return (log_det_of(p, y) - log_det_of(y, y)).view(n, c).sum(dim=1).mean() / (2 * d)
