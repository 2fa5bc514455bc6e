"""What the files of components say as text is what the components say themselves, and saying it loads no torch."""

import inspect

import pytest

from segkit.config.signature import read_parameters, read_term_keys, summarise
from segkit.config.written.components import _find_all, _find_written
from segkit.registry import (
    AUGMENTS,
    CRITERIA,
    DATASETS,
    LOSSES,
    MODELS,
    OPTIMIZERS,
    SCHEDULES,
    SELECTIONS,
    WEIGHT_MAPS,
)

#: All but TRANSFORMS, most of which are torchvision's, with types that segkit finds for them.
READABLE = [MODELS, LOSSES, CRITERIA, SELECTIONS, DATASETS, WEIGHT_MAPS, AUGMENTS, OPTIMIZERS, SCHEDULES]


def facts(parameters):
    """All that the check of a configuration asks of parameters, in plain values."""
    return [
        (
            parameter.name,
            parameter.default,
            parameter.expected,
            None if parameter.component else parameter.json_schema(),
            parameter.number and parameter.number.expected,
            parameter.allows_none,
            parameter.component and (parameter.component.kind, facts(read_term_keys(parameter.component))),
        )
        for parameter in parameters
    ]


@pytest.mark.parametrize("registry", READABLE, ids=lambda registry: registry.kind)
def test_files_say_what_components_say(registry):
    written = _find_all(registry)
    own = [name for name in registry.names() if registry.get(name).__module__.startswith("segkit.")]
    assert sorted(entry.name for entry in written.values()) == sorted(own)
    for name in own:
        spelled, found = _find_written(registry, name.upper())
        constructor = registry.get(name)
        assert spelled == name
        assert summarise(found) == summarise(constructor)
        assert list(inspect.signature(found).parameters) == list(inspect.signature(constructor).parameters)
        assert facts(read_parameters(found, registry.given)) == facts(
            read_parameters(constructor, registry.given)
        ), name
