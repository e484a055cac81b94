"""What can be wrong with a model file."""


class ModelFileError(ValueError):
    """The base: the file was refused, and nothing of it was used."""


class NotAModelFileError(ModelFileError):
    """It is no file of this format, or no regular file at all."""


class NewerVersionError(ModelFileError):
    """It was written by a later tinynet, in a way that this one cannot read."""


class TruncatedError(ModelFileError):
    """It does not have the length that it says it has."""


class CorruptError(ModelFileError):
    """Its bytes are not those that were written; the message says where."""


class MalformedError(ModelFileError):
    """Its checksums hold, but what it says breaks the rules of the format."""


class UnknownLayerError(ModelFileError):
    """It names a layer that tinynet does not have."""


class MisfitError(ModelFileError):
    """Its tensors or its state do not fit the model that it describes."""
