"""What a user can mend."""


class UserError(Exception):
    """One sentence: what was found, what was expected, what to do. Shown without a traceback."""
