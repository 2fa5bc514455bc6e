"""Which trackers are on, and the message for a package that is not there."""

import pytest

from segkit.config.load import load_config
from segkit.config.schema import Log, Mlflow, Wandb
from segkit.errors import ConfigError
from segkit.runs.recording.trackers import kinds
from segkit.runs.recording.trackers.kinds import is_installed, require_trackers, tracker_settings


@pytest.mark.parametrize(
    ("override", "settings"),
    [
        ("log.every=5", {}),
        ("log.wandb=false", {}),
        ("log.wandb=null", {}),
        ("log.wandb=true", {"wandb": Wandb().model_dump()}),
        ("log.wandb.project=x", {"wandb": Wandb(project="x").model_dump()}),
        ("log.mlflow={experiment: e, tags: {a: b}}", {"mlflow": Mlflow(experiment="e", tags={"a": "b"}).model_dump()}),
    ],
)  # fmt: skip
def test_a_block_turns_a_tracker_on(override, settings):
    config = load_config("debug.yaml", [override])
    assert tracker_settings(config.log) == settings
    assert load_config("debug.yaml", ["log.wandb=true"]).log.mlflow is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("log.wandb=yes please", "log.wandb: expected a block, true, false or null, got 'yes please'"),
        ("log.wandb.projct=x", "unknown key 'log.wandb.projct', did you mean 'project'?"),
        ("log.wandb.mode=off", "log.wandb.mode: expected one of online, offline or null, got 'off'"),
        ("log.mlflow.tags.a=3", "log.mlflow.tags.a: expected a string, got 3"),
        ("log.wanbd=true", "unknown key 'log.wanbd', did you mean 'wandb'?"),
    ],
)
def test_a_mistake_is_named(override, message):
    with pytest.raises(ConfigError) as caught:
        load_config("debug.yaml", [override])
    assert f"command line: '{override}': {message}" in str(caught.value)


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(kinds, "is_installed", lambda package: package == "mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    require_trackers(Log())
    with pytest.raises(ConfigError) as caught:
        require_trackers(Log(wandb=Wandb(), mlflow=Mlflow()))
    assert str(caught.value) == (
        "log.wandb needs wandb, which is not installed\n"
        "   -> pip install 'segkit[wandb]', or log.wandb=false\n"
        "log.mlflow needs sqlalchemy and alembic, which are not installed\n"
        "   -> pip install 'segkit[mlflow]', or log.mlflow=false"
    )
    require_trackers(Log(mlflow=Mlflow(tracking_uri="http://there")))  # which has the database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    require_trackers(Log(mlflow=Mlflow()))


def test_a_folder_of_the_name_is_no_package(tmp_path, monkeypatch):
    """wandb itself leaves one in the folder where a script of a user's ran."""
    (tmp_path / "a_tracker").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not is_installed("a_tracker") and is_installed("json") and not is_installed("no_such_package")
    (tmp_path / "a_tracker" / "__init__.py").touch()
    assert is_installed("a_tracker")
