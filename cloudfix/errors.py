"""The errors a user meets.

Each message is one line: the file or option, the value that was found, what was expected, and the remedy.
"""


class CloudfixError(Exception):
    """Base of every error that cloudfix raises on purpose; `exit_code` is the command's."""

    exit_code = 1


class UsageError(CloudfixError):
    """A combination of options or arguments that cannot work, whatever the data."""

    exit_code = 2


class SceneError(CloudfixError):
    """A scene that cannot be read, or whose sensor, bands or values are not what they should be."""


class SarError(CloudfixError):
    """A SAR image that cannot guide this scene."""


class MaskError(CloudfixError):
    """A cloud mask that cannot be read, made or matched to the scene."""


class ModelError(CloudfixError):
    """Weights that are unknown, damaged, or do not fit the architecture or the scene."""


class DataError(CloudfixError):
    """A data set to train or judge on that is not laid out, paired or readable as it should be."""


class OutputError(CloudfixError):
    """An output that cannot be written."""


class ClusterError(CloudfixError):
    """A Dask cluster that is not there, is gone, or cannot do the work."""


class InterruptionError(CloudfixError):
    """The user stopped the run."""

    exit_code = 130


class CloudfixWarning(UserWarning):
    """A note for the user: the run goes on, but something was assumed."""
