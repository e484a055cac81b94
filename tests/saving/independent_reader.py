"""A second reader of model files, written from the docstring of tinynet.saving alone."""

import hashlib
import json
import re
import sys

import numpy as np


def require(condition, what):
    if not condition:
        raise ValueError(what)


def unique(pairs):
    require(len(dict(pairs)) == len(pairs), "a key twice in one object")
    return dict(pairs)


def number(data, start, length):
    return int.from_bytes(data[start : start + length], "little")


def read(path):
    """The header of a file, and its tensors by name."""
    with open(path, "rb") as file:
        data = file.read()
    require(data[:8] == bytes.fromhex("89 54 4E 4E 0D 0A 1A 0A"), "not a model file")
    require(number(data, 8, 2) == 1 and number(data, 12, 4) == 0, "a newer version")
    require(number(data, 16, 8) == len(data), "truncated, or longer than it says")
    length = number(data, 24, 8)
    require(length <= 1 << 20 and 64 + length <= len(data), "a header too long")
    text = data[64 : 64 + length]
    require(hashlib.sha256(data[:32] + text).digest() == data[32:64], "a corrupt header")
    header = json.loads(text.decode(), object_pairs_hook=unique)
    end, tensors = 64 + length, {}
    for entry in header.pop("tensors"):
        name, shape, offset = entry["name"], entry["shape"], entry["offset"]
        dtype = {"float32": "<f4", "float64": "<f8", "int64": "<i8", "uint8": "u1"}[entry["dtype"]]
        require(name not in tensors and name.isprintable(), "a name twice, or not printable")
        require(not re.search(r"(^|/)(\.{0,2})(/|$)", name), "a name with an empty part, . or ..")
        require(len(shape) <= 8 and all(type(n) is int and n > 0 for n in shape), "a wrong shape")
        require(offset == next_place(end), "a hole, an overlap, or no multiple of 64")
        require(not any(data[end:offset]), "padding that is not zero")
        end = offset + entry["bytes"]
        content = data[offset:end]
        require(len(content) == entry["bytes"], "a tensor behind the file's end")
        require(hashlib.sha256(content).hexdigest() == entry["sha256"], f"{name} is corrupt")
        tensors[name] = np.frombuffer(content, dtype).reshape(shape)
    require(len(data) == (end if tensors else next_place(end)), "something behind the last tensor")
    return header, tensors


def next_place(offset):
    return -(-offset // 64) * 64


if __name__ == "__main__":
    print(*read(sys.argv[1])[1].items(), sep="\n")
