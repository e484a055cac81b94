"""Where a window goes on an image: output sizes and padding, as Keras and TensorFlow have them."""

Pair = tuple[int, int]


def output_size(size: int, window: int, stride: int, padding: str) -> int:
    """How many windows fit along one axis.

    valid: (size - window) // stride + 1        same: ceil(size / stride)
    """
    if padding == "same":
        return -(-size // stride)
    return (size - window) // stride + 1


def pad_amounts(size: int, window: int, stride: int, padding: str) -> Pair:
    """Rows (or columns) of padding before and after; "same" puts the odd one after.

    The total is what the last window reaches past the end, so it depends on the stride.
    """
    if padding == "valid":
        return 0, 0
    total = max((output_size(size, window, stride, padding) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2
