# The whole way: explore, prepare, train with early stopping, and see what goes wrong.
import keras
import matplotlib.pyplot as plt
import numpy as np

keras.utils.set_random_seed(42)

# Explore.
(images, labels), (test_images, test_labels) = keras.datasets.fashion_mnist.load_data()
classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]  # fmt: skip
print("Training", images.shape, images.dtype, "test", test_images.shape)
print("Pixels from", images.min(), "to", images.max())
for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
    print(f"{label} {classes[label]:12} {count}")
figure, axes = plt.subplots(2, 5)
for label, ax in enumerate(axes.flat):
    ax.imshow(images[labels == label][0], cmap="gray")
    ax.set_title(classes[label])
    ax.axis("off")
figure.savefig("classes.png")

# Prepare: scale, split, one-hot.
x = images.astype("float32") / 255.0
x_test = test_images.astype("float32") / 255.0
cut = len(x) - len(x) // 6
x_train, x_val = x[:cut], x[cut:]
y_train = keras.utils.to_categorical(labels[:cut], num_classes=10)
y_val = keras.utils.to_categorical(labels[cut:], num_classes=10)
y_test = keras.utils.to_categorical(test_labels, num_classes=10)

# Build.
model = keras.models.Sequential(
    [
        keras.layers.Input(shape=(28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(256, kernel_initializer="he_normal"),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
        keras.layers.Dropout(rate=0.3),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
model.summary()

# Train.
history = model.fit(
    x_train,
    y_train,
    epochs=30,
    batch_size=128,
    verbose=2,
    validation_data=(x_val, y_val),
    callbacks=[
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=2),
        keras.callbacks.CSVLogger("log.csv"),
    ],
)
best = int(np.argmin(history.history["val_loss"]))
print("Epochs:", len(history.epoch), "best:", best + 1)

figure, axes = plt.subplots(1, 2)
for ax, name in zip(axes, ["loss", "accuracy"], strict=True):
    ax.plot(history.history[name], label="training")
    ax.plot(history.history["val_" + name], label="validation")
    ax.set_title(name)
    ax.legend()
figure.savefig("curves.png")

# Evaluate.
val_loss = model.evaluate(x_val, y_val, verbose=0)[0]
assert abs(val_loss - history.history["val_loss"][best]) < 1e-3
results = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
test_loss, test_accuracy = results["loss"], results["accuracy"]
print(results)

# What is taken for what?
predicted = np.argmax(model.predict(x_test, verbose=0), axis=1)
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (test_labels, predicted), 1)
print(confusion)
recall = confusion.diagonal() / confusion.sum(axis=1)
for label in recall.argsort()[:3]:
    print(f"{classes[label]:12} {recall[label]:.0%}")
assert abs(np.mean(predicted == test_labels) - test_accuracy) < 1e-5
