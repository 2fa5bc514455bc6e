"""Some samples that stand for all of a data set."""

#: So few of each part tell one data set from another: those whose pixels its fingerprint covers.
FEW = 16


def spread(total: int, limit: int) -> list[int]:
    """At most `limit` places among `total`, first and last included, evenly spaced."""
    if total <= limit:
        return list(range(total))
    if limit <= 1:
        return [0] * limit
    return [place * (total - 1) // (limit - 1) for place in range(limit)]


def among_which_few(limit: int) -> int:
    """The most places up to `limit` that `spread` can choose so that those of `spread(total, FEW)` are among them."""
    return limit if limit < FEW else limit - (limit - 1) % (FEW - 1)
