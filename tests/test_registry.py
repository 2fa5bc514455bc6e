"""Registries: registering is adding a file, names are checked, and mistakes are answered with a suggestion."""

import importlib
import inspect
import sys

import pytest

from segkit.registry import (
    AUGMENTS,
    CRITERIA,
    DATASETS,
    LOSSES,
    MODELS,
    OPTIMIZERS,
    SCHEDULES,
    SELECTIONS,
    TRANSFORMS,
    WEIGHT_MAPS,
    RefusedName,
    Registry,
    UnknownName,
)

SHELF: Registry | None = None  # of the files that a test writes
ALL = [
    MODELS,
    LOSSES,
    CRITERIA,
    SELECTIONS,
    DATASETS,
    WEIGHT_MAPS,
    AUGMENTS,
    TRANSFORMS,
    OPTIMIZERS,
    SCHEDULES,
]


@pytest.fixture
def registry():
    registry = Registry("model", package="segkit.errors")

    @registry.register("unet")
    class Net:
        pass

    @registry.register("DeepLab")
    def deeplab():
        pass

    return registry


def test_a_component_is_imported_without_the_others_if_a_file_has_its_name(tmp_path, monkeypatch):
    package = tmp_path / "shelf"
    package.mkdir()
    one = "from tests import test_registry\n@test_registry.SHELF.register('One')\ndef make(): pass"
    for name, line in (
        ("__init__", ""),
        ("one", one),
        ("two", "1 / 0"),
    ):
        (package / f"{name}.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    found = Registry("model", package="shelf")
    monkeypatch.setattr(sys.modules[__name__], "SHELF", found)
    assert found.get("ONE").__name__ == "make"
    for name in ("other", "two"):  # which needs all files, or its own
        with pytest.raises(ZeroDivisionError):
            found.get(name)


@pytest.mark.parametrize("name", ["unet", "UNet", "UNET"])
def test_names_are_case_insensitive(registry, name):
    assert registry.get(name).__name__ == "Net"
    assert registry.names() == ["unet", "DeepLab"]
    assert registry.spell("DEEPLAB") == "DeepLab"


def test_register_returns_what_it_was_given(registry):
    def build():
        pass

    assert registry.register("other")(build) is build


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unett", "no model named 'unett', did you mean 'unet'?"),
        ("DEEPLAP", "no model named 'DEEPLAP', did you mean 'DeepLab'?"),
        ("zzz", "no model named 'zzz'; there are: unet, DeepLab"),
    ],
)
def test_unknown_name_suggests_the_nearest(registry, name, message):
    with pytest.raises(UnknownName) as error:
        registry.get(name)
    assert str(error.value) == message


def test_a_refused_name_says_why_and_what_instead(registry):
    registry.refuse("TenNets", "it is ten models", "{name: unet}")
    with pytest.raises(RefusedName) as error:
        registry.get("tennets")
    assert str(error.value) == "tennets cannot be a model: it is ten models"
    assert error.value.instead == "{name: unet}"
    assert "TenNets" not in registry.names()


def test_taken_name_is_refused(registry):
    def second():
        pass

    with pytest.raises(ValueError) as error:
        registry.register("UNet")(second)
    here, function = __name__, "test_taken_name_is_refused.<locals>.second"
    assert str(error.value) == (
        f"the model name 'UNet' is taken by {here}.registry.<locals>.Net; choose another name for {here}.{function}"
    )
    assert registry.get("unet").__name__ == "Net"


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A package of two files on the import path; its registry is given to them as `plugins_for_test.things`."""
    package = tmp_path / "plugins_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith("plugins_for_test")]:
        del sys.modules[name]


def test_a_new_file_in_the_package_is_all_it_takes(plugins):
    (plugins / "__init__.py").write_text(
        "from segkit.registry import Registry\nthings = Registry('thing', package='plugins_for_test')\n"
    )
    for name in ("first", "second"):
        (plugins / f"{name}.py").write_text(
            f"from plugins_for_test import things\n@things.register('{name}')\ndef build(): return '{name}'\n"
        )
    things = importlib.import_module("plugins_for_test").things
    assert "plugins_for_test.first" not in sys.modules  # nothing is imported before the first look-up
    assert things.names() == ["first", "second"]
    assert things.get("second")() == "second"


def test_files_in_named_folders_count_like_those_of_the_package(plugins):
    (plugins / "shelf").mkdir()
    (plugins / "other").mkdir()
    (plugins / "__init__.py").write_text(
        "from segkit.registry import Registry\n"
        "things = Registry('thing', package='plugins_for_test', folders=('shelf',))\n"
    )
    for name in ("shelf/__init__", "other/__init__", "other/third"):
        (plugins / f"{name}.py").write_text("1 / 0" if name == "other/third" else "")
    for name in ("first", "second"):
        (plugins / "shelf" / f"{name}.py").write_text(
            f"from plugins_for_test import things\n@things.register('{name}')\ndef build(): return '{name}'\n"
        )
    things = importlib.import_module("plugins_for_test").things
    assert things.get("second")() == "second"
    assert "plugins_for_test.shelf.first" not in sys.modules
    assert things.names() == ["first", "second"]


@pytest.mark.parametrize("registry", ALL, ids=lambda registry: registry.kind)
def test_every_registered_constructor_can_be_a_schema(registry):
    for name in registry.names():
        constructor = registry.get(name)
        parameters = inspect.signature(constructor).parameters.values()
        assert (constructor.__doc__ or "").strip(), f"{registry.kind} {name} has no docstring for --list"
        for parameter in parameters:
            assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL), (
                f"{name}: {parameter}"
            )
