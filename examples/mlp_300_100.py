"""Two wide hidden layers, labels as one-hot rows, and a drawing of the network.

Flatten, Dense 300 relu, Dense 100 relu, Dense 10 softmax. The last 10 % of the training images are
kept out of training, to validate on.
"""

import sys

from lesson import Lesson, Measured

import tinynet as keras
from tinynet import layers

lesson = Lesson(
    "mlp_300_100", "Fashion-MNIST, hidden layers of 300 and 100.", epochs=10,
    measured=Measured(seeds=5, accuracy=0.8824, lowest=0.8776, highest=0.8864, loss=0.3430),
)  # fmt: skip

# Load and look.
(train_images, train_labels), (test_images, test_labels) = lesson.load()
class_names = keras.datasets.fashion_mnist.class_names
print(f"Images {train_images.shape}, labels {train_labels.shape}: {train_labels[:8]} ...")

# Normalize, and write each label as a row with a single one.
train_images = train_images / 255.0
test_images = test_images / 255.0
train_rows = keras.utils.to_categorical(train_labels, 10)
test_rows = keras.utils.to_categorical(test_labels, 10)
print(f"Class {train_labels[0]} as one-hot: {train_rows[0].astype(int)}\n")

# Build and draw.
model = keras.Sequential(
    [
        keras.Input(shape=(28, 28)),
        layers.Flatten(),
        layers.Dense(300, activation="relu"),
        layers.Dense(100, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.summary()
drawing = lesson.picture("model")
keras.utils.plot_model(model, to_file=drawing, show_shapes=True, show_layer_activations=True)
print(f"The network, drawn: {drawing}\n")

# Compile and train.
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
record = keras.callbacks.GradientHistory()
history = model.fit(
    train_images, train_rows, epochs=lesson.epochs, validation_split=0.1, callbacks=[record]
)

# Evaluate.
test_loss, test_accuracy = model.evaluate(test_images, test_rows)

# Predict.
probabilities = model.predict(test_images[:1])[0]
print("\nThe first test image, class by class:")
for name, probability in zip(class_names, probabilities, strict=True):
    print(f"  {name:12} {probability:6.1%}")

# How signals and gradients flow through the layers: now, and while training.
keras.plotting.gradient_flow(
    model, train_images[:256], train_rows[:256], to_file=lesson.picture("gradient_flow")
)
keras.plotting.gradient_history(record, to_file=lesson.picture("gradient_history"))

sys.exit(lesson.report(history, test_accuracy, test_loss))
