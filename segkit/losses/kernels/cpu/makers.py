"""The functions that are compiled: each takes the address of its numbers, and knows the version of the source.

numba compares what a function takes from the one around it: the version is a part of the key. Each has lines of its
own, which are a part too.
"""

from collections.abc import Callable

from segkit.losses.kernels.cpu.loops import (
    borders,
    cells,
    directions,
    hardest,
    resized,
    same_size,
    skeleton,
    soft_counts,
    sums,
    windows,
)
from segkit.losses.kernels.cpu.loops.criteria import curve, second
from segkit.losses.kernels.cpu.loops.lovasz import order, pixels


def same_size_forward(version: int) -> Callable:
    def run(address: int) -> None:
        same_size.forward(address, version)

    return run


def same_size_backward(version: int) -> Callable:
    def run(address: int) -> None:
        same_size.backward(address, version)

    return run


def resized_forward(version: int) -> Callable:
    def run(address: int) -> None:
        resized.forward(address, version)

    return run


def resized_backward(version: int) -> Callable:
    def run(address: int) -> None:
        resized.backward(address, version)

    return run


def find_second(version: int) -> Callable:
    def run(address: int) -> None:
        second.find_second(address, version)

    return run


def soft_counts_forward(version: int) -> Callable:
    def run(address: int) -> None:
        soft_counts.forward(address, version)

    return run


def soft_counts_backward(version: int) -> Callable:
    def run(address: int) -> None:
        soft_counts.backward(address, version)

    return run


def multiply(version: int) -> Callable:
    def run(address: int) -> None:
        sums.multiply(address, version)

    return run


def measure(version: int) -> Callable:
    def run(address: int) -> None:
        sums.measure(address, version)

    return run


def count_classes(version: int) -> Callable:
    def run(address: int) -> None:
        sums.count_classes(address, version)

    return run


def write_rates(version: int) -> Callable:
    def run(address: int) -> None:
        sums.write_rates(address, version)

    return run


def count_first(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.count_first(address, version)

    return run


def count_others(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.count_others(address, version)

    return run


def write_share(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.write_share(address, version)

    return run


def sum_powers(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.sum_powers(address, version)

    return run


def find_between(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.find_between(address, version)

    return run


def scale_powers(version: int) -> Callable:
    def run(address: int) -> None:
        hardest.scale_powers(address, version)

    return run


def lovasz_read(version: int) -> Callable:
    def run(address: int) -> None:
        pixels.read(address, version)

    return run


def lovasz_walk(version: int) -> Callable:
    def run(address: int) -> None:
        order.walk(address, version)

    return run


def lovasz_write_back(version: int) -> Callable:
    def run(address: int) -> None:
        pixels.write_back(address, version)

    return run


def skeleton_forward(version: int) -> Callable:
    def run(address: int) -> None:
        skeleton.forward(address, version)

    return run


def skeleton_backward(version: int) -> Callable:
    def run(address: int) -> None:
        skeleton.backward(address, version)

    return run


def pool_labels(version: int) -> Callable:
    def run(address: int) -> None:
        cells.pool_labels(address, version)

    return run


def pool_exp(version: int) -> Callable:
    def run(address: int) -> None:
        cells.pool_exp(address, version)

    return run


def pool_exp_backward(version: int) -> Callable:
    def run(address: int) -> None:
        cells.pool_exp_backward(address, version)

    return run


def multiply_windows(version: int) -> Callable:
    def run(address: int) -> None:
        windows.multiply(address, version)

    return run


def multiply_windows_backward(version: int) -> Callable:
    def run(address: int) -> None:
        windows.multiply_backward(address, version)

    return run


def compare_borders(version: int) -> Callable:
    def run(address: int) -> None:
        borders.compare(address, version)

    return run


def mark_borders(version: int) -> Callable:
    def run(address: int) -> None:
        borders.mark(address, version)

    return run


def direct_borders(version: int) -> Callable:
    def run(address: int) -> None:
        directions.direct(address, version)

    return run


def direct_borders_backward(version: int) -> Callable:
    def run(address: int) -> None:
        directions.write_back(address, version)

    return run


def write_curve(version: int) -> Callable:
    def run(address: int) -> None:
        curve.write_curve(address, version)

    return run


def write_focal(version: int) -> Callable:
    def run(address: int) -> None:
        curve.write_focal(address, version)

    return run
