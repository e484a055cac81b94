"""A network in Keras, and, changing nothing but the module, in tinynet."""

from typing import Any

from networks import CLASSES, MODELS, Array


class Network:
    """The model as Keras's users write it: compile, fit, predict, evaluate."""

    def __init__(
        self, keras: Any, model: str, batch_size: int, weights: list[Array] | None
    ) -> None:
        layers, recipe = keras.layers, MODELS[model]
        parts = [keras.Input(shape=(28, 28, 1) if recipe.convolutions else (28, 28))]
        for filters in recipe.convolutions:
            parts += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2)]
        parts.append(layers.Flatten())
        parts += [layers.Dense(units, activation="relu") for units in recipe.hidden]
        self.model = keras.Sequential([*parts, layers.Dense(CLASSES)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer=recipe.optimizer, loss=loss, metrics=["accuracy"])
        if weights is not None:
            self.model.set_weights(weights)
        self.batch_size = batch_size

    @property
    def weights(self) -> list[Array]:
        """Kernel and bias, layer by layer."""
        return self.model.get_weights()

    def data(self, x: Array, y: Array) -> tuple[Array, Array]:
        """NumPy's arrays are what fit takes."""
        return x, y

    def fit(self, x: Array, y: Array, shuffle: bool = True) -> float:
        """One epoch; returns the mean loss."""
        history = self.model.fit(
            x, y, batch_size=self.batch_size, epochs=1, verbose=0, shuffle=shuffle
        )
        return history.history["loss"][0]

    def predict(self, x: Array) -> Array:
        """The logits, in batches of 32."""
        return self.model.predict(x, verbose=0)

    def evaluate(self, x: Array, y: Array) -> tuple[float, float]:
        """Mean loss and accuracy, in batches of 32."""
        loss, accuracy = self.model.evaluate(x, y, verbose=0)
        return loss, accuracy
