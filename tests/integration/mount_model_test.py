"""Random operations through two mounts of one daemon against a model in memory (tests/mount-model)."""
import os
import subprocess
import unittest

from mounted import Mounted
from stack import BIN, OVER_NFS, Stack

OPERATIONS = int(os.environ.get("CANOPY_MODEL_OPERATIONS", "20000" if OVER_NFS else "100000"))
SEED = os.environ.get("CANOPY_MODEL_SEED", "1")
# The turns wait for times to live, unless that is long: then for what the backend tells.
TOLD_MS = int(os.environ.get("CANOPY_MODEL_TOLD_MS", "50"))
PAUSE_MS = 60 if TOLD_MS <= 50 else 300
TIMES = ("-o", f"told_ms={TOLD_MS}")
LACKS = ["--without-room", "--without-exchange", "--without-link-times"] if OVER_NFS else []


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class MountModel(unittest.TestCase):
    def test_two_mounts_do_what_the_model_does(self):
        with Stack() as stack, Mounted(stack, *TIMES) as first, Mounted(stack, *TIMES) as second:
            tops = [mounted.path("SharedDomains", stack.facts["domain"], "model") for mounted in (first, second)]
            os.mkdir(tops[0])
            done = subprocess.run([os.path.join(BIN, "mount_model"), *tops, "--operations", str(OPERATIONS), "--seed", SEED,
                                   "--pause-ms", str(PAUSE_MS), *LACKS],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("no difference", done.stdout)
            self.assertEqual([first.logged().count("operation-failed"), second.logged().count("operation-failed")],
                             [0, 0], first.logged() + second.logged())


if __name__ == "__main__":
    unittest.main()
