"""What long work shows: in a terminal, redirected to a file, in a notebook, and to nobody."""

import os
import pty
import re
import subprocess
import sys
import termios
import time

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from tinynet import Sequential, gradcheck, kernels, layers
from tinynet.models import progress

# A small model, and batches that take a tenth of a second each: a bar is drawn anew no more often.
SETUP = """
import time
import numpy as np
from tinynet import Sequential, callbacks, gradcheck, layers

model = Sequential([layers.Dense(3, activation="softmax", input_shape=(4,))])
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
x, y = np.ones((30, 4)), np.arange(30) % 3


def pause(batch, logs):
    time.sleep(0.11)


slow = callbacks.LambdaCallback(
    on_train_batch_end=pause, on_test_batch_end=pause, on_predict_batch_end=pause
)
"""

LINE = r" - \d+\.\ds - loss: \d\.\d{4} - accuracy: \d\.\d{4}"
BAR = r"( +\d+|100)%\|[^|]{3,10}\| \d\d:\d\d<\d\d:\d\d, *[\d.]+step/s"
VALUES = r", loss=\d\.\d{4}, accuracy=\d\.\d{4}"


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Kernels are compiled before, and nobody says so in the midst of a test."""
    script = (
        "model.fit(x, y, verbose=0)\n"
        "model.evaluate(x, y, verbose=0)\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(x, np.ones((30, 3)), verbose=0)\n"
        "gradcheck.check_layer(layers.Dense(3), (4,))\n"
        "gradcheck.check_layer(layers.ReLU(), (4,))\n"
    )
    command = [sys.executable, "-c", SETUP + script]
    subprocess.run(command, env=environment(), stderr=subprocess.DEVNULL, check=True)


def environment():
    return {**os.environ, "TINYNET_KERNELS": kernels.backend()}


def in_terminal(script, columns=80):
    """All that a script writes to a terminal of so many columns."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SETUP + script],
        stdout=slave,
        stderr=slave,
        env=environment(),
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # how Linux says that the other end of a terminal was closed
        pass
    os.close(master)
    text = shown.decode()
    assert process.wait() == 0, text
    return text.replace("\r\n", "\n")


def drawn(text, title):
    """Every state of the bar of that title, as it was written."""
    states = [state for line in text.split("\n") for state in line.split("\r")]
    return [state.rstrip() for state in states if state.startswith(f"{title}:")]


class TestInATerminal:
    def test_fit(self):
        text = in_terminal("model.fit(x, y, 5, epochs=12, initial_epoch=10, callbacks=[slow])")
        for title in ("Epoch 11/12", "Epoch 12/12"):
            states = drawn(text, title)
            assert states
            assert all(len(state) < 80 for state in states), text
            assert re.fullmatch(f"{title}: {BAR}{VALUES}", states[-1]), text

    def test_a_line_takes_the_place_of_a_bar(self):
        text = in_terminal(
            "model.fit(x, y, 5, epochs=2, callbacks=[slow])\n"
            "model.evaluate(x, y, 5, callbacks=[slow])\n"
            "model.predict(x, 5, callbacks=[slow])\n"
            "model.fit(x, y, 5, verbose=2)\n"
        )
        assert drawn(text, "Evaluate")
        assert drawn(text, "Predict")
        # What is left to be seen of each line; predict has nothing to say in the end.
        left = [line.split("\r")[-1] for line in text.split("\n")]
        titles = ["Epoch 1/2", "Epoch 2/2", "Evaluate", "Epoch 1/1"]
        assert len(left) == 5, text
        assert left[-1] == ""
        for line, title in zip(left[:4], titles, strict=True):
            assert re.fullmatch(title + LINE, line), text

    def test_evaluate_and_predict(self):
        text = in_terminal(
            "model.evaluate(x, y, 5, callbacks=[slow])\nmodel.predict(x, 5, callbacks=[slow])\n"
        )
        assert re.fullmatch(f"Evaluate: {BAR}{VALUES}", drawn(text, "Evaluate")[-1]), text
        assert re.fullmatch(f"Predict: {BAR}", drawn(text, "Predict")[-1]), text

    def test_the_gradient_check_where_it_takes_long(self):
        text = in_terminal(
            "class Slow(layers.ReLU):\n"
            "    def forward(self, x, training=False):\n"
            "        time.sleep(0.02)\n"
            "        return super().forward(x, training)\n\n\n"
            "gradcheck.check_layer(Slow(), (12,))\n"
            "print('done')\n"
            "gradcheck.check_layer(Slow(name='unseen'), (12,), verbose=0)\n"
            "gradcheck.check_layer(layers.ReLU(name='quick'), (2,))\n"
        )
        assert re.fullmatch(f"Check Slow 'slow': {BAR}", drawn(text, "Check Slow 'slow'")[-1]), text
        assert text.split("\r")[-1] == "done\n"

    def test_a_message_of_a_callback_has_a_line_to_itself(self):
        text = in_terminal(
            "model.compile('sgd', 'mse')\n"
            "y = np.ones((30, 3))\n"
            "y[25:] = 1e30\n"
            "given = [slow, callbacks.TerminateOnNaN()]\n"
            "with np.errstate(all='ignore'):\n"
            "    model.fit(x, y, 5, shuffle=False, callbacks=given)\n"
        )
        left = [line.split("\r")[-1] for line in text.split("\n")]
        assert left[0] == "Epoch 1, batch 6: loss is inf, training stopped", text
        assert re.fullmatch(r"Epoch 1/1 - \d+\.\ds - loss: inf", left[1]), text

    def test_silence(self):
        text = in_terminal(
            "model.fit(x, y, 10, verbose=0, callbacks=[slow])\n"
            "model.evaluate(x, y, 10, verbose=0, callbacks=[slow])\n"
            "model.predict(x, 10, verbose=0, callbacks=[slow])\n"
        )
        assert text == ""


def test_in_a_file(tmp_path):
    script = (
        "model.fit(x, y, 10, epochs=3, validation_data=(x, y))\n"
        "model.evaluate(x, y, 5)\n"
        "model.predict(x, 5)\n"
        "gradcheck.check_layer(layers.Dense(3), (4,))\n"
    )
    with open(tmp_path / "log.txt", "w+b") as file:
        command = [sys.executable, "-W", "error", "-c", SETUP + script]
        subprocess.run(command, stdout=file, stderr=file, env=environment(), check=True)
        file.seek(0)
        text = file.read().decode()
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    validation = r" - val_loss: \d\.\d{4} - val_accuracy: \d\.\d{4}"
    patterns = [rf"Epoch {i}/3{LINE}{validation}" for i in (1, 2, 3)] + [f"Evaluate{LINE}"]
    for pattern, line in zip(patterns, text.splitlines(), strict=True):
        assert re.fullmatch(pattern, line), text


def test_in_a_notebook(tmp_path, monkeypatch):
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("TINYNET_KERNELS", kernels.backend())
    # A bar of text, as it is where ipywidgets is not installed.
    cells = [
        "import sys\n\nsys.modules['ipywidgets'] = None" + SETUP,
        "history = model.fit(x, y, 2, epochs=2, callbacks=[slow])\nhistory",
        "model.fit(x, y, verbose=0)\nmodel",
        "model.layers[0]",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    nothing, fit, silent, layer = (cell.outputs for cell in notebook.cells)
    assert nothing == []
    assert {output.name for output in fit[:-1]} == {"stdout"}
    text = "".join(output.text for output in fit[:-1])
    assert re.search(rf"\rEpoch 1/2: {BAR}{VALUES}", text)
    left = [line.split("\r")[-1] for line in text.split("\n")]
    assert [bool(re.fullmatch(f"Epoch {i}/2{LINE}", left[i - 1])) for i in (1, 2)] == [True] * 2
    # 1.7 seconds an epoch, half a second from one state to the next, each drawn twice.
    assert len(drawn(text, "Epoch 1/2")) <= 8
    assert "<table" in fit[-1].data["text/html"]
    assert [output.output_type for output in silent] == ["execute_result"]
    assert "dense (Dense)" in silent[0].data["text/html"]
    assert "kernel" in layer[0].data["text/html"]


# --- the bar itself ------------------------------------------------------------------------------


def line(columns, title="Epoch 100/100", elapsed=10.0, rate=1234.0):
    return progress.Bar.format_meter(
        n=500, total=1000, elapsed=elapsed, ncols=columns, prefix=title, rate=rate, unit="step",
        unit_scale=True, postfix="loss=0.1234, accuracy=0.9876",
    )  # fmt: skip


class TestTheBar:
    @pytest.mark.parametrize("elapsed", [10.0, 3500.0])
    @pytest.mark.parametrize("rate", [1234.0, 56.0, 0.5])
    def test_loss_and_accuracy_fit_80_columns(self, rate, elapsed):
        text = line(80, elapsed=elapsed, rate=rate)
        assert len(text) < 80
        assert text.endswith("step, loss=0.1234, accuracy=0.9876") or text.endswith(
            "step/s, loss=0.1234, accuracy=0.9876"
        )
        assert re.search(r"50%\|█ *[^|]*\|", text)

    def test_a_wide_terminal_keeps_it_short(self):
        assert line(200) == (
            "Epoch 100/100:  50%|█████     | 00:10<00:00, 1.23kstep/s, loss=0.1234, accuracy=0.9876"
        )
        assert line(None) == line(200)

    def test_a_narrow_terminal_has_no_second_line(self):
        assert len(line(40)) == 39

    def test_the_values_are_those_of_now(self, monkeypatch):
        monkeypatch.setattr(progress, "interactive", lambda: True)
        shown = []

        class Bar(progress.Bar):
            def display(self, msg=None, pos=None):
                shown.append((self.n, self.postfix))

        monkeypatch.setattr(progress, "Bar", Bar)
        with progress.Progress("Epoch", 3, 1, delay=0) as bar:
            bar._bar.mininterval = 0
            for step in range(1, 4):
                bar.step(lambda value=step: {"loss": value})
                assert shown[-1] == (step, f"loss={step}.0000")

    def test_values_are_asked_for_no_more_often_than_drawn(self, monkeypatch, capsys):
        monkeypatch.setattr(progress, "interactive", lambda: True)
        asked = []
        began = time.perf_counter()
        with progress.Progress("Epoch", 100_000, 1) as bar:
            for _ in range(100_000):
                bar.step(lambda: asked.append(1) or {})
        assert len(asked) <= 1 + (time.perf_counter() - began) / 0.1
        capsys.readouterr()

    def test_a_bar_that_ends_early_is_taken_away(self, monkeypatch, capsys):
        monkeypatch.setattr(progress, "interactive", lambda: True)

        def fail():
            with progress.Progress("Epoch", 3, 1, delay=0) as bar:
                bar.step()
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert capsys.readouterr().out.endswith("\r")

    def test_without_a_standard_output_nobody_watches(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)
        assert not progress.interactive()


class TestGradcheck:
    def test_verbose(self, capsys):
        for verbose in ("auto", 0, 1):
            assert gradcheck.check_layer(layers.Dense(2), (3,), verbose=verbose).ok
        assert capsys.readouterr() == ("", "")
        gradcheck.check_layer(layers.Dense(2), (3,), verbose=2)
        assert re.fullmatch(r"Check Dense 'dense' - \d+\.\ds\n", capsys.readouterr().out)

    def test_a_model(self, capsys):
        model = Sequential([layers.Dense(2, input_shape=(3,))])
        assert gradcheck.check_model(model, np.ones((2, 3)), np.ones((2, 2)), "mse", verbose=2).ok
        assert re.fullmatch(r"Check Sequential 'sequential' - \d+\.\ds\n", capsys.readouterr().out)

    def test_verbose_of_another_kind(self):
        with pytest.raises(ValueError, match="verbose must be 'auto', 0, 1 or 2, got 3"):
            gradcheck.check_layer(layers.Dense(2), (3,), verbose=3)
