#!/usr/bin/env python3
"""Runs `canopy-bench files` in canopy-mount and in libfuse's own pass-through example over the same directory, in turns.

Needs root, /dev/fuse, a C compiler and Debian's libfuse3-dev (its documentation holds the example); installs nothing.
Usually started by `canopy-bench compare passthrough`. canopyd keeps its tree in a temporary directory; the example shows
the raw tree of that daemon, so that both have the same files on the same disk below them.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile

from canopy_server import fail, wait_for

EXAMPLE = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c"


def build_example(directory):
    source = os.path.join(directory, "passthrough_ll.c")
    if os.path.exists(EXAMPLE):
        shutil.copy(EXAMPLE, source)
    elif os.path.exists(EXAMPLE + ".gz"):
        with open(source, "wb") as file:
            subprocess.run(["gzip", "-dc", EXAMPLE + ".gz"], stdout=file, check=True)
    else:
        fail(f"{EXAMPLE} is not there: install libfuse3-dev")
    helpers = os.path.join(os.path.dirname(EXAMPLE), "passthrough_helpers.h")
    if os.path.exists(helpers):
        shutil.copy(helpers, directory)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True)
    program = os.path.join(directory, "passthrough_ll")
    done = subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", program, source, *flags.stdout.split()], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        fail("the example does not compile:\n" + done.stderr[-2000:])
    return program


class Mounts:
    """canopyd, canopy-mount and the example, until the end."""

    def __init__(self, arguments, directory):
        self.directory, self.processes = directory, []
        self.example = build_example(directory)
        programs = os.path.dirname(arguments.bench)
        base, socket = os.path.join(directory, "base"), os.path.join(directory, "canopyd.sock")
        self.start("canopyd", os.path.join(programs, "canopyd"), "--dir", base, "--init", "--listen", "unix:" + socket)
        wait_for(lambda: os.path.exists(socket), "canopyd does not start; see " + directory)
        raw = os.path.join(base, "SharedDomains")
        self.mount("canopy", "SharedDomains/bench.canopy", os.path.join(programs, "canopy-mount"), "unix:" + socket,
                   "{}", "-f", *(["-o", arguments.mount_options] if arguments.mount_options else []))
        self.mount("passthrough", "bench.passthrough", self.example, "-f", "-o", f"source={raw},cache=always", "{}")

    def start(self, name, *command):
        log = open(os.path.join(self.directory, name + ".log"), "w", encoding="utf-8")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        return self.processes[-1]

    def mount(self, name, inside, *command):
        point = os.path.join(self.directory, "mnt-" + name)
        os.mkdir(point)
        self.start(name, *[word.format(point) if word == "{}" else word for word in command])
        wait_for(lambda: os.path.ismount(point), f"{name} does not mount; see {self.directory}/{name}.log")
        os.makedirs(os.path.join(point, inside))
        setattr(self, name, os.path.join(point, inside))

    def end(self):
        for name in ("canopy", "passthrough"):
            subprocess.run(["fusermount3", "-u", os.path.join(self.directory, "mnt-" + name)], check=False)
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)


def measure(arguments, directory):
    done = subprocess.run([arguments.bench, "--json", "files", "--dir", directory, "--threads", arguments.threads, "--files",
                           str(arguments.files), "--stream-mib", str(arguments.stream_mib)], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        fail(f"{directory}: {done.stderr}")
    rows = {}
    for row in json.loads(done.stdout)["rows"]:
        unit = "per_s" if "per_s" in row else "mb_per_s"
        rows[row["what"], row["threads"], unit] = row[unit]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="canopy-bench compare passthrough")
    parser.add_argument("--bench", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1,16")
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--stream-mib", type=int, default=1024)
    parser.add_argument("--mount-options", default="", help="for canopy-mount, as after -o")
    parser.add_argument("--work-dir", default=None, help="where the temporary directory is made: chooses the file system")
    parser.add_argument("--json", action="store_true", help="one line of JSON in place of a table")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="canopy-bench.", dir=arguments.work_dir)
    mounts = Mounts(arguments, directory)
    figures = {"canopy": [], "passthrough": []}
    try:
        for number in range(arguments.rounds):
            order = ("canopy", "passthrough") if number % 2 == 0 else ("passthrough", "canopy")
            for name in order:
                figures[name].append(measure(arguments, getattr(mounts, name)))
    finally:
        mounts.end()
    shutil.rmtree(directory)
    rows = []
    for key in figures["canopy"][0]:
        values = {name: [figure[key] for figure in figures[name]] for name in figures}
        medians = {name: statistics.median(values[name]) for name in values}
        rows.append({"what": key[0], "threads": key[1], "unit": key[2], **medians,
                     "ratio": round(medians["canopy"] / medians["passthrough"], 2),
                     "least_and_most": {name: [min(values[name]), max(values[name])] for name in values}})
    if arguments.json:
        print(json.dumps({"scenario": "compare passthrough", "rows": rows}))
        return
    print(f"{'what':<22}{'threads':>8}{'unit':>10}{'canopy':>14}{'passthrough':>14}{'ratio':>8}")
    for row in rows:
        print(f"{row['what']:<22}{row['threads']:>8}{row['unit']:>10}{row['canopy']:>14g}{row['passthrough']:>14g}{row['ratio']:>8.2f}")


if __name__ == "__main__":
    main()
