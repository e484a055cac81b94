# A deeper network, trained slowly: learning curves and a look at the weights.
import keras
import matplotlib.pyplot as plt
import numpy as np

(X_train, y_train), (X_test, y_test) = keras.datasets.fashion_mnist.load_data()
class_names = np.array(["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"])  # fmt: skip
print(X_train.shape, X_train.dtype)
X_train, X_test = X_train / 255.0, X_test / 255.0
print(class_names[y_train[0]])

model = keras.models.Sequential()
model.add(keras.layers.Flatten(input_shape=[28, 28]))
model.add(keras.layers.Dense(100, activation="relu"))
model.add(keras.layers.Dense(75, activation="relu"))
model.add(keras.layers.Dense(10, activation="softmax"))
model.summary()
print([layer.name for layer in model.layers])

hidden1 = model.layers[1]
assert model.get_layer(hidden1.name) is hidden1
weights, biases = hidden1.get_weights()
print(weights, weights.shape)
print(biases, biases.shape)
assert weights.shape == (784, 100)
assert np.all(biases == 0)
assert np.abs(weights).max() <= np.sqrt(6 / (784 + 100))

model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
history = model.fit(X_train, y_train, epochs=50, validation_split=0.15)
print(history.params, history.epoch[-1], list(history.history))

for name, values in history.history.items():
    plt.plot(history.epoch, values, label=name)
plt.grid(True)
plt.gca().set_ylim(0, 1)
plt.legend()
plt.savefig("learning_curves.png")

test_loss, test_accuracy = model.evaluate(X_test, y_test)

X_new = X_test[:3]
y_proba = model.predict(X_new)
print(y_proba.round(2))
y_pred = np.argmax(y_proba, axis=-1)
print(y_pred, class_names[y_pred], y_test[:3])

trained, _ = hidden1.get_weights()
assert trained.shape == weights.shape
assert np.any(trained != weights)
