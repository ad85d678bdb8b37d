"""How many requests the kernel has sent to a mount, or would, and has no answer to yet."""
import os
import subprocess
import tempfile
import time

CONTROL = "/sys/fs/fuse/connections"


class FuseRequests:
    """Of one mount. A context manager: where nothing has mounted fusectl it does, for as long (as root only)."""

    def __init__(self, mounted):
        self.number = os.minor(os.stat(mounted.directory).st_dev)
        self.control = CONTROL

    def __enter__(self):
        if not os.listdir(CONTROL):
            self.control = tempfile.mkdtemp(prefix="canopy-fusectl.")
            subprocess.run(["mount", "-t", "fusectl", "none", self.control], check=True, timeout=60)
        return self

    def __exit__(self, *_):
        if self.control != CONTROL:
            subprocess.run(["umount", self.control], check=True, timeout=60)
            os.rmdir(self.control)

    def waiting(self):
        with open(os.path.join(self.control, str(self.number), "waiting"), encoding="ascii") as file:
            return int(file.read())

    def until(self, count, seconds=60):
        """Whether so many wait, sooner or later."""
        end = time.monotonic() + seconds
        while self.waiting() < count:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True


def why_not():
    """A sentence, or None where requests can be counted."""
    if not os.path.isdir(CONTROL):
        return "there is no " + CONTROL
    if not os.listdir(CONTROL) and os.geteuid() != 0:
        return f"nothing has mounted fusectl on {CONTROL}"
    return None
