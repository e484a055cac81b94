"""One hidden layer of 128 units: the first network that most people train.

Flatten, Dense 128 relu, Dense 10 without activation, so that the model gives logits; the loss is
told so. A Softmax put behind the trained model turns its logits into probabilities.
"""

import sys

from lesson import Lesson, Measured

import tinynet as keras
from tinynet import layers

lesson = Lesson(
    "mlp_128", "Fashion-MNIST, one hidden layer of 128.", epochs=10,
    measured=Measured(seeds=5, accuracy=0.8858, lowest=0.8833, highest=0.8895, loss=0.3306),
)  # fmt: skip

# Load and look.
(train_images, train_labels), (test_images, test_labels) = lesson.load()
class_names = keras.datasets.fashion_mnist.class_names
print(f"Images {train_images.shape} of {train_images.dtype}, from 0 to {train_images.max()}")
print("The first ones:", ", ".join(class_names[label] for label in train_labels[:5]), "\n")
keras.plotting.image_grid(train_images, train_labels, class_names, to_file=lesson.picture("images"))

# Normalize: from bytes to numbers between 0 and 1.
train_images = train_images / 255.0
test_images = test_images / 255.0

# Build.
model = keras.Sequential(
    [
        layers.Flatten(input_shape=(28, 28)),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ]
)
model.summary()

# Compile and train.
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(train_images, train_labels, epochs=lesson.epochs)

# Evaluate.
test_loss, test_accuracy = model.evaluate(test_images, test_labels)

# Predict.
probability_model = keras.Sequential([model, layers.Softmax()])
probabilities = probability_model.predict(test_images)
guess = probabilities[0].argmax()
print(
    f"\nThe first test image is said to be: {class_names[guess]}, with a probability of "
    f"{probabilities[0, guess]:.1%}. It is: {class_names[test_labels[0]]}."
)
keras.plotting.predictions(
    probability_model, test_images, test_labels, class_names, to_file=lesson.picture("predictions")
)

sys.exit(lesson.report(history, test_accuracy, test_loss))
