"""Callbacks: code that `fit` calls at fixed moments of the training.

`fit` calls, in this order, with epochs and batches counted from 0:

    on_train_begin
        on_epoch_begin(epoch)
            on_train_batch_begin(batch), on_train_batch_end(batch, logs)    for each batch
            on_test_begin ... on_test_end                                   where it validates
        on_epoch_end(epoch, logs)
    on_train_end(logs)

``logs`` maps names to floats: "loss", "accuracy", "val_loss". The callbacks of a list are called
one after the other with the same dict, so that what one adds ("learning_rate") reaches the next
ones; the History comes last, and a BackupAndRestore after it. Setting
``self.model.stop_training = True`` ends the training.
"""

from tinynet.callbacks.backup import BackupAndRestore
from tinynet.callbacks.base import HOOKS, Callback, History
from tinynet.callbacks.callback_list import CallbackList
from tinynet.callbacks.checkpoint import ModelCheckpoint
from tinynet.callbacks.csv_logger import CSVLogger
from tinynet.callbacks.functions import LambdaCallback
from tinynet.callbacks.gradient_history import GradientHistory
from tinynet.callbacks.monitors import EarlyStopping, MonitorCallback, ReduceLROnPlateau
from tinynet.callbacks.schedules import LearningRateScheduler
from tinynet.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "HOOKS",
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "GradientHistory",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "MonitorCallback",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
