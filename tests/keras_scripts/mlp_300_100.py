# One-hot labels, a validation split, and a drawing of the model.
import keras
import matplotlib.pyplot as plt
import numpy as np

(x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
num_classes = len(np.unique(y_train))

x_train = x_train.astype("float32") / 255
x_test = x_test.astype("float32") / 255
y_train = keras.utils.to_categorical(y_train, num_classes)
y_test = keras.utils.to_categorical(y_test, num_classes)
print(x_train.shape, y_train.shape)
print(y_train[0])

model = keras.Sequential(
    [
        keras.Input(shape=(28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(300, activation="relu", name="hidden_1"),
        keras.layers.Dense(100, activation="relu", name="hidden_2"),
        keras.layers.Dense(num_classes, activation="softmax", name="output"),
    ],
    name="fashion",
)
model.summary()
keras.utils.plot_model(model, to_file="model.png", show_shapes=True)

model.compile(
    loss=keras.losses.CategoricalCrossentropy(),
    optimizer=keras.optimizers.Adam(),
    metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
)
history = model.fit(
    x_train, y_train, batch_size=64, epochs=10, verbose=2, validation_split=0.1, shuffle=True
)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
epochs = range(1, len(history.history["loss"]) + 1)
left.plot(epochs, history.history["loss"], "bo", label="training loss")
left.plot(epochs, history.history["val_loss"], "b", label="validation loss")
left.legend()
right.plot(epochs, history.history["accuracy"], "bo", label="training accuracy")
right.plot(epochs, history.history["val_accuracy"], "b", label="validation accuracy")
right.legend()
figure.savefig("curves.png")

score = model.evaluate(x_test, y_test, verbose=0)
test_loss, test_accuracy = score[0], score[1]
print("Test loss:", test_loss, "Test accuracy:", test_accuracy)

first = model.get_layer("hidden_1").get_weights()[0]
print("Weights of the first layer:", first.shape, first.mean(), first.std())

predicted = model.predict(x_test[:10], verbose=0).argmax(axis=1)
print("Predicted:", predicted, "True:", y_test[:10].argmax(axis=1))
