"""An environment beside that of the machine: what was carried along and this checkout, over all that there is already.

Nothing is written into the machine's own environment, which may be one that cannot be written. Needs Python and pip.

python -m scripts.gpu.tasks.install FOLDER WHEELS
"""

import os
import site
import subprocess
import sys
import venv
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
    if found:  # before the machine's own packages are seen, so that each is installed whatever there is
        pip(python, "--no-index", "--no-deps", "--no-compile", *map(str, found))
    add_packages_of_the_machine(python)
    # Without it the checkout is still imported, from PYTHONPATH; only the command `segkit` is missing.
    editable = pip(python, "--no-index", "--no-deps", "--no-build-isolation", "-e", str(ROOT), check=False)
    told = (
        "this checkout as a package"
        if editable
        else "this checkout by PYTHONPATH alone, since pip refused it"
    )
    program = f"import importlib; [importlib.import_module(name) for name in {NEEDED!r}]"
    subprocess.run([python, "-c", program], check=True, cwd=ROOT)
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


def pip(python: Path, *words: str, check: bool = True) -> bool:
    """Whether pip installed it; this interpreter's pip, for that one."""
    options = ("--quiet", "--disable-pip-version-check", "--no-cache-dir")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, *words]
    return subprocess.run(command, check=check, cwd=ROOT).returncode == 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
