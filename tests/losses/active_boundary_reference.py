"""The active boundary loss as loops over Python floats, with the neighbours that have no gradient held fixed."""

import math

from tests.losses.distance_reference import nearest
from tests.losses.skeleton_reference import softmax_of

EIGHT = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]


def divergence(p, q) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def true_border(labels, valid) -> list[tuple[int, int]]:
    found = []
    for y, x in valid:
        beside = [place for place in ((y + 1, x), (y, x + 1)) if place in valid]
        if any(labels[place] != labels[y, x] for place in beside):
            found.append((y, x))
    return found


def predicted_border(p, valid, share: float) -> set[tuple[int, int]]:
    """With the pixels around it. `p` {place: probabilities}."""
    found = {
        (y, x): sum(divergence(p[y, x], p[place]) for place in ((y + 1, x), (y, x + 1)) if place in valid)
        for y, x in valid
    }
    count = max(1, int(share * len(valid)))
    ranked = [*sorted(found.values(), reverse=True), *[0.0] * (count + 1)]
    border = [place for place, value in found.items() if value > max(ranked[count], 1e-5)]
    return {(y + a, x + b) for y, x in border for a, b in [*EIGHT, (0, 0)]}


def value(
    logits,
    target,
    *,
    fixed=None,
    weight=None,
    share: float,
    label_smoothing: float,
    max_distance: float,
    ignore_index: int = 255,
) -> float:
    """Of logits (N, C, H, W) and ids (N, H, W). `fixed` are the logits that say where borders are predicted, and what
    neighbours have."""
    n, c, height, width = logits.shape
    moving, still = softmax_of(logits), softmax_of(logits if fixed is None else fixed)
    total, mass = 0.0, 0.0
    for i in range(n):
        labels = target[i]
        valid = {(y, x) for y in range(height) for x in range(width) if labels[y, x] != ignore_index}
        p, q = ({(y, x): [of[i][k][y][x] for k in range(c)] for y, x in valid} for of in (moving, still))
        border = true_border(labels, valid)
        if not border:
            continue
        distance = {place: nearest(place, border) for place in valid}
        for place in predicted_border(q, valid, share) & valid:
            beside = [(place[0] + a, place[1] + b) for a, b in EIGHT]
            beside = [each for each in beside if each in valid]
            closest = min((distance[each] for each in beside), default=math.inf)
            if closest >= distance[place]:
                continue
            scores = [divergence(q[each], p[place]) for each in beside]
            largest = max(scores)
            log_sum = largest + math.log(sum(math.exp(score - largest) for score in scores))
            best = [distance[each] == closest for each in beside]
            rest = label_smoothing if not all(best) else 0.0
            cross_entropy = sum(
                ((1 - rest) / sum(best) if hit else rest / (len(best) - sum(best))) * (log_sum - score)
                for hit, score in zip(best, scores, strict=True)
            )
            m = 1.0 if weight is None else float(weight[i, place[0], place[1]])
            total += m * min(distance[place], max_distance) / max_distance * cross_entropy
            mass += m
    return total / mass if mass else 0.0
