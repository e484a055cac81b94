"""placeholder"""

from tinynet.saving.errors import (
    CorruptError,
    MalformedError,
    MisfitError,
    ModelFileError,
    NewerVersionError,
    NotAModelFileError,
    TruncatedError,
    UnknownLayerError,
)
from tinynet.saving.file import ModelFile, TensorInfo, write
from tinynet.saving.replacing import check_path

__all__ = [
    "CorruptError",
    "MalformedError",
    "MisfitError",
    "ModelFile",
    "ModelFileError",
    "NewerVersionError",
    "NotAModelFileError",
    "TensorInfo",
    "TruncatedError",
    "UnknownLayerError",
    "check_path",
    "write",
]
