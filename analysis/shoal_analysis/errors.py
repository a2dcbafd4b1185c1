"""What went wrong, where, and what to do about it, in one line."""


class RunError(Exception):
    """A path is no run, or a file of it cannot be read."""
