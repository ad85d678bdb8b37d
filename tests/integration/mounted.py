"""canopy-mount on a directory of its own, as a context manager."""
import os
import subprocess
import tempfile

from stack import BIN


class Mounted:
    """In the background, as a user would start it."""

    def __init__(self, stack, *options, env=None, url=None):
        self.directory = tempfile.mkdtemp(prefix="canopy-mount.")
        self.log = self.directory + ".log"
        done = subprocess.run([os.path.join(BIN, "canopy-mount"), url or "unix:" + stack.facts["socket"], self.directory,
                               "--log-file", self.log, *options], capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, **(env or {})})
        if done.returncode != 0:
            os.rmdir(self.directory)
            raise RuntimeError("canopy-mount: " + done.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["fusermount3", "-u", self.directory], check=True, timeout=60)
        self.clean()

    def clean(self):
        """After it was unmounted."""
        os.rmdir(self.directory)
        os.remove(self.log)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def process(self):
        """Its process id."""
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if entry.isdigit() and words[0].endswith(b"canopy-mount") and self.directory.encode() in words:
                return int(entry)
        raise RuntimeError("there is no process that mounts " + self.directory)

    def peak_memory_bytes(self):
        with open(f"/proc/{self.process()}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))

    def logged(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read()
