"""A convolutional network: the same few weights look at every place of the image.

Two rounds of convolution and max pooling make an image of 28x28 into 64 maps of 5x5; a Dense layer
of 128 reads them, and a softmax over ten classes decides. 225,034 parameters.
"""

import sys

from lesson import Lesson, Measured

import tinynet as keras
from tinynet import layers

lesson = Lesson(
    "cnn", "Fashion-MNIST, two convolutions.", epochs=5,
    measured=Measured(seeds=3, accuracy=0.9024, lowest=0.9011, highest=0.9035, loss=0.2745),
)  # fmt: skip

# Load and look.
(train_images, train_labels), (test_images, test_labels) = lesson.load()
class_names = keras.datasets.fashion_mnist.class_names
print(f"Images {train_images.shape}: they lack the channel axis that a convolution expects\n")

# Normalize, and give each pixel its one channel.
train_images = train_images[..., None] / 255.0
test_images = test_images[..., None] / 255.0

# Build.
model = keras.Sequential(
    [
        keras.Input(shape=(28, 28, 1)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.summary()

# Compile and train.
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(train_images, train_labels, epochs=lesson.epochs)

# Evaluate.
test_loss, test_accuracy = model.evaluate(test_images, test_labels)

# Predict.
guesses = model.predict(test_images[:5]).argmax(axis=1)
print("\nThe first test images:", ", ".join(class_names[label] for label in test_labels[:5]))
print("The network says:     ", ", ".join(class_names[guess] for guess in guesses))

# See inside: the first filters, what each layer makes of an image, and the worst mistakes.
keras.plotting.kernels(model.layers[0], to_file=lesson.picture("kernels"))
keras.plotting.feature_maps(model, test_images[0], to_file=lesson.picture("feature_maps"))
keras.plotting.mistakes(
    model, test_images, test_labels, class_names, to_file=lesson.picture("mistakes")
)

sys.exit(lesson.report(history, test_accuracy, test_loss))
