"""canopy-mount on a directory of its own, as a context manager."""
import os
import subprocess
import tempfile

from stack import BIN


class Mounted:
    """In the background, as a user would start it."""

    def __init__(self, stack, *options):
        self.directory = tempfile.mkdtemp(prefix="canopy-mount.")
        self.log = self.directory + ".log"
        done = subprocess.run([os.path.join(BIN, "canopy-mount"), "unix:" + stack.facts["socket"], self.directory,
                               "--log-file", self.log, *options], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            os.rmdir(self.directory)
            raise RuntimeError("canopy-mount: " + done.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["fusermount3", "-u", self.directory], check=True, timeout=60)
        os.rmdir(self.directory)
        os.remove(self.log)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def logged(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read()
