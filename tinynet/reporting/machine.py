"""What the numbers of a report were computed with."""

import importlib.metadata
import platform
from pathlib import Path

from tinynet import kernels
from tinynet.version import __version__


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that compute, and the machine."""
    threads = kernels.get_num_threads()
    compiled = f"compiled by numba, {threads} thread{'' if threads == 1 else 's'}"
    return {
        "tinynet": __version__,
        "Python": platform.python_version(),
        "NumPy": importlib.metadata.version("numpy"),
        "numba": importlib.metadata.version("numba"),
        "Kernels": compiled if kernels.backend() == "numba" else "plain NumPy",
        "System": f"{platform.system()} {platform.machine()}",
        "Processor": _processor(),
    }


def _processor() -> str:
    """The processor's name, where the system tells it; else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
