"""A network in PyTorch, eager: the loops that its users write."""

import numpy as np
import torch
from networks import CLASSES, INFERENCE_BATCH, MODELS, Array, Recipe
from torch import nn


class Network:
    """The model, its optimizer, and loops over batches.

    channels_last: whether images and weights are kept in the layout that oneDNN likes.
    """

    def __init__(
        self, model: str, batch_size: int, weights: list[Array], channels_last: bool
    ) -> None:
        recipe = MODELS[model]
        self.weights = weights
        self.batch_size = batch_size
        self.has_images = bool(recipe.convolutions)
        self.net = nn.Sequential(*_layers(recipe))
        _load(self.net, weights)
        if channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)
        parameters = self.net.parameters()
        if recipe.optimizer == "adam":
            self.optimizer = torch.optim.Adam(parameters, lr=1e-3, eps=1e-7)
        else:
            self.optimizer = torch.optim.SGD(parameters, lr=1e-2)
        self.criterion = nn.CrossEntropyLoss()

    def data(self, x: Array, y: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Tensors: images (n, c, h, w), labels in the only integers that the loss takes.

        With one channel both layouts are the same bytes; after the first convolution they differ.
        """
        images = torch.from_numpy(x)
        if self.has_images:
            images = images.permute(0, 3, 1, 2)
        return images, torch.from_numpy(y.astype(np.int64))

    def fit(self, x: torch.Tensor, y: torch.Tensor, shuffle: bool = True) -> float:
        """One epoch, with what fit reports too: the mean loss and the accuracy."""
        n = len(x)
        order = torch.randperm(n) if shuffle else torch.arange(n)
        total, right = 0.0, 0
        for start in range(0, n, self.batch_size):
            batch = order[start : start + self.batch_size]
            target = y[batch]
            self.optimizer.zero_grad()
            logits = self.net(x[batch])
            loss = self.criterion(logits, target)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(batch)
            right += int((logits.argmax(1) == target).sum())
        return total / n

    @torch.inference_mode()
    def predict(self, x: torch.Tensor) -> Array:
        """The logits, in batches of 32."""
        return torch.cat([self.net(batch) for batch in x.split(INFERENCE_BATCH)]).numpy()

    @torch.inference_mode()
    def evaluate(self, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        """Mean loss and accuracy, in batches of 32."""
        total, right = 0.0, 0
        for batch, target in zip(x.split(INFERENCE_BATCH), y.split(INFERENCE_BATCH), strict=True):
            logits = self.net(batch)
            total += self.criterion(logits, target).item() * len(batch)
            right += int((logits.argmax(1) == target).sum())
        return total / len(x), right / len(x)


def _layers(recipe: Recipe) -> list[nn.Module]:
    parts: list[nn.Module] = []
    side, channels = 28, 1
    for filters in recipe.convolutions:
        parts += [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
        side, channels = (side - 2) // 2, filters
    parts.append(nn.Flatten())
    features = side * side * channels
    for units in recipe.hidden:
        parts += [nn.Linear(features, units), nn.ReLU()]
        features = units
    return [*parts, nn.Linear(features, CLASSES)]


@torch.no_grad()
def _load(net: nn.Sequential, weights: list[Array]) -> None:
    """Bring Keras's weights into PyTorch's layouts."""
    channels = 0
    for parameter, value in zip(net.parameters(), weights, strict=True):
        if value.ndim == 4:  # (height, width, in, out) -> (out, in, height, width)
            channels = value.shape[3]
            value = value.transpose(3, 2, 0, 1)
        elif value.ndim == 2:
            if channels:  # behind the images: rows counted by (h, w, c) -> by (c, h, w)
                cells = value.reshape(-1, channels, value.shape[1])
                value = cells.transpose(1, 0, 2).reshape(value.shape)
                channels = 0
            value = value.T
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
