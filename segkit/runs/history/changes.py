"""What changed in the course of a run that was resumed, for its env.json: see entries.py."""

import json
from collections.abc import Mapping
from typing import Any

from segkit.config.schema import Config
from segkit.runs.checkpoint import Found
from segkit.runs.history.entries import ENTRY, OWN_CODE, RESUMED, read_changes, read_own_code
from segkit.runs.history.own_code import digest_own_code
from segkit.runs.resume import ABSENT, SILENT, find_changes, verdict_of, with_defaults
from segkit.system.run_files import RunFiles

#: Entries of env.json that say what code trained, and how it computed: more than last digits may hang on each.
CODE = ("segkit", "git_commit", "torch", "gpus", "device", "amp", "processes")


def describe_code(
    run: RunFiles, config: Config, env: Mapping[str, Any], found: Found | None
) -> dict[str, Any]:
    """What env.json has besides `env`: digests of a user's own code and, of a run that goes on from `found`, what
    changed in its course. To be asked before env.json is replaced."""
    own = digest_own_code(config)
    entries: dict[str, Any] = {OWN_CODE: own} if own else {}
    if found is not None:
        changes = _changes_until_now(run, found, config.to_mapping(), {**env, **entries})
        entries |= {RESUMED: changes} if changes else {}
    return entries


def _changes_until_now(
    run: RunFiles, found: Found, config: Mapping[str, Any], env: Mapping[str, Any]
) -> list[dict[str, Any]]:
    iteration, earlier = found.state["trainer"]["iteration"], _read(run)
    noted = read_changes(earlier)
    before, after = _code_of(earlier), _code_of(env)
    for change in reversed(noted):
        name = change["key"].removeprefix(ENTRY)
        if change["iteration"] >= iteration and name in before:
            before[name] = change["before"]  # the checkpoint is of the code before
    settings = with_defaults(found.state["config"], origin=str(found.path))
    changes = {
        key: tuple(None if value is ABSENT else value for value in values)
        for key, values in find_changes(settings, config).items()
        if verdict_of(key) != SILENT
    }
    for name, value in after.items():
        if name in before and before[name] != value:
            changes[f"{ENTRY}{name}"] = before[name], value
    return [change for change in noted if change["iteration"] < iteration] + [
        {"iteration": iteration, "key": key, "before": old, "after": new}
        for key, (old, new) in changes.items()
    ]


def _read(run: RunFiles) -> dict[str, Any]:
    """The env.json of the part before; empty if it is missing or damaged."""
    try:
        env = json.loads(run.env.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return env if isinstance(env, dict) else {}


def _code_of(env: Mapping[str, Any]) -> dict[str, Any]:
    """What code trained and how, by the names in CODE and `own_code.FILE`."""
    own = {f"{OWN_CODE}.{name}": digest for name, digest in read_own_code(env).items()}
    return {**{name: env[name] for name in CODE if name in env}, **own}
