"""What pyproject.toml cannot say: the configurations of configs/ are installed as segkit/configs."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["segkit", "segkit.*"]), "segkit.configs"],
    package_dir={"segkit.configs": "configs"},
    package_data={"segkit": ["py.typed"], "segkit.configs": ["*.yaml", "**/*.yaml"]},
)
