"""Functions for compiled code, and those that Python can call too."""

import pytest

from tinynet.kernels.jit import config, jit


@jit()
def twice(x: int) -> int:
    """Two times x."""
    return 2 * x


@jit(from_python=True)
def four_times(x: int) -> int:
    return twice(twice(x))


def test_compiled_code_calls_both() -> None:
    assert four_times(3) == 12


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="this is Python alone")
def test_python_cannot_call_what_is_for_compiled_code() -> None:
    four_times(3)  # which has compiled the other one: there is no code for a call from Python
    with pytest.raises(TypeError, match=r"^twice can be called by compiled code only$"):
        twice(3)
    with pytest.raises(TypeError, match=r"^twice can be called by compiled code only$"):
        twice(x=3)
    assert twice.__doc__ == "Two times x."
