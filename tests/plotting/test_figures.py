import pytest
from matplotlib.figure import Figure

from tinynet.plotting.figures import fit, fit_end, new_figure, text_width


class TestFit:
    def test_a_short_text_stays_as_it_is(self):
        assert fit("Bag", 1.0, 8) == "Bag"
        assert fit("", 1.0, 8) == ""

    def test_is_broken_between_words(self):
        width = text_width("a coat of many", 8)
        assert fit("a coat of many colours", width, 8, 2) == "a coat of many\ncolours"

    @pytest.mark.parametrize("text", ["a coat of many colours", "Donaudampfschifffahrt", "W" * 90])
    @pytest.mark.parametrize("width", [0.3, 0.5, 0.9])
    @pytest.mark.parametrize("lines", [1, 2, 3])
    def test_is_never_wider_nor_longer(self, text, width, lines):
        fitted = fit(text, width, 8, lines)
        assert text_width(fitted, 8) <= width
        assert fitted.count("\n") < lines
        whole = fitted.replace("\n", "").replace(" ", "")
        letters = text.replace(" ", "")
        assert whole == letters or (whole.endswith("…") and letters.startswith(whole[:-1]))

    def test_the_width_is_that_of_the_drawn_text(self):
        figure = Figure(dpi=100)
        for weight in ("normal", "bold"):
            text = figure.text(0, 0, "max_pooling2d (MaxPooling2D)", fontsize=10, weight=weight)
            pixels = text.get_window_extent().width
            assert text_width(text.get_text(), 10, weight) == pytest.approx(pixels / 100, rel=0.05)


def test_paths_keep_their_ends():
    assert fit_end("block/dense", 2.0, 8) == "block/dense"
    width = text_width("…rather long name/dense_1", 8)
    path = "a block with a rather long name/dense_1"
    assert fit_end(path, width, 8) == "…rather long name/dense_1"
    assert fit_end(path, 0.01, 8) == "…"


def test_a_new_figure_finds_room_for_its_texts():
    figure = new_figure(3, 2)
    assert figure.get_size_inches().tolist() == [3, 2]
    assert figure.get_constrained_layout()
