"""Files and their content, for tests that look at what lies on a store or in a mount."""
import errno


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def error_of(attempt):
    """The name of the error that it ends with, or "done"."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
