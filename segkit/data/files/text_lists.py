"""Small text files that describe a data set: where they are looked for, and their lines."""

from pathlib import Path

from segkit.errors import ConfigError

MAX_BYTES = 64_000_000


def find_text(name: str, root: Path, *, key: str, hint: str) -> Path:
    """The file that the option `key` names: below `root`, else seen from the current folder.

    Raises ConfigError, ending in `hint`, if there is none.
    """
    given = Path(name).expanduser()
    for path in (root / given, given):
        if path.is_file():
            return path
    where = "" if given.is_absolute() else f" in {root} or in the current folder"
    raise ConfigError(f"{key}: no file {name}{where}\n   -> {hint}")


def read_lines(path: Path, *, comments: bool = True) -> list[tuple[int, str]]:
    """The lines of a text file that say something, with their numbers: no blank ones and, if there may be `comments`,
    none that begin with #.

    Any line end and a byte order mark are fine. Raises ConfigError for what is not UTF-8 text.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"cannot read {path}: more than {MAX_BYTES // 1_000_000} MB is no list")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 text -> save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if "\0" in text:
        raise ConfigError(f"cannot read {path}: it is not a text file")
    # Not splitlines(), which also ends lines at characters that a name may have, such as a line separator.
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line and not (comments and line[0] == "#")]
