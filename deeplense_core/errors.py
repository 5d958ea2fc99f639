"""The one error that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: bad input, a missing folder, an unknown name.

    The message is shown verbatim, on the command line (exit code 2) and on every page. Write it as
    one or two plain sentences: what is wrong (naming the value), why (naming the limit), what next
    (naming the nearest valid thing).
    """
