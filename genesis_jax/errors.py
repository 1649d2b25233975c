"""What a user can mend."""


class UserError(Exception):
    """One sentence: what was found, what was expected, what to do. Shown without a traceback."""


class PrepareError(UserError):
    """The preparation cannot start; the message is one sentence for the user."""


class ScanError(UserError):
    """One scan cannot be used; the message is a sentence that continues the scan's name."""


class OptionError(UserError, ValueError):
    """A function of the library cannot do with its options, or with arrays of such a shape."""
