# A first network: which garment is on the picture?
import keras
import matplotlib.pyplot as plt
import numpy as np

(train_images, train_labels), (test_images, test_labels) = keras.datasets.fashion_mnist.load_data()
names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
         "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]  # fmt: skip
print(train_images.shape, len(train_labels), train_labels)
print(test_images.shape, len(test_labels))

plt.figure()
plt.imshow(train_images[0])
plt.colorbar()
plt.savefig("first_image.png")

train_images = train_images / 255.0
test_images = test_images / 255.0

plt.figure(figsize=(10, 10))
for i in range(25):
    plt.subplot(5, 5, i + 1)
    plt.xticks([])
    plt.yticks([])
    plt.imshow(train_images[i], cmap=plt.cm.binary)
    plt.xlabel(names[train_labels[i]])
plt.savefig("first_25_images.png")

model = keras.Sequential(
    [
        keras.layers.Flatten(input_shape=(28, 28)),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(10),
    ]
)
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(train_images, train_labels, epochs=10)

test_loss, test_accuracy = model.evaluate(test_images, test_labels, verbose=2)
print("\nAccuracy on the test images:", test_accuracy)

# The model gives logits; a softmax behind it makes probabilities of them.
probability_model = keras.Sequential([model, keras.layers.Softmax()])
predictions = probability_model.predict(test_images)
print(predictions[0], np.argmax(predictions[0]), test_labels[0])


def draw(i):
    guess = np.argmax(predictions[i])
    colour = "blue" if guess == test_labels[i] else "red"
    plt.imshow(test_images[i], cmap=plt.cm.binary)
    plt.xlabel(
        f"{names[guess]} {100 * np.max(predictions[i]):2.0f}% ({names[test_labels[i]]})",
        color=colour,
    )


plt.figure(figsize=(12, 10))
for i in range(15):
    plt.subplot(5, 6, 2 * i + 1)
    draw(i)
    plt.subplot(5, 6, 2 * i + 2)
    plt.bar(range(10), predictions[i])
    plt.ylim([0, 1])
plt.savefig("predictions.png")

# One image is a batch of one.
single = np.expand_dims(test_images[1], 0)
print(single.shape)
prediction = probability_model.predict(single)
print(np.argmax(prediction[0]))
