"""Two hidden layers, plain gradient descent, fifty epochs: learning slowly and watching it.

Flatten, Dense 100 relu, Dense 75 relu, Dense 10 softmax, trained by SGD with a learning rate of
0.01. The last 15 % of the training images are kept out of training, to validate on.
"""

import sys

from lesson import Lesson, Measured

import tinynet as keras
from tinynet import layers

lesson = Lesson(
    "mlp_100_75", "Fashion-MNIST, two hidden layers and SGD.", epochs=50,
    measured=Measured(
        seeds=5, accuracy=0.8797, lowest=0.8782, highest=0.8829, loss=0.3454, published=0.8761
    ),
)  # fmt: skip

# Load and look.
(train_images, train_labels), (test_images, test_labels) = lesson.load()
class_names = keras.datasets.fashion_mnist.class_names
print(f"Images {train_images.shape}; the first shows: {class_names[train_labels[0]]}\n")
keras.plotting.image_grid(train_images, train_labels, class_names, to_file=lesson.picture("images"))

# Normalize.
train_images = train_images / 255.0
test_images = test_images / 255.0

# Build, and look at the first Dense layer: random weights, zero biases.
model = keras.Sequential()
model.add(layers.Flatten(input_shape=[28, 28]))
model.add(layers.Dense(100, activation="relu"))
model.add(layers.Dense(75, activation="relu"))
model.add(layers.Dense(10, activation="softmax"))
model.summary()
weights, biases = model.layers[1].get_weights()
print(f"{model.layers[1].name}: weights {weights.shape}, within {abs(weights).max():.4f} of 0")
print(f"{model.layers[1].name}: biases {biases.shape}, all zero: {not biases.any()}\n")

# Compile and train.
model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(train_images, train_labels, epochs=lesson.epochs, validation_split=0.15)

# Evaluate.
test_loss, test_accuracy = model.evaluate(test_images, test_labels)

# Predict: three test images; those of the full data are a Pullover and two Trousers, [2, 1, 1].
guesses = model.predict(test_images[1:4]).argmax(axis=1)
print(f"\nThree test images are {test_labels[1:4].tolist()}, predicted as {guesses.tolist()}")
keras.plotting.predictions(
    model, test_images[1:4], test_labels[1:4], class_names, to_file=lesson.picture("predictions")
)

# What the first Dense layer has learned to look for, as images.
keras.plotting.kernels(model.layers[1], to_file=lesson.picture("weights"))

sys.exit(lesson.report(history, test_accuracy, test_loss))
