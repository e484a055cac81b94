import numpy as np
import pytest

from tinynet import Input, Model, Sequential, layers, losses
from tinynet.utils import set_random_seed


def mlp(**kwargs):
    return Sequential([Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)], **kwargs)


def data(n=12, features=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, features)).astype(np.float32), rng.integers(0, 3, n)


def names(model):
    return [layer.name for layer in model.layers]


class TestConstruction:
    def test_a_list_and_add_make_the_same_model(self):
        listed = mlp()
        set_random_seed(0)
        added = Sequential()
        for layer in (Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)):
            assert added.add(layer) is None
        assert names(added) == names(listed) == ["dense", "dense_1"]
        for a, b in zip(added.weights, listed.weights, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_any_iterable_of_layers_will_do(self):
        model = Sequential(layers.Dense(units, input_shape=(2,)) for units in (2, 2))
        assert [w.shape for w in model.weights] == [(2, 2), (2,), (2, 2), (2,)]

    def test_input_is_not_among_the_layers(self):
        model = mlp()
        assert model.input_shape == (4,)
        assert [type(layer) for layer in model.layers] == [layers.Dense, layers.Dense]

    def test_input_shape_of_the_first_layer_builds_the_model(self):
        model = Sequential([layers.Flatten(input_shape=(2, 3)), layers.Dense(4)])
        assert model.built
        assert model.input_shape == (2, 3)
        assert model.layers[1].params["kernel"].shape == (6, 4)

    def test_each_layer_is_built_as_it_is_added(self):
        model = Sequential([Input((4,))])
        dense = layers.Dense(3)
        assert not dense.built
        model.add(dense)
        assert dense.built
        assert dense.params["kernel"].shape == (4, 3)

    def test_without_a_shape_nothing_is_built(self):
        model = Sequential([layers.Dense(5), layers.Dense(3)])
        assert not model.built
        assert model.input_shape is None
        assert model.weights == []

    def test_the_same_weights_whether_built_early_or_late(self):
        early = mlp().get_weights()
        set_random_seed(0)
        late = Sequential([layers.Dense(5, activation="relu"), layers.Dense(3)])
        late.build((4,))
        for a, b in zip(early, late.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("shape", [(4,), [4], (None, 4), [None, 4], (np.int64(4),)])
    def test_build_takes_a_shape_with_or_without_the_batch_axis(self, shape):
        model = Sequential([layers.Dense(3)])
        model.build(shape)
        assert model.built
        assert model.input_shape == (4,)

    def test_build_draws_from_the_generator_it_is_given(self):
        made = []
        for _ in range(2):
            model = Sequential([layers.Dense(3)])
            model.build((4,), np.random.default_rng(5))
            made.append(model.get_weights()[0])
        np.testing.assert_array_equal(*made)

    def test_building_twice_keeps_the_weights(self):
        model = mlp()
        before = model.get_weights()
        model.build((4,))
        for a, b in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_building_for_another_shape_is_refused(self):
        with pytest.raises(ValueError, match=r"was built for \(4,\), got \(7,\)"):
            mlp().build((7,))

    @pytest.mark.parametrize("shape", [None, 4, "ab"])
    def test_build_takes_shapes_only(self, shape):
        with pytest.raises(TypeError, match=r"input_shape must be a tuple .* got"):
            Sequential([layers.Dense(3)]).build(shape)

    @pytest.mark.parametrize("shape", [(0,), (-1,), (None, None), (2.0,)])
    def test_build_takes_positive_sizes_only(self, shape):
        with pytest.raises(ValueError, match="input_shape must hold positive integers"):
            Sequential([layers.Dense(3)]).build(shape)

    def test_a_model_of_nothing_says_so(self):
        with pytest.raises(ValueError, match="has no layers; add some first"):
            Sequential().build((4,))
        with pytest.raises(ValueError, match="has no layers; add some first"):
            Sequential()(np.zeros((2, 4)))

    def test_is_a_model_and_a_layer(self):
        assert isinstance(mlp(), Model)
        assert isinstance(mlp(), layers.Layer)

    def test_a_scalar_a_sample_does_not_fit_dense(self):
        with pytest.raises(ValueError, match=r"add the feature axis: x\[:, None\]"):
            Sequential([Input(()), layers.Dense(3)])

    def test_from_config_makes_a_model_of_the_same_layers(self):
        model = mlp(name="net")
        again = Sequential.from_config(model.get_config())
        assert again.name == "net"
        assert again.get_config() == model.get_config()
        assert not {*map(id, again.layers)} & {*map(id, model.layers)}

    def test_repr_shows_the_layers(self):
        assert repr(Sequential([Input((2,)), layers.Dense(3)])) == (
            "Sequential(name='sequential', layers=[Input(name='input', shape=(2,)), "
            "Dense(name='dense', units=3, activation='linear')])"
        )


class TestNames:
    def test_layers_are_numbered_for_each_model_from_the_start(self):
        def make():
            return Sequential(
                [
                    layers.Conv2D(2, 3, input_shape=(9, 9, 1)),
                    layers.MaxPooling2D(),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                    layers.Conv2D(2, 3),
                    layers.GlobalAveragePooling2D(),
                    layers.Flatten(),
                    layers.Dense(2),
                    layers.Dense(2),
                    layers.Dense(2),
                ]
            )

        expected = [
            "conv2d", "max_pooling2d", "batch_normalization", "re_lu", "conv2d_1",
            "global_average_pooling2d", "flatten", "dense", "dense_1", "dense_2",
        ]  # fmt: skip
        assert names(make()) == expected
        assert names(make()) == expected

    def test_a_given_name_is_kept_and_numbers_go_round_it(self):
        model = Sequential([layers.Dense(1, name="dense_1"), layers.Dense(1), layers.Dense(1)])
        assert names(model) == ["dense_1", "dense", "dense_2"]

    def test_a_given_name_twice_is_refused(self):
        model = Sequential([layers.Dense(1, name="out")])
        with pytest.raises(ValueError, match=r"has a layer called 'out' already; .* name="):
            model.add(layers.Dense(1, name="out"))
        assert names(model) == ["out"]

    def test_a_layer_that_is_built_keeps_its_name(self):
        # Its weights are known by that name to an optimizer.
        dense = Sequential([layers.Dense(2, input_shape=(4,))]).layers[0]
        model = Sequential([layers.Dense(4, input_shape=(4,))])
        with pytest.raises(ValueError, match="has a layer called 'dense' already"):
            model.add(dense)
        assert dense.name == "dense"

    def test_get_layer(self):
        model = mlp()
        assert model.get_layer("dense_1") is model.layers[1]
        assert model.get_layer(index=0) is model.get_layer(index=-2) is model.layers[0]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"name": "dens"}, ValueError, "did you mean 'dense'"),
            ({"index": 2}, ValueError, "has 2 layers, got index 2"),
            ({"index": -3}, ValueError, "has 2 layers, got index -3"),
            ({"index": "dense"}, TypeError, "index must be an integer"),
            ({}, ValueError, "give name or index"),
            ({"name": "dense", "index": 0}, ValueError, "give name or index"),
        ],
    )
    def test_get_layer_refuses(self, arguments, error, message):
        with pytest.raises(error, match=message):
            mlp().get_layer(**arguments)


class TestAddAndPop:
    def test_pop_returns_the_last_layer(self):
        model = mlp()
        last = model.layers[-1]
        assert model.pop() is last
        assert model(data()[0]).shape == (12, 5)
        assert [w.shape for w in model.weights] == [(4, 5), (5,)]

    def test_another_head_can_take_the_place(self):
        model = mlp()
        body = model.layers[0].params["kernel"].copy()
        model.pop()
        model.add(layers.Dense(7, activation="softmax"))
        assert names(model) == ["dense", "dense_1"]
        assert model.predict(data()[0], verbose=0).shape == (12, 7)
        np.testing.assert_array_equal(model.layers[0].params["kernel"], body)

    def test_the_shape_stays_when_all_layers_went(self):
        model = Sequential([Input((4,)), layers.Dense(5)])
        model.pop()
        assert not model.built
        model.add(layers.Dense(2))
        assert model.weights[0].shape == (4, 2)

    def test_pop_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="has no layers to take off"):
            Sequential().pop()

    @pytest.mark.parametrize(
        ("layer", "error", "message"),
        [
            (
                lambda m: layers.Dense,
                TypeError,
                r"takes a layer, got the class; .* Dense\(\.\.\.\)",
            ),
            (lambda m: "dense", TypeError, "takes a layer, got 'dense' of type str"),
            (lambda m: abs, TypeError, "takes a layer, got .*abs"),
            (lambda m: None, TypeError, "takes a layer, got None"),
            (lambda m: m.layers[0], ValueError, "Dense 'dense' is in .* already"),
            (lambda m: m, ValueError, "is in .* already"),
            (lambda m: Sequential([m]), ValueError, "is in .* already"),
            (lambda m: Sequential([m.layers[0]]), ValueError, "Dense 'dense' is in .* already"),
            (lambda m: Input((3,)), ValueError, "Input must stand first"),
            (lambda m: layers.Dense(2, name="dense"), ValueError, "called 'dense' already"),
            (lambda m: layers.Dense(2, input_shape=(9,)), ValueError, r"shape \(9,\), got \(3,\)"),
            (lambda m: layers.Conv2D(2, 3), ValueError, "takes images of shape"),
            (lambda m: layers.Reshape((2, 2)), ValueError, "cannot put the 3 entries"),
            (lambda m: mlp(name="other"), ValueError, r"of shape \(4,\), got \(3,\)"),
            (lambda m: mlp(name="other", dtype="float64"), ValueError, "built in float64"),
        ],
    )
    def test_a_refused_layer_leaves_the_model_as_it_was(self, layer, error, message):
        model = mlp()
        before, kept = model.get_weights(), names(model)
        x, _ = data()
        y = model(x)
        with pytest.raises(error, match=message):
            model.add(layer(model))
        assert names(model) == kept
        assert model.built
        for a, b in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(model(x), y)
        model.add(layers.Softmax())
        assert model.predict(x, verbose=0).shape == (12, 3)

    def test_a_refused_layer_is_as_it_was_too(self):
        conv = layers.Conv2D(2, 3)
        with pytest.raises(ValueError, match="takes images"):
            Sequential([Input((4,)), layers.Conv2D(1, 1, name="first")])
        model = Sequential([Input((5, 5, 1)), layers.Conv2D(1, 3), layers.Flatten()])
        with pytest.raises(ValueError, match="takes images"):
            model.add(conv)
        assert conv.name == "conv2d"
        assert not conv.built

    def test_a_window_larger_than_what_is_left_is_refused_when_it_is_added(self):
        model = Sequential([layers.MaxPooling2D(4, input_shape=(9, 9, 1))])
        with pytest.raises(ValueError, match="a window of 3x3 does not fit images of 2x2"):
            model.add(layers.Conv2D(1, 3))

    @pytest.mark.parametrize("wrong", [layers.Dense(3), 5])
    def test_layers_come_as_a_list(self, wrong):
        with pytest.raises(TypeError, match="layers must be a list of layers, got"):
            Sequential(wrong)

    def test_an_unknown_argument_is_named(self):
        with pytest.raises(TypeError, match="layer"):
            Sequential(layer=[])


class TestWeights:
    def test_weights_are_the_arrays_in_order(self):
        model = Sequential(
            [layers.Dense(2, input_shape=(3,)), layers.BatchNormalization(), layers.Dense(1)]
        )
        a, norm, b = model.layers
        own = [
            *(a.params["kernel"], a.params["bias"]),
            *(norm.params["gamma"], norm.params["beta"]),
            *(norm.state["moving_mean"], norm.state["moving_variance"]),
            *(b.params["kernel"], b.params["bias"]),
        ]
        assert all(x is y for x, y in zip(model.weights, own, strict=True))
        assert list(model.params) == [
            "dense/kernel", "dense/bias", "batch_normalization/gamma",
            "batch_normalization/beta", "dense_1/kernel", "dense_1/bias",
        ]  # fmt: skip
        assert list(model.grads) == list(model.params)
        assert list(model.state) == [
            "batch_normalization/moving_mean",
            "batch_normalization/moving_variance",
        ]

    def test_get_weights_gives_copies(self):
        model = mlp()
        copies = model.get_weights()
        for copy, own in zip(copies, model.weights, strict=True):
            assert not np.shares_memory(copy, own)
            np.testing.assert_array_equal(copy, own)

    def test_set_weights_copies(self):
        model = mlp()
        given = [np.full(w.shape, i, np.float64) for i, w in enumerate(model.weights)]
        model.set_weights(given)
        given[0][...] = 99
        for i, own in enumerate(model.get_weights()):
            assert own.dtype == np.float32
            np.testing.assert_array_equal(own, i)

    def test_weights_carry_from_model_to_model(self):
        a, b = mlp(), mlp()
        x, _ = data()
        assert (a(x) != b(x)).any()
        b.set_weights(a.get_weights())
        np.testing.assert_array_equal(a(x), b(x))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda w: w[:-1], "has 4 weight arrays, got 3"),
            (lambda w: [*w, w[0]], "has 4 weight arrays, got 5"),
            (lambda w: [], "has 4 weight arrays, got 0"),
            (lambda w: [*w[:3], np.zeros(4)], r"weight 3 has shape \(3,\), got \(4,\)"),
            (lambda w: [w[0].T, *w[1:]], r"weight 0 has shape \(4, 5\), got \(5, 4\)"),
            (lambda w: [w[0], 0.0, *w[2:]], r"weight 1 has shape \(5,\), got \(\)"),
        ],
    )
    def test_set_weights_that_do_not_fit_changes_nothing(self, change, message):
        model = mlp()
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            model.set_weights(change([w + 1 for w in before]))
        for a, b in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("wrong", [None, 3, np.zeros((4, 5))])
    def test_set_weights_takes_a_list(self, wrong):
        with pytest.raises(TypeError, match="weights must be a list of arrays"):
            mlp().set_weights(wrong)

    def test_set_weights_before_there_are_any(self):
        with pytest.raises(ValueError, match="has 0 weight arrays, got 2; it has none before"):
            Sequential([layers.Dense(3)]).set_weights([np.zeros((4, 3)), np.zeros(3)])

    def test_count_params(self):
        assert mlp().count_params() == 4 * 5 + 5 + 5 * 3 + 3
        cnn = Sequential(
            [
                layers.Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        assert cnn.count_params() == 225_034
        with pytest.raises(ValueError, match="has no params before"):
            Sequential([layers.Dense(3)]).count_params()


class TestNesting:
    def test_softmax_after_a_trained_model(self):
        model = mlp()
        model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
        x, y = data()
        model.fit(x, y, verbose=0)
        probabilities = Sequential([model, layers.Softmax()])
        z = model.predict(x, verbose=0)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities.predict(x, verbose=0), p, rtol=1e-5)
        np.testing.assert_allclose(probabilities(x), p, rtol=1e-5)

    def test_the_weights_are_shared(self):
        inner = mlp()
        outer = Sequential([inner, layers.Softmax()])
        assert all(a is b for a, b in zip(outer.weights, inner.weights, strict=True))
        assert outer.count_params() == inner.count_params() == 43
        outer.compile("sgd", "sparse_categorical_crossentropy")
        before = inner.get_weights()
        x, y = data()
        outer.fit(x, y, verbose=0)
        for old, new in zip(before, inner.weights, strict=True):
            assert (old != new).any()
        inner.set_weights([np.zeros_like(w) for w in before])
        np.testing.assert_allclose(outer.predict(x, verbose=0), 1 / 3, rtol=1e-6)

    def test_training_the_inner_changes_the_outer(self):
        inner = mlp()
        outer = Sequential([inner, layers.Softmax()])
        x, y = data()
        before = outer(x)
        inner.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
        inner.fit(x, y, verbose=0)
        assert (outer(x) != before).any()

    def test_a_nested_model_trains_as_the_flat_one_does(self):
        flat = mlp(dtype="float64")
        nested = Sequential(
            [
                Sequential([layers.Dense(5, activation="relu", input_shape=(4,))], dtype="float64"),
                Sequential([layers.Dense(3)], name="head"),
            ],
            dtype="float64",
        )
        nested.set_weights(flat.get_weights())
        x, y = data()
        for model in (flat, nested):
            model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
            model.fit(x, y, epochs=3, batch_size=5, shuffle=False, verbose=0)
        for a, b in zip(flat.weights, nested.weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert list(nested.params) == [
            "sequential/dense/kernel",
            "sequential/dense/bias",
            "head/dense/kernel",
            "head/dense/bias",
        ]
        assert set(nested.optimizer.slots) == set(nested.params)

    def test_the_gradient_goes_through_a_nested_model(self):
        flat = mlp(dtype="float64")
        nested = Sequential(
            [Sequential([flat.layers[0]], dtype="float64"), flat.layers[1]], dtype="float64"
        )
        x, dy = data()[0], np.random.default_rng(1).standard_normal((12, 3))
        flat.forward(x, training=True)
        dx, grads = flat.backward(dy), [g.copy() for g in flat.grads.values()]
        nested.forward(x, training=True)
        np.testing.assert_array_equal(nested.backward(dy), dx)
        for a, b in zip(nested.grads.values(), grads, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_frozen_inner_model_does_not_learn(self):
        inner = Sequential([layers.Dense(5, input_shape=(4,))], name="body", trainable=False)
        outer = Sequential([inner, layers.Dense(3)])
        outer.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
        before = outer.get_weights()
        x, y = data()
        outer.fit(x, y, verbose=0)
        changed = [(a != b).any() for a, b in zip(before, outer.weights, strict=True)]
        assert changed == [False, False, True, True]
        assert list(outer.trainable_params) == ["dense/kernel", "dense/bias"]
        inner.trainable = True
        outer.fit(x, y, verbose=0)
        assert (before[0] != outer.weights[0]).any()

    def test_a_model_inside_is_built_with_the_outer_one(self):
        inner = Sequential([layers.Dense(5), layers.Dense(2)], name="inner")
        outer = Sequential([Input((4,)), inner], dtype="float64")
        assert inner.built
        assert inner.input_shape == (4,)
        assert inner.dtype == "float64"
        assert all(w.dtype == np.float64 for w in outer.weights)

    def test_a_layer_hidden_in_a_nested_model_counts_as_the_same(self):
        dense = layers.Dense(4)
        inner = Sequential([dense])
        with pytest.raises(ValueError, match="Dense 'dense' is in Sequential 'sequential' already"):
            Sequential([dense, inner])
        with pytest.raises(ValueError, match="Dense 'dense' is in Sequential 'sequential' already"):
            Sequential([Sequential([inner]), dense])

    def test_two_models_get_two_names(self):
        encoder = Sequential([layers.Dense(2, input_shape=(4,))])
        decoder = Sequential([layers.Dense(4, input_shape=(2,))])
        both = Sequential([encoder, decoder])
        assert [layer.name for layer in both.layers] == ["sequential", "sequential_1"]
        assert list(both.params)[2:] == ["sequential_1/dense/kernel", "sequential_1/dense/bias"]
        assert both(np.zeros((3, 4))).shape == (3, 4)

    def test_a_name_that_is_in_use_elsewhere_stays(self):
        encoder = Sequential([layers.Dense(2, input_shape=(4,))])
        decoder = Sequential([layers.Dense(4, input_shape=(2,))])
        Sequential([decoder])
        with pytest.raises(ValueError, match=r"called 'sequential' already; give one another name"):
            Sequential([encoder, decoder])
        named = Sequential([layers.Dense(4, input_shape=(2,))], name="decoder")
        assert Sequential([encoder, named])(np.zeros((3, 4))).shape == (3, 4)

    def test_a_model_nested_before_it_knew_its_shape(self):
        inner = Sequential([layers.Dense(3)])
        outer = Sequential([inner, layers.Softmax()])
        with pytest.raises(ValueError, match="does not know its input's shape"):
            outer.predict(np.zeros((2, 4)), verbose=0)
        inner.compile("sgd", "mse")
        inner.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
        y = outer.predict(np.ones((2, 4)), verbose=0)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)


class TestForward:
    def test_writing_to_the_output_leaves_the_gradient_alone(self):
        model = Sequential([layers.Dense(3, "softmax", input_shape=(4,))])
        x, dy = np.ones((2, 4), np.float32), np.eye(2, 3, dtype=np.float32)
        model.forward(x, training=True)
        expected = model.backward(dy)
        model.forward(x, training=True)[...] = 0
        np.testing.assert_array_equal(model.backward(dy), expected)

    def test_is_the_chain(self):
        model = mlp()
        x, _ = data()
        (k1, b1, k2, b2) = model.get_weights()
        np.testing.assert_allclose(
            model.forward(x), np.maximum(x @ k1 + b1, 0) @ k2 + b2, rtol=1e-4, atol=1e-6
        )

    def test_a_call_builds_the_model(self):
        model = Sequential([layers.Dense(3)])
        assert model(np.zeros((2, 4))).shape == (2, 3)
        assert model.input_shape == (4,)

    @pytest.mark.parametrize("last", [None, "relu", "sigmoid", "tanh", "softmax"])
    @pytest.mark.parametrize("method", ["forward", "predict", "__call__", "predict_on_batch"])
    def test_what_comes_back_is_the_callers_own(self, method, last):
        model = Sequential([Input((3,)), layers.Activation(last)])
        x = np.ones((2, 3), np.float32)
        options = {"verbose": 0} if method == "predict" else {}
        first = getattr(model, method)(x, **options)
        kept = first.copy()
        first[...] = 7
        np.testing.assert_array_equal(x, 1)
        np.testing.assert_array_equal(getattr(model, method)(x, **options), kept)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("given", [np.uint8, np.int64, np.bool, np.float16, "f4", "f8", ">f4"])
    def test_any_numbers_come_out_in_the_models_dtype(self, given, dtype):
        model = mlp(dtype=dtype)
        x = np.array([[0, 1, 1, 0], [1, 0, 1, 1]])
        expected = model(x.astype(dtype))
        assert expected.dtype == dtype
        out = model.predict(x.astype(given), verbose=0)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, expected)

    def test_lists_and_any_memory_order_will_do(self):
        model = mlp()
        x, _ = data()
        expected = model.predict(x, verbose=0)
        for same in (x.tolist(), np.asfortranarray(x), np.repeat(x, 2, 0)[::2], x[::-1][::-1]):
            np.testing.assert_array_equal(model.predict(same, verbose=0), expected)

    def test_inputs_are_never_written_to(self):
        model = Sequential(
            [Input((4,)), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)]
        )
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        x, y = data()
        x.flags.writeable = y.flags.writeable = False
        kept = x.copy(), y.copy()
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        np.testing.assert_array_equal(x, kept[0])
        np.testing.assert_array_equal(y, kept[1])

    def test_predict_in_any_batch_size(self):
        model = mlp()
        x, _ = data(11)
        expected = model.forward(x)
        for batch_size in (1, 4, 11, 50, None):
            np.testing.assert_allclose(
                model.predict(x, batch_size, verbose=0), expected, rtol=1e-5, atol=1e-6
            )

    def test_predict_a_few_steps_only(self):
        model = mlp()
        x, _ = data(11)
        assert model.predict(x, 4, verbose=0, steps=2).shape == (8, 3)
        assert model.predict(x, 4, verbose=0, steps=9).shape == (11, 3)

    def test_predict_before_the_shape_is_known(self):
        model = Sequential([layers.Dense(3)])
        for method in (model.predict, model.predict_on_batch):
            with pytest.raises(ValueError, match=r"does not know .* Input\(shape\), or call fit"):
                method(np.zeros((2, 4)))
        assert not model.built

    def test_backward_needs_a_forward_in_training(self):
        model = mlp()
        x, _ = data()
        model.forward(x)
        with pytest.raises(ValueError, match=r"backward\(dy\) needs a forward\(x, training=True\)"):
            model.backward(np.zeros((12, 3)))

    def test_backward_params_gives_the_gradients_of_backward(self):
        model = Sequential(
            [
                layers.Conv2D(2, 2, activation="tanh", input_shape=(4, 4, 1)),
                layers.Flatten(),
                layers.Dense(3),
            ],
            dtype="float64",
        )
        rng = np.random.default_rng(3)
        x, dy = rng.standard_normal((5, 4, 4, 1)), rng.standard_normal((5, 3))
        model.forward(x, training=True)
        model.backward(dy)
        expected = {key: grad.copy() for key, grad in model.grads.items()}
        for grad in model.grads.values():
            grad[...] = np.nan
        model.forward(x, training=True)
        model.backward_params(dy)
        for key, grad in model.grads.items():
            np.testing.assert_array_equal(grad, expected[key])


class TestDtype:
    def test_float32_by_default(self):
        assert {w.dtype.name for w in mlp().weights} == {"float32"}

    def test_float64_all_through(self):
        model = Sequential(
            [
                layers.Rescaling(1 / 255, input_shape=(6, 6, 1)),
                layers.Conv2D(2, 3),
                layers.BatchNormalization(),
                layers.MaxPooling2D(),
                layers.Dropout(0.5),
                layers.Flatten(),
                layers.Dense(3, activation="softmax"),
            ],
            dtype="float64",
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        x = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 1), np.uint8)
        model.fit(x, np.arange(8) % 3, verbose=0)
        slots = [slot for group in model.optimizer.slots.values() for slot in group.values()]
        arrays = [*model.weights, *model.grads.values(), *slots]
        assert {a.dtype.name for a in arrays} == {"float64"}
        assert model.predict(x, verbose=0).dtype == np.float64

    @pytest.mark.parametrize("dtype", ["float16", "int32", np.float32, None, "double"])
    def test_others_are_refused(self, dtype):
        with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got"):
            Sequential(dtype=dtype)


class TestDeferred:
    """A model that is built by its first data."""

    def model(self):
        model = Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)])
        model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def test_fit_builds_it(self):
        model = self.model()
        model.fit(np.zeros((4, 5, 5, 1)), [0, 1, 2, 0], verbose=0)
        assert model.input_shape == (5, 5, 1)
        assert model.count_params() == 9 * 2 + 2 + 18 * 3 + 3

    def test_train_on_batch_builds_it(self):
        model = self.model()
        model.train_on_batch(np.zeros((4, 5, 5, 1)), [0, 1, 2, 0])
        assert model.built

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda m, x, y: m.fit(x[..., 0], y), ValueError, r"x\[\.\.\., None\]"),
            (lambda m, x, y: m.train_on_batch(x[..., 0], y), ValueError, r"x\[\.\.\., None\]"),
            (lambda m, x, y: m(x[..., 0]), ValueError, r"x\[\.\.\., None\]"),
            (lambda m, x, y: m.build((5, 5)), ValueError, r"x\[\.\.\., None\]"),
            (lambda m, x, y: m.build((2, 2, 1)), ValueError, "window of 3x3 does not fit"),
            (lambda m, x, y: m.fit(x, y + 5), ValueError, "labels from 0 to 2"),
            (lambda m, x, y: m.fit(x, y, callbacks=[3]), TypeError, "callbacks must be a list"),
            (lambda m, x, y: m.fit(x, y, epochs=0), ValueError, "epochs"),
        ],
    )
    def test_what_does_not_fit_leaves_it_unbuilt_and_usable(self, call, error, message):
        model, x, y = self.model(), np.zeros((4, 5, 5, 1)), np.array([0, 1, 2, 0])
        with pytest.raises(error, match=message):
            call(model, x, y)
        assert not model.built
        assert model.input_shape is None
        assert not any(layer.built for layer in model.layers)
        model.fit(x, y, verbose=0)
        assert model.predict(x, verbose=0).shape == (4, 3)


class TestSummary:
    def text(self, model):
        printed = []
        model.summary(print_fn=printed.append)
        assert len(printed) == 1
        return printed[0]

    def test_of_a_built_model(self):
        model = Sequential(
            [
                layers.Conv2D(4, 3, input_shape=(8, 8, 1)),
                layers.BatchNormalization(),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(100, activation="relu"),
                Sequential([layers.Dense(10)], name="head"),
            ],
            name="net",
        )
        assert (
            self.text(model)
            == """\
Model: "net"
┌──────────────────────────────────────────┬─────────────────┬─────────┐
│ Layer (type)                             │ Output Shape    │ Param # │
├──────────────────────────────────────────┼─────────────────┼─────────┤
│ conv2d (Conv2D)                          │ (None, 6, 6, 4) │      40 │
│ batch_normalization (BatchNormalization) │ (None, 6, 6, 4) │      16 │
│ max_pooling2d (MaxPooling2D)             │ (None, 3, 3, 4) │       0 │
│ flatten (Flatten)                        │ (None, 36)      │       0 │
│ dense (Dense)                            │ (None, 100)     │   3,700 │
│ head (Sequential)                        │ (None, 10)      │   1,010 │
└──────────────────────────────────────────┴─────────────────┴─────────┘
 Total params: 4,766 (18.62 KB)
 Trainable params: 4,758 (18.59 KB)
 Non-trainable params: 8 (32.00 B)"""
        )

    def test_before_the_shape_is_known(self):
        model = Sequential([layers.Flatten(), layers.Dense(3)])
        assert (
            self.text(model)
            == """\
Model: "sequential"
┌───────────────────┬──────────────┬─────────────┐
│ Layer (type)      │ Output Shape │     Param # │
├───────────────────┼──────────────┼─────────────┤
│ flatten (Flatten) │ ?            │ 0 (unbuilt) │
│ dense (Dense)     │ ?            │ 0 (unbuilt) │
└───────────────────┴──────────────┴─────────────┘
 Total params: 0 (0.00 B)
 Trainable params: 0 (0.00 B)
 Non-trainable params: 0 (0.00 B)"""
        )

    def test_float64_takes_twice_the_memory_and_frozen_params_do_not_train(self):
        model = Sequential([layers.Dense(2, input_shape=(3,), trainable=False)], dtype="float64")
        assert self.text(model).splitlines()[-3:] == [
            " Total params: 8 (64.00 B)",
            " Trainable params: 0 (0.00 B)",
            " Non-trainable params: 8 (64.00 B)",
        ]

    def test_is_printed(self, capsys):
        model = mlp()
        model.summary()
        assert capsys.readouterr().out == self.text(model) + "\n"
