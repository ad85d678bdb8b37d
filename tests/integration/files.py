"""Files and their content, for tests that look at what lies on a store or in a mount."""


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)
