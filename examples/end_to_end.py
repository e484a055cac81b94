"""From the raw images to the weakest classes: everything that one does around a network.

Explore, normalize, one-hot, split, build with Dropout, train until the validation loss stops
falling, evaluate, ask which clothes are taken for which; save, load, and predict the same.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from lesson import Lesson

import tinynet as keras
from tinynet import layers

lesson = Lesson(
    "end_to_end", "Fashion-MNIST from exploration to the confusion matrix.", epochs=30,
    measured=None,
)  # fmt: skip

# Explore.
(train_images, train_labels), (test_images, test_labels) = lesson.load()
class_names = keras.datasets.fashion_mnist.class_names
print(f"Training: images {train_images.shape}, labels {train_labels.shape}")
print(f"Test:     images {test_images.shape}, labels {test_labels.shape}")
print(f"Pixels from {train_images.min()} to {train_images.max()}, mean {train_images.mean():.1f}")
print("Images of each class:")
for name, in_train, in_test in zip(
    class_names, np.bincount(train_labels), np.bincount(test_labels), strict=True
):
    print(f"  {name:12} {in_train:5} to train, {in_test:5} to test")
keras.plotting.image_grid(train_images, train_labels, class_names, to_file=lesson.picture("images"))
keras.plotting.class_counts(
    {"training": train_labels, "test": test_labels}, class_names, to_file=lesson.picture("classes")
)

# Normalize, one-hot, split: a tenth of the images, drawn at random, is for validation.
images, rows = train_images / 255.0, keras.utils.to_categorical(train_labels, 10)
order = np.random.default_rng(0).permutation(len(images))
for_training, for_validation = np.split(order, [len(order) * 9 // 10])
x_train, y_train = images[for_training], rows[for_training]
x_val, y_val = images[for_validation], rows[for_validation]
x_test, y_test = test_images / 255.0, keras.utils.to_categorical(test_labels, 10)

# Build.
model = keras.Sequential(
    [
        keras.Input(shape=(28, 28)),
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax"),
    ]
)
model.summary()

# Compile and train, until three epochs in a row have not lowered the validation loss.
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
began = time.perf_counter()
stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
history = model.fit(
    x_train,
    y_train,
    batch_size=64,
    epochs=lesson.epochs,
    validation_data=(x_val, y_val),
    callbacks=[stop],
)
seconds = time.perf_counter() - began
print(f"Trained for {len(history.epoch)} epochs, and went back to the weights of the best.")

# Evaluate.
test_loss, test_accuracy = model.evaluate(x_test, y_test)

# Confusion matrix.
probabilities = model.predict(x_test)
predicted = probabilities.argmax(axis=1)
confusion = keras.metrics.confusion_matrix(test_labels, predicted, num_classes=10)
print("\nConfusion matrix, a row for each true class and a column for each predicted one:")
print(" " * 14, *(f"{label:5}" for label in range(10)))
for label, (name, counts) in enumerate(zip(class_names, confusion, strict=True)):
    print(f"{label} {name:12}", *(f"{count:5}" for count in counts))
keras.plotting.confusion_matrix(
    test_labels, predicted, class_names, to_file=lesson.picture("confusion")
)

# The weakest classes, and what they are taken for.
recall = confusion.diagonal() / confusion.sum(axis=1)
print("\nThe weakest classes:")
for label in recall.argsort()[:3]:
    mistakes = confusion[label].copy()
    mistakes[label] = 0
    taken_for = mistakes.argmax()
    print(
        f"  {class_names[label]:12} {recall[label]:6.1%} right; most often taken for "
        f"{class_names[taken_for]} ({mistakes[taken_for]} times)"
    )
keras.plotting.mistakes(model, x_test, y_test, class_names, to_file=lesson.picture("mistakes"))

# Save, load in a fresh process, and predict the same.
path = lesson.out / f"{lesson.name}.tinynet"
model.save(path)
PREDICT = """
import sys
import numpy as np
import tinynet as keras

model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]) / 255.0, verbose=0))
"""
with tempfile.TemporaryDirectory() as folder:
    given, found = Path(folder) / "images.npy", Path(folder) / "probabilities.npy"
    np.save(given, test_images)
    subprocess.run([sys.executable, "-c", PREDICT, path, given, found], check=True)
    same = bool((np.load(found) == probabilities).all())
print(f"\nSaved as {path}, {path.stat().st_size:,} bytes. A fresh process loads it, and predicts")
print("the same, bit for bit." if same else "something else.")

# Everything on one page, to open in a browser.
page = lesson.out / f"{lesson.name}.html"
keras.report(model, history, x_test, y_test, class_names, page, training_seconds=seconds, verbose=0)
print(f"\nA report to open in a browser: {page}")

status = lesson.report(history, test_accuracy, test_loss)
sys.exit(status if same else 1)
