"""The cases of tests/posix in the mount's raw tree and in a directory of the local file system: what they print is the same,
except for what the table in docs/operations/mount-differences.md lists."""
import os
import re
import subprocess
import tempfile
import unittest

from mounted import Mounted
from stack import BIN, OVER_NFS, SOURCE, Stack

TABLE = os.path.join(SOURCE, "docs/operations/mount-differences.md")
SUITE_SECONDS = 240  # a bound for machines that are busy; each case has one of its own


def outcomes(directory):
    """What was seen, by the name of the case and of what it looked at."""
    done = subprocess.run([os.path.join(BIN, "posix_suite"), directory], capture_output=True, text=True,
                          timeout=SUITE_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"posix_suite in {directory}: status {done.returncode}: {done.stderr}")
    seen, of_name = {}, {}
    for line in done.stdout.splitlines():
        name, outcome = line.split(": ", 1)
        of_name[name] = of_name.get(name, 0) + 1
        if of_name[name] > 1:
            name += f" ({of_name[name]})"
        seen[name] = outcome
    return seen


def permitted():
    """The rows of the tables that hold here: what was looked at, and its outcome in the mount and in a local directory."""
    rows, over = {"": [], "over NFS": [], "over NFSv3": []}, ""
    with open(TABLE, encoding="utf-8") as table:
        for line in table:
            if line.startswith("| case"):
                over = line.split("|")[2].strip().removeprefix("in the mount")
            row = re.fullmatch(r"\| `([^`]+)` \| `([^`]*)` \| `([^`]*)` \| ([^|]+) \|\n", line)
            if row:
                rows[over].append((row[1], row[2], row[3]))
    nfs = (rows["over NFS"] if OVER_NFS else []) + (rows["over NFSv3"] if OVER_NFS == "3" else [])
    # What is another way over NFS is not expected as it is on a local disk.
    rows = nfs + [row for row in rows[""] if row[0] not in {of for of, _, _ in nfs}]
    return sorted(rows, key=lambda row: row[0].endswith("*"))  # what is more exact comes first


def fits(pattern, text):
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def file_system_of(directory):
    """Its type, as the kernel calls it."""
    device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            words = line.split()
            if words[2] == number:
                return words[words.index("-") + 1]
    return "unknown"


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class MountPosix(unittest.TestCase):
    maxDiff = None

    def test_the_mount_answers_as_a_local_directory_does(self):
        # The local directory and the mount's tree lie on the same file system, so that its own ways make no difference.
        with Stack() as stack, tempfile.TemporaryDirectory(prefix="canopy-local.") as local:
            compared = file_system_of(local)
            print(f"compared with {local} on {compared}", flush=True)
            self.assertEqual(os.stat(local).st_dev, os.stat(stack.facts["base"]).st_dev)
            if compared != "ext4":
                self.skipTest(f"NOT TESTED: the table is of ext4, TMPDIR lies on {compared}")
            options = ["-o", "allow_other"] if os.geteuid() == 0 else []
            with Mounted(stack, *options) as mounted:
                directory = mounted.path("SharedDomains", stack.facts["domain"], "posix")
                os.mkdir(directory)
                in_mount = outcomes(directory)
                self.assertEqual(os.listdir(directory), [], "the cases leave nothing behind")
            in_local = outcomes(local)
        self.assertGreater(len(in_local), 500, "these are all the cases")
        differences = {name: (in_mount.get(name, "-"), in_local.get(name, "-"))
                       for name in sorted(in_mount.keys() | in_local.keys())
                       if in_mount.get(name) != in_local.get(name)}
        rows, met = permitted(), set()
        for name, outcome in list(differences.items()):
            row = next((row for row in rows if all(map(fits, row, (name, *outcome)))), None)
            if row is not None:
                met.add(row)
                del differences[name]
        self.assertEqual(differences, {}, f"(mount, local), which {TABLE} does not have")
        if os.geteuid() != 0:  # cases that say `needs root`
            rows = [row for row in rows if row[0] in in_mount or row[0] in in_local]
        self.assertEqual([row for row in rows if row not in met], [], f"rows of {TABLE} of what does not differ")


if __name__ == "__main__":
    unittest.main()
