#!/usr/bin/env python3
"""Measures LMTP of Canopy on a disk whose cache flush takes some milliseconds and on the same disk without that, in turns.

The disk is a loop device over the one file of canopy-bench-slow-disk, with ext4 on it, so that the file system groups
syncs as it does on a disk without non-volatile memory. What the quick disk gives bounds what a commit journal on quick
storage could bring: everything is written to the slow one afterwards all the same. Needs root, /dev/fuse and loop devices.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from canopy_server import PATTERN, Canopy, bench, fail, wait_for


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


class Disk:
    """An ext4 file system; a sync of its disk takes `sync_us` longer than that of the file below."""

    def __init__(self, options, directory, sync_us):
        self.directory, self.loop, self.mounted = directory, None, False
        for part in ("device", "mnt"):
            os.makedirs(f"{directory}/{part}")
        with open(f"{directory}/backing", "wb") as backing:
            backing.truncate(options.disk_mib << 20)
        program = os.path.join(os.path.dirname(os.path.abspath(options.bench)), "canopy-bench-slow-disk")
        self.process = subprocess.Popen([program, f"{directory}/backing", str(sync_us), f"{directory}/device", "-f"])
        try:
            wait_for(lambda: os.path.exists(f"{directory}/device/disk"), "canopy-bench-slow-disk does not mount")
            self.loop = run("losetup", "--find", "--show", "--direct-io=on", f"{directory}/device/disk")
            run("mkfs.ext4", "-q", "-E", "nodiscard", self.loop)
            run("mount", "-o", "noatime", self.loop, self.mnt)
            self.mounted = True
        except BaseException:
            self.end()
            raise

    @property
    def mnt(self):
        return f"{self.directory}/mnt"

    def end(self):
        if self.mounted:
            run("umount", self.mnt)
        if self.loop:
            run("losetup", "--detach", self.loop)
        subprocess.run(["fusermount3", "-u", "-z", f"{self.directory}/device"], check=False)
        self.process.wait(60)
        shutil.rmtree(self.directory)


def measure(options, directory):
    """Rates by (what, connections)."""
    rates = {}
    for row in bench(options, ["raw", "--dir", directory, "--writers", options.connections, "--sizes", options.sizes,
                               "--seconds", str(min(options.seconds, 3))]):
        rates["raw append", row["writers"]] = row["appends_per_s"]
    server = Canopy(f"{directory}/canopy", options)
    try:
        server.start()
        for row in bench(options, ["lmtp", "--connect", server.lmtp(), "--accounts", str(options.accounts),
                                   "--account-pattern", PATTERN, "--connections", options.connections, "--sizes",
                                   options.sizes, "--seconds", str(options.seconds)]):
            rates["lmtp", row["connections"]] = row["deliveries_per_s"]
    finally:
        server.stop()
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="canopy-bench compare slowdisk --")
    parser.add_argument("--bench", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sync-ms", type=float, default=5, help="what a sync of the slow disk takes longer")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--sizes", default="2048-76800")
    parser.add_argument("--disk-mib", type=int, default=16384, help="size of each disk, sparse")
    parser.add_argument("--work-dir", help="where the disks' files lie")
    parser.add_argument("--json", action="store_true", help="one line of JSON in place of a table")
    options = parser.parse_args()
    options.canopy_bin = options.canopy_lmtp = options.canopy_pop3 = options.frontend_config = None
    options.pop3_accounts = 0
    if os.geteuid() != 0:
        fail("loop devices need root")
    work = tempfile.mkdtemp(prefix="canopy-slowdisk-", dir=options.work_dir)
    disks = {"quick": 0, "slow": int(options.sync_ms * 1000)}
    figures = {}
    try:
        for number in range(options.rounds):
            for name in sorted(disks, reverse=number % 2 == 1):
                print(f"round {number + 1}: the {name} disk", file=sys.stderr)
                disk = Disk(options, f"{work}/{name}", disks[name])
                try:
                    for what, rate in measure(options, disk.mnt).items():
                        figures.setdefault(what, {}).setdefault(name, []).append(rate)
                finally:
                    disk.end()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    rows = []
    for (what, connections), rates in figures.items():
        quick, slow = (statistics.median(rates[name]) for name in ("quick", "slow"))
        rows.append({"what": what, "connections": connections, "quick": quick, "slow": slow,
                     "ratio": round(quick / slow, 2), "rounds": rates})
    if options.json:
        print(json.dumps({"scenario": "compare slowdisk", "sync_ms": options.sync_ms, "rows": rows}))
        return
    print(f"{'what':<12}{'connections':>12}{'quick/s':>10}{'slow/s':>10}{'quick/slow':>12}")
    for row in rows:
        print(f"{row['what']:<12}{row['connections']:>12}{row['quick']:>10.0f}{row['slow']:>10.0f}{row['ratio']:>12.2f}")


if __name__ == "__main__":
    main()
