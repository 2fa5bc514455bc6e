"""An environment beside that of the machine: what was carried along and this checkout, over all that there is already.

Nothing is written into the machine's own environment, which may be one that cannot be written. Needs Python and pip.

python -m scripts.gpu.tasks.install FOLDER WHEELS
"""

import os
import site
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: What of segkit's dependencies the imports are tried of: one that is missing is told now, not by every part.
NEEDED = (
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "yaml",
    "tensorboard",
    "tqdm",
    "pydantic",
    "matplotlib",
    "pytest",
    "xdist",
)


def main(folder: Path, wheels: Path) -> int:
    venv.create(folder, clear=True, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    found = sorted(wheels.glob("*.whl"))
    # Before the machine's own packages are seen, so that each is installed whatever there is.
    if found and not pip(python, "--no-deps", "--no-compile", *map(str, found)):
        return 1
    add_packages_of_the_machine(python)
    program = f"import importlib; [importlib.import_module(name) for name in {NEEDED!r}]"
    if not holds([str(python), "-c", program]):
        return 1
    # Without it the checkout is still imported, from PYTHONPATH; only the command `segkit` is missing.
    editable = pip(python, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    told = "this checkout as a package" if editable else "this checkout by PYTHONPATH alone"
    print(f"found: {len(found)} wheels, and {told}")
    return 0


def add_packages_of_the_machine(python: Path) -> None:
    """Let that environment find the packages of this interpreter's own after those it has.

    `--system-site-packages` is not enough: where this interpreter is that of an environment itself, it means the
    packages below that one.
    """
    line = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([python, "-c", line], check=True, capture_output=True, text=True).stdout.strip()
    present = [path for path in (*site.getsitepackages(), *_user_packages()) if os.path.isdir(path)]
    lines = [f"import site; site.addsitedir({path!r})" for path in present]
    Path(own, "packages_of_the_machine.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _user_packages() -> list[str]:
    return [site.getusersitepackages()] if site.ENABLE_USER_SITE else []


def pip(python: Path, *words: str) -> bool:
    """Whether this interpreter's pip installed it for that one."""
    options = ("--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-index")
    return holds([sys.executable, "-m", "pip", "--python", str(python), "install", *options, *words])


def holds(command: Sequence[str]) -> bool:
    """Whether a command ends well; where it does not, its last words are told."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        last = [line for line in done.stdout.splitlines() if line.strip()][-1:] or ["without a word"]
        print(f"found: {last[0].strip()}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
