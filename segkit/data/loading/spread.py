"""Some samples that stand for all of a data set."""


def spread(total: int, limit: int) -> list[int]:
    """At most `limit` places among `total`, first and last included, evenly spaced."""
    if total <= limit:
        return list(range(total))
    if limit <= 1:
        return [0] * limit
    return [place * (total - 1) // (limit - 1) for place in range(limit)]
