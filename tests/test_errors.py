import inspect

import numpy as np
import pytest

from tinynet.errors import (
    check_float,
    check_int,
    check_keywords,
    received,
    unknown_arguments,
    unknown_name,
)


class Rocket:
    @check_keywords
    def __init__(self, fuel: float, stages: int = 2, *, name: str = "rocket") -> None:
        self.arguments = (fuel, stages, name)

    @check_keywords
    def launch(self, countdown: int = 10) -> int:
        """Up."""
        return countdown


class TestUnknownName:
    def test_suggests_a_near_miss(self):
        error = unknown_name("loss", "categorical_crossentrop", ["mse", "categorical_crossentropy"])
        assert isinstance(error, ValueError)
        assert str(error) == (
            "unknown loss 'categorical_crossentrop'; did you mean 'categorical_crossentropy'? "
            "Known: 'mse', 'categorical_crossentropy'"
        )

    def test_does_not_mind_case(self):
        assert "did you mean 'adam'?" in str(unknown_name("optimizer", "ADAMM", ["adam", "sgd"]))

    def test_is_silent_where_nothing_is_near(self):
        error = unknown_name("loss", "zzz", ["mse"])
        assert str(error) == "unknown loss 'zzz'. Known: 'mse'"

    def test_what_is_no_string_is_a_type_error(self):
        error = unknown_name("loss", 3, ["mse"])
        assert isinstance(error, TypeError)
        assert "got 3 of type int" in str(error)
        assert "'mse'" in str(error)


class TestUnknownArguments:
    def test_names_the_argument_and_what_is_taken(self):
        error = unknown_arguments("Dense", ["bananas"], ["units", "activation"])
        assert isinstance(error, TypeError)
        assert str(error) == "Dense has no argument 'bananas'; it takes units, activation"

    def test_suggests_near_misses(self):
        error = unknown_arguments("Dense", ["unit", "x"], ["units"])
        expected = "Dense has no argument 'unit' or 'x' (did you mean 'units'?); it takes units"
        assert str(error) == expected

    def test_an_owner_without_arguments(self):
        assert str(unknown_arguments("Zeros", ["x"], [])).endswith("it takes none")


class TestCheckKeywords:
    def test_known_ones_pass(self):
        assert Rocket(1.0, stages=3, name="r").arguments == (1.0, 3, "r")
        assert Rocket(1.0).launch(countdown=3) == 3

    def test_a_constructor_speaks_for_the_class_that_is_made(self):
        class Shuttle(Rocket):
            pass

        with pytest.raises(TypeError, match=r"Shuttle has no argument 'stage' \(did you mean 'sta"):
            Shuttle(1.0, stage=2)

    def test_a_method_speaks_for_itself_and_not_of_self(self):
        rocket = Rocket(1.0)
        with pytest.raises(TypeError, match=r"^launch\(\) has no argument 'to'; it takes countd"):
            rocket.launch(to="Mars")

    def test_the_body_does_not_run(self):
        ran = []

        @check_keywords
        def f(x: int = 0) -> None:
            ran.append(x)

        with pytest.raises(TypeError, match=r"f\(\) has no argument 'y'"):
            f(y=1)
        assert ran == []

    def test_missing_arguments_are_left_to_python(self):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'fuel'"):
            Rocket(stages=2)

    def test_signature_and_docstring_stay(self):
        assert list(inspect.signature(Rocket.launch).parameters) == ["self", "countdown"]
        assert Rocket.launch.__doc__ == "Up."


class TestCheckInt:
    @pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
    def test_takes_integers(self, value):
        result = check_int("units", value, 1)
        assert result == 3
        assert type(result) is int

    @pytest.mark.parametrize("value", [True, 3.0, "3", None, np.float32(3)])
    def test_refuses_what_is_no_integer(self, value):
        with pytest.raises(
            TypeError, match=r"units must be an integer of at least 1, got .* of ty"
        ):
            check_int("units", value, 1)

    def test_refuses_what_is_too_small(self):
        with pytest.raises(ValueError, match=r"^units must be an integer of at least 1, got 0$"):
            check_int("units", 0, minimum=1)

    def test_without_a_minimum(self):
        assert check_int("axis", -1) == -1
        with pytest.raises(TypeError, match=r"^axis must be an integer, got '1' of type str$"):
            check_int("axis", "1")


class TestCheckFloat:
    @pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int16(2)])
    def test_takes_numbers(self, value):
        result = check_float("rate", value)
        assert result == 2.0
        assert type(result) is float

    @pytest.mark.parametrize("value", [True, "0.1", None, [0.1], np.array(0.1)])
    def test_refuses_what_is_no_number(self, value):
        with pytest.raises(TypeError, match=r"rate must be a finite number, got .* of type"):
            check_float("rate", value)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_refuses_what_is_not_finite(self, value):
        with pytest.raises(ValueError, match=f"rate must be a finite number, got {value}"):
            check_float("rate", value)

    def test_minimum_and_maximum_are_allowed(self):
        assert check_float("x", 0, minimum=0, maximum=1) == 0
        assert check_float("x", 1, minimum=0, maximum=1) == 1
        for outside in (-0.1, 1.1):
            with pytest.raises(
                ValueError, match="x must be a finite number of at least 0 and of a"
            ):
                check_float("x", outside, minimum=0, maximum=1)

    def test_above_and_below_are_not(self):
        assert check_float("x", 0.5, above=0, below=1) == 0.5
        for end in (0, 1):
            with pytest.raises(ValueError, match=r"number above 0 and below 1, got"):
                check_float("x", end, above=0, below=1)


def test_received_is_cut_short():
    assert received(3) == "3 of type int"
    assert received(np.zeros((2, 1))) == "array([[0.], [0.]]) of type ndarray"
    text = received("x" * 1000)
    assert len(text) < 80
    assert text.endswith("... of type str")
