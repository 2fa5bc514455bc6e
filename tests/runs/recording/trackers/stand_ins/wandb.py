"""A stand-in for wandb: it writes down what it is asked for, and fails where `STAND_IN_FAILS` says so."""

import json
import os

_CALLS, _FAILS = os.environ["STAND_IN_CALLS"], os.environ.get("STAND_IN_FAILS", "").split()


def _call(name: str, /, **arguments) -> None:
    with open(_CALLS, "a") as file:
        file.write(json.dumps([name, arguments], default=str) + "\n")
    if name in _FAILS or "all" in _FAILS:
        raise RuntimeError(f"{name} fails")


class Settings:
    model_fields = dict.fromkeys(
        ("console", "disable_git", "disable_code", "save_code", "program", "x_stats_pid")
    )

    def __init__(self, **settings):
        self.settings = settings

    def __str__(self) -> str:
        return json.dumps(self.settings)


class Image:
    def __init__(self, image, caption):
        self.text = f"{image.width}x{image.height}: {caption}"

    def __str__(self) -> str:
        return self.text


class Table:
    def __init__(self, columns, data):
        self.text = f"{columns}: {data}"

    def __str__(self) -> str:
        return self.text


class Html:
    def __init__(self, text, inject):
        self.text = text

    def __str__(self) -> str:
        return self.text


class Artifact:
    def __init__(self, name, type):
        self.files = []

    def add_file(self, path) -> None:
        self.files.append(path)


class _Summary:
    def update(self, values) -> None:
        _call("summary", **values)


class _Run:
    url = None

    def __init__(self, run_id, folder):
        self.id, self.dir, self.summary = run_id, f"{folder}/offline-run/files", _Summary()

    def define_metric(self, name, **options) -> None:
        _call("define_metric", metric=name, **options)

    def log(self, values) -> None:
        _call(
            "log",
            values={
                key: value if isinstance(value, int | float) else str(value) for key, value in values.items()
            },
        )

    def log_artifact(self, artifact) -> None:
        _call("log_artifact", files=artifact.files)

    def finish(self, exit_code) -> None:
        _call("finish", exit_code=exit_code)


def init(**arguments) -> _Run:
    _call(f"init {arguments['mode']}", **arguments)
    if arguments["mode"] in _FAILS:
        raise RuntimeError("no server.")
    return _Run(arguments["id"], arguments["dir"])


_call("import")
