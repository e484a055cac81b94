"""Thousands of changed files: each is refused, or loads as if nothing had happened.

The changes, and the telling apart of what comes of them, are those of benchmarks/mutations.py.
"""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "mutations.py"
COUNT, SEALED_COUNT = 20_000, 2_000


@pytest.fixture(scope="module")
def mutations():
    spec = importlib.util.spec_from_file_location("mutations", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = module  # where its classes look for their annotations
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutations"]


@pytest.fixture(scope="module")
def files(mutations, tmp_path_factory):
    """The file of a small model, and that of the same at another time."""
    path = tmp_path_factory.mktemp("files") / "model.tinynet"
    contents = []
    for epochs in (1, 3):
        mutations.small_model(epochs).save(path)
        contents.append(path.read_bytes())
    assert len(contents[0]) == len(contents[1])
    return contents


def explain(wrong):
    return [f"{case.how}: {case.outcome}, {case.error!r}, {case.seconds} s" for case in wrong[:5]]


def test_changed_files(mutations, files, tmp_path):
    form = mutations.tinynet_format()
    (tmp_path / "whole.tinynet").write_bytes(files[0])
    expected = form.read(tmp_path / "whole.tinynet")
    changed = mutations.mutations(*files, COUNT)
    counts, wrong = mutations.count_outcomes(form, changed, expected, tmp_path)
    assert not wrong, explain(wrong)
    assert counts["refused"] + counts["loaded equal"] == COUNT
    assert counts["loaded equal"] == 0  # no bit of a file is without meaning


def test_changed_headers_that_are_sealed_again(mutations, files, tmp_path):
    form = mutations.tinynet_format()
    sealed = mutations.Sealed(files[0])
    (tmp_path / "whole.tinynet").write_bytes(sealed.seal(sealed.header))
    form.read(tmp_path / "whole.tinynet")
    changed = sealed.mutations(SEALED_COUNT)
    counts, wrong = mutations.count_outcomes(form, changed, None, tmp_path)
    assert not wrong, explain(wrong)
    assert counts["refused"] + counts["loaded equal"] == SEALED_COUNT
    assert counts["refused"] > SEALED_COUNT / 2
    assert counts["loaded equal"] > SEALED_COUNT / 200  # other names, seeds, rates are no lies


# --- whether all that would be seen --------------------------------------------------------------


def test_all_kinds_of_changes_are_made(mutations, files):
    made = list(mutations.mutations(*files, 1200))
    counts = Counter(how for how, _ in made)
    assert len(counts) == len(mutations.CHANGES) + 1
    assert set(counts.values()) == {100}
    assert files[0] not in [data for _, data in made]
    assert files[1] not in [data for _, data in made]
    assert made == list(mutations.mutations(*files, 1200))  # the same ones each time
    assert len({data for _, data in made}) > 1000
    places = {next(i for i in range(8000) if d[i : i + 1] != files[0][i : i + 1]) for _, d in made}
    assert len(places) > 300
    assert min(places) < 8
    assert max(places) > len(files[0]) - 200


@pytest.mark.parametrize(
    ("outcome", "read"),
    [
        ("loaded equal", lambda path: "content"),
        ("silently wrong", lambda path: path.read_bytes()),
        ("refused", lambda path: (_ for _ in ()).throw(ValueError("no"))),
        ("other exception", lambda path: {}["key"]),
        ("slow", lambda path: [sum(range(1000)) for _ in range(3_000)] and "content"),
        ("large", lambda path: np.zeros(60_000_000, np.uint8) is None or "content"),
    ],
)
def test_what_comes_of_a_file_is_told_apart(mutations, tmp_path, monkeypatch, outcome, read):
    monkeypatch.setattr(mutations, "SLOW", 0.02)
    form = mutations.Format("test", ".test", read, (ValueError,))
    changed = iter([("changed", b"data")])
    counts, wrong = mutations.count_outcomes(form, changed, "content", tmp_path)
    assert counts == {**dict.fromkeys(mutations.OUTCOMES, 0), outcome: 1}
    assert bool(wrong) == (outcome not in ("refused", "loaded equal"))


def test_the_comparison_runs(mutations, tmp_path):
    table = mutations.compare(60, 60, tmp_path)
    assert {"tinynet", "tinynet, sealed again", "np.savez"} <= table.keys()
    for counts in table.values():
        assert sum(counts.values()) == 60
    assert all(len(row) == 7 for row in mutations.rows_of(table))
    assert table["tinynet"]["refused"] == 60
