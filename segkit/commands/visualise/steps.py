"""The single transforms of an augmentation, with the words a configuration has for them."""

from collections.abc import Callable
from typing import Any

from segkit.commands.visualise.samples import Step, try_alone
from segkit.config.schema import Component
from segkit.config.yaml_source import dump_inline
from segkit.data.sample import Sample
from segkit.registry import TRANSFORMS


def try_steps(augment: Any, component: Component, sample: Sample, *, seed: int, most: int = 3) -> list[Step]:
    """What each transform of an augmentation does alone; nothing for one that does not say what it is made of.

    Raises DataError.
    """
    return [
        try_alone(transform, sample, title=name, options=options, seed=seed, most=most)
        for name, options, transform in name_steps(augment, component)
    ]


def name_steps(augment: Any, component: Component) -> list[tuple[str, str, Callable]]:
    """Name, options and transform of each step of an augmentation that has `steps`."""
    steps = getattr(augment, "steps", [])
    blocks = component.params.get("transforms")
    if blocks is not None and len(blocks) == len(steps):  # as they are written
        return [
            (block.name, describe_options(block), step) for block, step in zip(blocks, steps, strict=True)
        ]
    return [(find_name(step), describe_attributes(step), step) for step in steps]


def find_name(transform: Any) -> str:
    """The name a transform is registered under, or that of its class."""
    for name in TRANSFORMS.names():
        if TRANSFORMS.get(name) is type(transform):
            return name
    return type(transform).__name__


def describe_attributes(transform: Any) -> str:
    """What a transform was made with, but for what segkit itself gave it."""
    words = transform.extra_repr().split(", ")
    return ", ".join(word for word in words if word.partition("=")[0] not in TRANSFORMS.given)


def describe_options(component: Component) -> str:
    """A component's options as a file would have them, those inside it included."""
    plain = _to_plain(component)
    del plain["name"]
    return dump_inline(plain)[1:-1]


def _to_plain(value: Any) -> Any:
    if isinstance(value, Component):
        return {"name": value.name, **{key: _to_plain(item) for key, item in value.params.items()}}
    return [_to_plain(item) for item in value] if isinstance(value, list | tuple) else value
