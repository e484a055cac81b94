"""Model files that are whole, sealed, and lie: each is refused, quickly and without much memory."""

import json
import time
import tracemalloc

import numpy as np
import pytest
import sealing

from tinynet import Input, Sequential, layers, random, saving
from tinynet.models import load_model
from tinynet.saving import CorruptError, MalformedError, MisfitError, UnknownLayerError


def small():
    return Sequential(
        [
            Input((6, 6, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(),
            Sequential([layers.Flatten(), layers.Dropout(0.5, seed=1)], name="inner"),
            layers.Reshape((8,)),
            layers.Dense(8, "tanh"),
            layers.Dense(8, "softmax"),
        ]
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = small()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.random.default_rng(0).random((8, 6, 6, 1), np.float32)
    model.fit(x, np.arange(8), verbose=0)
    path = tmp_path_factory.mktemp("saved") / "model.tinynet"
    model.save(path)
    return path


@pytest.fixture
def path(saved, tmp_path):
    (tmp_path / "model.tinynet").write_bytes(saved.read_bytes())
    return tmp_path / "model.tinynet"


def refuse(path, error, message=r".", seconds=1.0, peak=20e6):
    """What is at the path is refused with this error, and costs nobody much."""
    before = random.state_of(random.generator())
    began = time.process_time()
    with pytest.raises(saving.ModelFileError, match=message) as caught:
        load_model(path)
    took = time.process_time() - began
    tracemalloc.start()  # once more, since counting memory takes time
    try:
        with pytest.raises(saving.ModelFileError):
            load_model(path)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(caught.value) is error
    assert str(caught.value).startswith(repr(str(path)))
    assert str(caught.value).count(str(path)) == 1
    assert len(str(caught.value)) < 2000
    assert took < seconds
    assert used < peak
    assert random.state_of(random.generator()) == before


def test_the_file_itself_is_read(path):
    sealing.change(path, lambda header, arrays: None)
    assert load_model(path).optimizer.iterations == 1


def layer_of(header, index):
    """A layer's description; that of the Input is the first."""
    return header["model"]["config"]["layers"][index]


def change_layer(index, **arguments):
    def edit(header, arrays):
        layer_of(header, index)["config"].update(arguments)

    return edit


INPUT, CONV, POOL, NORM, INNER, RESHAPE, DENSE, LAST = range(8)


# --- classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Lambda", "os.system", "tinynet.layers.Dense", "layers.Dense", "Layer", "Model", "OwnLayer",
        "dense", "Dense ", "__import__('os').system('true')", "../Dense", "", "Dense\0",
        "x" * 100_000, None, 3, True, ["Dense"], {"Dense": 1},
        {"module": "os", "class_name": "system"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", [DENSE, INNER, "inside"])
def test_unknown_classes(path, name, where):
    def edit(header, arrays):
        if where == "inside":
            layer_of(header, INNER)["config"]["layers"][1]["class_name"] = name
        else:
            layer_of(header, where)["class_name"] = name

    sealing.change(path, edit)
    refuse(path, UnknownLayerError, "unknown class")


def test_nothing_is_imported_by_name(path, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("evil", "evil.Dense", "evil:Dense"):
        sealing.change(
            path, lambda header, arrays, name=name: layer_of(header, 1).update(class_name=name)
        )
        refuse(path, UnknownLayerError)


PARTS = {
    "kernel_initializer": lambda header: layer_of(header, DENSE)["config"]["kernel_initializer"],
    "optimizer": lambda header: header["compiled"]["optimizer"],
    "loss": lambda header: header["compiled"]["loss"],
}


@pytest.mark.parametrize("name", ["os.system", "Own", "", None, 3, ["SGD"], "x" * 100_000])
@pytest.mark.parametrize("part", ["kernel_initializer", "optimizer", "loss", "metrics"])
def test_unknown_classes_of_other_things(path, part, name):
    described = {"class_name": name, "config": {}}

    def edit(header, arrays):
        if part == "kernel_initializer":
            layer_of(header, DENSE)["config"][part] = described
        else:
            header["compiled"][part] = [described] if part == "metrics" else described

    sealing.change(path, edit)
    refuse(path, MisfitError, "unknown|must be a name")


@pytest.mark.parametrize("name", ["os.system", "eval", "lambda x: x", "__import__('os')", ""])
@pytest.mark.parametrize("argument", ["kernel_initializer", "bias_initializer", "activation"])
def test_unknown_names(path, argument, name):
    sealing.change(path, change_layer(DENSE, **{argument: name}))
    refuse(path, MisfitError, "unknown")


# --- arguments -----------------------------------------------------------------------------------

NO_COUNT = [0, -1, True, 2.0, "128", None, [128], {}, 10**9, 10**18, 10**20 - 1, -(10**19)]
NO_PAIR = [0, [0, 1], [3, 3, 3], [], [3], ["3", 3], 10**9, [10**18, 10**18], "33", {}, None, 2.0]
NO_RATE = [2, -1, 1, "0.5", None, [0.5], True, 1e308]
NO_NUMBER = ["1", None, True, [1]]
NO_INITIALIZER = [3, True, [], {}, {"class_name": "Zeros"}, {"class_name": "Zeros", "config": []}]
ABSURD = [
    (CONV, "filters", NO_COUNT),
    (CONV, "kernel_size", NO_PAIR),
    (CONV, "strides", [0, -1, [1, 0], "1", None, 2.0]),
    (CONV, "padding", ["full", "", None, 3, []]),
    (CONV, "activation", ["gelu", 3, [], {}, True]),
    (CONV, "use_bias", [0, 1, "no", None]),
    (CONV, "kernel_initializer", NO_INITIALIZER),
    (POOL, "pool_size", NO_PAIR),
    (NORM, "momentum", [2, -0.1, *NO_NUMBER]),
    (NORM, "epsilon", [0, -1, *NO_NUMBER]),
    (NORM, "axis", [0, 1, None, "x", [-1]]),
    (NORM, "center", [0, None, "yes"]),
    (NORM, "gamma_initializer", NO_INITIALIZER),
    (RESHAPE, "target_shape", [[-1, -1], [0], [3], [8.0], ["8"], "8", 8, {}, [10**18] * 8, [8, 2]]),
    (DENSE, "units", NO_COUNT),
    (DENSE, "bias_initializer", NO_INITIALIZER),
    (DENSE, "trainable", [0, None, "yes", []]),
    (DENSE, "name", ["", "a/b", 3, True, [], {}, "dense_1", "other", "x" * 100_000]),
    (DENSE, "surprise", [1, None, {}]),
    (INPUT, "shape", [[], [6, 6], [6, 6, 2], [0, 6, 1], [-1, 6, 1], "661", 6, None, {}]),
    (INPUT, "shape", [[10**18, 10**18, 1], [1] * 64, [10**19] * 40_000, [True, 6, 1]]),
    (INPUT, "shape", [[6, None, 1], [6.0, 6, 1], ["6", 6, 1]]),
    (INNER, "layers", [None, 3, {}, "x", [3], [[]], [None], [{}]]),
    (INNER, "dtype", ["float64", "float16", None, 3]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "argument", "value"),
    [(where, argument, value) for where, argument, values in ABSURD for value in values],
)
def test_absurd_arguments(path, where, argument, value):
    sealing.change(path, change_layer(where, **{argument: value}))
    refuse(path, MalformedError if argument == "layers" else MisfitError)


NO_SEED = [-1, 1.5, "1", True, [1]]


@pytest.mark.parametrize(
    ("argument", "value"), [("rate", r) for r in NO_RATE] + [("seed", s) for s in NO_SEED]
)
def test_absurd_arguments_within_a_model(path, argument, value):
    def edit(header, arrays):
        config = layer_of(header, INNER)["config"]["layers"][2]["config"]
        assert config["rate"] == 0.5
        config[argument] = value

    sealing.change(path, edit)
    refuse(path, MisfitError, argument)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("dtype", "float16"), ("dtype", "float64"), ("dtype", None), ("dtype", ["float32"]),
        ("trainable", "no"), ("trainable", None), ("name", 3), ("name", "a/b"), ("units", 3),
        ("self", 3), ("cls", 3),
    ],
)  # fmt: skip
def test_absurd_arguments_of_the_model(path, argument, value):
    sealing.change(path, lambda header, arrays: header["model"]["config"].update({argument: value}))
    refuse(path, MisfitError)


@pytest.mark.parametrize(
    "layers_of",
    [
        lambda layers: [],
        lambda layers: layers[:1],  # an Input alone
        lambda layers: layers[1:],  # no Input: no shape
        lambda layers: [layers[0], *layers],
        lambda layers: [*layers, layers[0]],
        lambda layers: [*layers, layers[-1]],
        lambda layers: layers[::-1],
        lambda layers: [layers],
        lambda layers: {"0": layers[0]},
        lambda layers: None,
        lambda layers: "layers",
        lambda layers: layers[:-1],
        lambda layers: layers[:3] + layers[4:],
    ],
)
def test_other_layers(path, layers_of):
    def edit(header, arrays):
        config = header["model"]["config"]
        config["layers"] = layers_of(config["layers"])

    sealing.change(path, edit)
    with pytest.raises((MalformedError, MisfitError)) as caught:
        load_model(path)
    refuse(path, type(caught.value))


@pytest.mark.parametrize("key", ["class_name", "config", "layers"])
def test_a_description_that_lacks_a_key(path, key):
    def edit(header, arrays):
        if key == "layers":
            del header["model"]["config"][key]
        else:
            del layer_of(header, DENSE)[key]

    sealing.change(path, edit)
    refuse(path, UnknownLayerError if key == "class_name" else MalformedError)


SOMETHING_ELSE = [None, 0, "something", [], {}, True, {"class_name": "Sequential"}]


@pytest.mark.parametrize("value", SOMETHING_ELSE)
@pytest.mark.parametrize("key", ["model", "kind", "generators", "compiled"])
def test_a_header_with_something_else(path, key, value):
    sealing.change(path, lambda header, arrays: header.update({key: value}))
    with pytest.raises((MalformedError, MisfitError)) as caught:
        load_model(path)
    refuse(path, type(caught.value))


@pytest.mark.parametrize("kind", [name for name in layers.CLASSES if name != "Input"])
def test_a_layer_in_the_place_of_the_model(path, kind):
    sealing.change(path, lambda header, arrays: header.update(model=layer_of(header, DENSE)))
    refuse(path, MisfitError, "unknown model 'Dense'")
    sealing.change(path, lambda header, arrays: header["model"].update(class_name=kind))
    refuse(path, MisfitError, "unknown model")


# --- too much of everything ----------------------------------------------------------------------


def many_layers(count, nested=0):
    parts = [{"class_name": "ReLU", "config": {"name": str(i)}} for i in range(count)]
    model = {"class_name": "Sequential", "config": {"name": "x", "layers": parts}}
    for _ in range(nested):
        model = {"class_name": "Sequential", "config": {"layers": [model]}}
    return model


@pytest.mark.parametrize("count", [1_000, 5_000, 20_000])
@pytest.mark.parametrize("nested", [0, 10])
def test_too_many_layers(path, count, nested):
    saving.write(path, {"kind": "model", "model": many_layers(count, nested)}, {})
    refuse(path, MalformedError, "more than 1000 layers", peak=40e6)


def test_many_inputs(path):
    description = many_layers(1)
    shape = {"class_name": "Input", "config": {"shape": [1]}}
    for count, error, message in (
        (20_000, MalformedError, "more than 1000 layers"),
        (1_000, MisfitError, "Input must stand first"),
    ):
        description["config"]["layers"] = [shape] * count
        saving.write(path, {"kind": "model", "model": description}, {})
        refuse(path, error, message, peak=40e6)


def test_models_within_models(path):
    model = {"class_name": "ReLU", "config": {}}
    depth = 0
    try:
        while depth < 100:
            outer = {"class_name": "Sequential", "config": {"name": "x", "layers": [model]}}
            saving.write(path, {"kind": "model", "model": outer}, {})
            model, depth = outer, depth + 1
    except ValueError as error:
        assert "nested deeper than 64 levels" in str(error)  # noqa: PT017
    assert depth > 10
    refuse(path, MisfitError, "does not know the shape")


def test_many_unknown_arguments(path):
    many = {f"{i:x}": 0 for i in range(80_000)}
    sealing.change(path, change_layer(DENSE, **many))
    refuse(path, MisfitError, "Dense has no argument", peak=40e6)


@pytest.mark.parametrize("unique", [True, False])
def test_many_metrics(path, unique):
    def edit(header, arrays):
        header["compiled"]["metrics"] = [
            {"class_name": "Accuracy", "config": {"name": f"{i * unique:x}"}} for i in range(15_000)
        ]

    sealing.change(path, edit)
    if unique:  # nothing is wrong with that
        began = time.process_time()
        assert len(load_model(path).metrics_given) == 15_000
        assert time.process_time() - began < 2
    else:
        refuse(path, MisfitError, "is the name of more than one", peak=40e6)


@pytest.mark.parametrize("argument", ["activation", "kernel_initializer", "padding", "name"])
def test_endless_text(path, argument):
    sealing.change(path, change_layer(CONV, **{argument: "\N{SNOWMAN}" * 300_000}))
    refuse(path, MisfitError)


# --- tensors -------------------------------------------------------------------------------------


def remove(name):
    return lambda header, arrays: arrays.pop(name)


def put(name, array):
    return lambda header, arrays: arrays.update({name: array})


@pytest.mark.parametrize(
    "name",
    [
        "weights/conv2d/kernel",
        "weights/dense/bias",
        "weights/batch_normalization/moving_variance",
        "optimizer/dense/kernel/m",
        "optimizer/dense_1/bias/v",
    ],
)
def test_tensors_that_are_missing(path, name):
    sealing.change(path, remove(name))
    refuse(path, MisfitError, f"it lacks the tensor '{name}'")


@pytest.mark.parametrize(
    "name",
    [
        "weights", "weights/dense", "weights/dense/gamma", "weights/dense/kernel/m", "dense/kernel",
        "weights/inner/dropout/kernel", "optimizer/dense/kernel", "optimizer/dense/kernel/velocity",
        "optimizer/batch_normalization/moving_mean/m", "training/0", "weights/Dense/kernel",
    ],
)  # fmt: skip
def test_tensors_that_are_extra(path, name):
    sealing.change(path, put(name, np.zeros((8, 8), np.float32)))
    refuse(path, MisfitError, f"its model has no place for the tensor '{name}'")


def test_slots_without_an_optimizer(path):
    sealing.change(path, lambda header, arrays: header.update(compiled=None))
    refuse(path, MisfitError, "no place for the tensor 'optimizer/")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(), (8,), (64,), (8, 8), (8, 8, 1), (1, 8, 8), (8, 9), (4, 16)])
@pytest.mark.parametrize("name", ["weights/dense/kernel", "optimizer/dense/kernel/v"])
def test_tensors_of_another_shape_or_dtype(path, name, shape, dtype):
    sealing.change(path, put(name, np.ones(shape, dtype)))
    if shape == (8, 8) and dtype == "float32":
        load_model(path)
    else:
        refuse(path, MisfitError, rf"its tensor '{name}' is .* its model needs \(8, 8\) in float32")


def test_tensors_may_stand_in_any_order(path):
    expected = load_model(path)

    def edit(header, arrays):
        turned = dict(reversed(arrays.items()))
        arrays.clear()
        arrays.update(turned)

    sealing.change(path, edit)
    for there, here in zip(load_model(path).weights, expected.weights, strict=True):
        np.testing.assert_array_equal(there, here)


def test_weights_swapped_between_tensors_of_one_shape(path):
    names = "weights/dense/kernel", "weights/dense_1/kernel"
    with saving.ModelFile(path) as file:
        one, other = (file.tensors[name] for name in names)
    assert (one.shape, one.bytes) == (other.shape, other.bytes)
    data = bytearray(path.read_bytes())
    places = [slice(tensor.offset, tensor.offset + tensor.bytes) for tensor in (one, other)]
    data[places[0]], data[places[1]] = data[places[1]], data[places[0]]
    path.write_bytes(data)
    refuse(path, CorruptError, "its tensor 'weights/dense/kernel' is corrupt")


def test_a_corrupt_tensor_is_named(path):
    data = bytearray(path.read_bytes())
    with saving.ModelFile(path) as file:
        data[file.tensors["weights/dense/bias"].offset] ^= 1
    path.write_bytes(data)
    refuse(path, CorruptError, "its tensor 'weights/dense/bias' is corrupt")


def test_names_exchanged_in_the_table_of_a_sealed_file_are_another_model(path):
    # No checksum can tell: whoever seals a file says what is in it.
    def edit(header):
        rows = {row["name"]: row for row in header["tensors"]}
        one, other = rows["weights/dense/kernel"], rows["weights/dense_1/kernel"]
        one["name"], other["name"] = other["name"], one["name"]
        return json.dumps(header).encode()

    before = load_model(path)
    sealing.write_text(path, edit)
    np.testing.assert_array_equal(
        load_model(path).layers[-1].params["kernel"], before.layers[-2].params["kernel"]
    )


# --- the optimizer and the generators ------------------------------------------------------------


@pytest.mark.parametrize("value", [-1, 1.5, True, "1", None, [], 1 << 62, 10**20 - 1])
def test_counts_of_steps(path, value):
    sealing.change(path, lambda header, arrays: header["compiled"].update(iterations=value))
    refuse(path, MisfitError, "iterations must be")


@pytest.mark.parametrize(
    "config",
    [
        {"learning_rate": -1}, {"learning_rate": "0.1"}, {"learning_rate": None}, {"beta_1": 1},
        {"beta_2": 2}, {"epsilon": 0}, {"name": 3}, {"momentum": 0.9}, {"clipnorm": 1}, {"self": 1},
        [], None, 3,
    ],
)  # fmt: skip
def test_arguments_of_the_optimizer(path, config):
    def edit(header, arrays):
        header["compiled"]["optimizer"]["config"] = config

    sealing.change(path, edit)
    refuse(path, MisfitError)


def test_slots_of_another_optimizer(path):
    def edit(header, arrays):
        header["compiled"]["optimizer"] = {"class_name": "RMSprop", "config": {}}

    sealing.change(path, edit)
    refuse(path, MisfitError, "its model has no place for the tensor 'optimizer/")


@pytest.mark.parametrize("key", ["optimizer", "iterations", "loss", "metrics"])
def test_a_part_of_compiled_that_is_missing(path, key):
    sealing.change(path, lambda header, arrays: header["compiled"].pop(key))
    refuse(path, MalformedError, "must have optimizer, iterations, loss and metrics")
    sealing.change(path, lambda header, arrays: header["compiled"].update({key: None, "more": 1}))
    refuse(path, MalformedError, "must have optimizer, iterations, loss and metrics")


@pytest.mark.parametrize("scores", [None, 3, "accuracy", {}, [3], [None], [[]], ["none"], [{}]])
def test_metrics_that_are_none(path, scores):
    sealing.change(path, lambda header, arrays: header["compiled"].update(metrics=scores))
    refuse(path, MisfitError if isinstance(scores, list) else MalformedError)


@pytest.mark.parametrize("k", [0, -1, 1.5, "5", None, True])
def test_arguments_of_metrics(path, k):
    metric = {"class_name": "TopKCategoricalAccuracy", "config": {"k": k}}
    sealing.change(path, lambda header, arrays: header["compiled"].update(metrics=[metric]))
    refuse(path, MisfitError, "k must be an integer")


WHOLE = {"state": "0" * 32, "inc": "0" * 31 + "1", "has_uint32": 0, "uinteger": 0}


@pytest.mark.parametrize(
    "state",
    [
        None, 3, [], "x", {}, WHOLE | {"more": 1}, {k: v for k, v in WHOLE.items() if k != "inc"},
        WHOLE | {"state": "0" * 31}, WHOLE | {"state": "0" * 33}, WHOLE | {"state": "g" * 32},
        WHOLE | {"state": "A" * 32}, WHOLE | {"state": 0}, WHOLE | {"state": "0" * 31 + "\n"},
        WHOLE | {"state": "0" * 32 + "\n"}, WHOLE | {"inc": "0" * 32},
        WHOLE | {"inc": "f" * 31 + "e"},
        WHOLE | {"inc": None}, WHOLE | {"has_uint32": 2}, WHOLE | {"has_uint32": True},
        WHOLE | {"has_uint32": -1}, WHOLE | {"has_uint32": 0.0}, WHOLE | {"uinteger": -1},
        WHOLE | {"uinteger": 1 << 32}, WHOLE | {"uinteger": 1.0}, WHOLE | {"uinteger": None},
    ],
)  # fmt: skip
def test_broken_states_of_generators(path, state):
    def edit(header, arrays):
        assert header["generators"].keys() == {"inner/dropout"}
        header["generators"]["inner/dropout"] = state

    sealing.change(path, edit)
    refuse(path, MisfitError, "no state of a PCG64 generator")


def test_a_whole_state_is_taken(path):
    sealing.change(
        path, lambda header, arrays: header["generators"].update({"inner/dropout": WHOLE})
    )
    assert random.state_of(load_model(path).layers[3].layers[1].rng) == WHOLE


@pytest.mark.parametrize(
    "states",
    [{}, {"dropout": WHOLE}, {"inner/dropout": WHOLE, "dense": WHOLE}, {"inner": WHOLE}, None, []],
)
def test_generators_of_other_layers(path, states):
    sealing.change(path, lambda header, arrays: header.update(generators=states))
    refuse(path, MisfitError, "the states of the generators of inner/dropout, got")


# --- what does not matter ------------------------------------------------------------------------


def test_more_keys_in_the_header_do_not_matter(path):
    # A later minor version may add some.
    sealing.change(path, lambda header, arrays: header.update(later={"anything": [1, 2, 3]}))
    load_model(path)


def test_a_text_with_white_space_and_escapes(path):
    sealing.write_text(path, lambda header: json.dumps(header, indent=1).encode())
    load_model(path)


def test_errors_of_the_operating_system_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing.tinynet")


def test_nothing_escapes_that_is_no_error_of_the_file(path, monkeypatch):
    # What a layer may raise one day that nobody thought of.
    for error in (
        KeyError("x"),
        RecursionError(),
        MemoryError(),
        AttributeError(),
        ZeroDivisionError(),
    ):

        def raise_it(*_, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(layers.Dense, "output_shape", raise_it)
            with pytest.raises(MisfitError, match="no model can be made of it"):
                load_model(path)
    with monkeypatch.context() as patch:
        patch.setattr(
            layers.Dense, "output_shape", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            load_model(path)
