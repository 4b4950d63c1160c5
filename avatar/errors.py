"""The error tree. Every error that a user can cause is an :class:`AvatarError` whose text is one line: what was wrong
and what to do.

    AvatarError
    ├── UsageError            wrong usage or input                       exit code 2
    │   ├── ConfigError       a configuration file or a --set value
    │   ├── PhotoError        a photo that cannot become an avatar
    │   ├── CalibrationError  a recording that no head can be learnt from
    │   ├── MediaError        a sound or video file that cannot be read
    │   ├── DatasetError      a data set of faces that is not laid out as published
    │   └── ConsentError      an avatar without a consent statement
    └── RunError              something failed while running             exit code 1
        ├── DeviceError       a microphone, camera or virtual device
        ├── ModelFileError    a model file is missing or not the right one
        ├── EngineError       an engine cannot draw
        ├── PortInUseError    another program listens there
        └── StorageError      the disk is full or not writable
"""


class AvatarError(Exception):
    """Base of every error with a message for the user."""

    exit_code = 1


class UsageError(AvatarError):
    """Wrong usage or unusable input."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration value that cannot be used; the text names the key."""


class PhotoError(UsageError):
    """A photo that cannot become an avatar; ``code`` names the reason for programs."""

    def __init__(self, message: str, code: str = "photo") -> None:
        super().__init__(message)
        self.code = code


class CalibrationError(UsageError):
    """A recording that no head can be learnt from; ``code`` names the reason for programs."""

    def __init__(self, message: str, code: str = "calibration") -> None:
        super().__init__(message)
        self.code = code


class MediaError(UsageError):
    """A sound or video file that cannot be read."""


class DatasetError(UsageError):
    """A data set of faces that is not laid out as published; the text names the file and, in a table, the line."""


class ConsentError(UsageError):
    """The avatar has no consent statement."""


class RunError(AvatarError):
    """Something failed while running."""


class DeviceError(RunError):
    """A microphone, camera or virtual device is missing, busy or went away."""


class ModelFileError(RunError):
    """A model file is missing, cannot be fetched, or has the wrong hash."""


class EngineError(RunError):
    """An expression engine cannot draw."""


class PortInUseError(RunError):
    """The address is taken."""


class StorageError(RunError):
    """The disk is full or not writable."""
