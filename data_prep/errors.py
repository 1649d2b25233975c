"""What a user can mend in the source or the command of a preparation."""


class PrepareError(ValueError):
    """The preparation cannot start; the message is one sentence for the user."""
