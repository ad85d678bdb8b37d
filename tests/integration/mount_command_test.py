"""canopy-mount's command line: completions, its man page, and mount(8) with the type fuse.canopy."""
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from mounted import Mounted
from stack import BIN, SOURCE, Stack

KEPT = "told_ms=3600000,cache_ms=60000"  # names that are known are not asked for again
PROGRAM = os.path.join(BIN, "canopy-mount")


def output_of(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def own_mounts():
    """Whether a command can have mounts that nobody else sees."""
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode == 0


class CommandLine(unittest.TestCase):
    def options(self):
        """Of --help."""
        return set(re.findall(r"(?m)^  (?:  )?(?:-\w,)?(--?[a-z][a-z-]*)", output_of("--help")))

    def complete(self, shell, *words):
        """What the shell offers after these words, the last of which is being typed."""
        script, quoted = output_of("--completion", shell), " ".join(f"'{word}'" for word in ("canopy-mount", *words))
        if shell == "bash":
            program = (script + f"\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _canopy_mount\n"
                       'printf "%s\\n" "${COMPREPLY[@]}"\n')
            command = ["bash", "--norc", "-c", program]
        else:
            # These belong to the completion system; here they print what they are given.
            program = ("compdef() { :; }; compset() { :; }; _files() { print FILES; }\n"
                       "compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- \"$@\"; }\n"
                       + script + f"\nwords=({quoted}); CURRENT={len(words) + 1}; _canopy-mount\n")
            command = ["zsh", "-f", "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(done.stdout.split())

    def test_completions_offer_what_the_program_takes(self):
        self.assertIn("--foreground", self.options())
        for shell in ("bash", "zsh"):
            with self.subTest(shell=shell):
                if shutil.which(shell) is None:
                    continue
                parsed = subprocess.run([shell, "-n"], input=output_of("--completion", shell), capture_output=True, text=True, check=False)
                self.assertEqual((parsed.returncode, parsed.stderr), (0, ""))
                self.assertEqual(self.options() - self.complete(shell, "-"), set())
                self.assertLessEqual({"unix:", "tcp:"}, self.complete(shell, ""))
                offered = self.complete(shell, "-o", "")
                self.assertLessEqual({"ro", "allow_other", "cache_ms=", "log_file="}, offered)
                for option in offered:  # each is one
                    given = option + "5" if option.endswith("=") else option
                    error = subprocess.run([PROGRAM, "unix:/nowhere", "/nowhere", "-o", given], capture_output=True, text=True, check=False)
                    self.assertIn("/nowhere: it is no directory", error.stderr)
        self.assertEqual(self.complete("bash", "--completion", "b"), {"bash"})
        self.assertEqual(self.complete("bash", "-o", "ro,ca"), {"ro,cache_ms=", "ro,ca="})
        self.assertIn("etc", self.complete("bash", "--log-file", "e"))
        self.assertIn("FILES", self.complete("zsh", "--log-file", "e"))

    def test_what_cannot_work_is_told_at_the_start(self):
        with tempfile.TemporaryDirectory() as directory:
            nowhere = os.path.join(directory, "no", "log")
            mount = [PROGRAM, "unix:/nowhere", directory]
            daemon = [os.path.join(BIN, "canopyd"), "--dir", os.path.join(directory, "base"), "--init",
                      "--listen", "unix:" + os.path.join(directory, "socket")]
            for command, environment, status, said in (
                    ([*mount, "--log-file", nowhere], {}, 2, nowhere + ": the log cannot be written there: "),
                    ([*mount, "-o", "log_file=" + nowhere], {}, 2, nowhere + ": the log cannot be written there: "),
                    ([*daemon, "--log-file", nowhere], {}, 2, nowhere + ": the log cannot be written there: "),
                    (mount, {"TMPDIR": nowhere}, 2, "TMPDIR=" + nowhere + ": "),
                    ([*mount, "-o", "ro"], {"TMPDIR": nowhere}, 1, "/nowhere"),
                    ([*mount, "-o", "wait=0"], {}, 2, "-o wait: it takes a number from 1 to 86400"),
                    ([*mount, "-o", "wait=0.5"], {}, 2, "-o wait: it takes a number from 1 to 86400"),
                    ([*mount, "-o", "max_read=65536"], {}, 2, "-o max_read=65536: it is no option of canopy-mount"),
                    ([*mount, "-o", "auto_unmount"], {}, 2, "-o auto_unmount: it is no option of canopy-mount")):
                with self.subTest(command=command[2:], environment=environment):
                    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                                          env={**os.environ, **environment})
                    self.assertEqual(done.returncode, status, done.stderr)
                    self.assertIn(said, done.stderr)
            self.assertEqual(os.listdir(directory), [])

    def test_the_man_page_names_every_option(self):
        with open(os.path.join(SOURCE, "docs/man/canopy-mount.8"), encoding="utf-8") as file:
            page = file.read().replace("\\-", "-")
        left_out = {"suid", "dev", "exec"}  # the opposites of what is said
        for option in self.options() | self.complete("bash", "-o", "") - left_out:
            self.assertIn(option, page)
        if shutil.which("man"):
            formatted = subprocess.run(["man", "--warnings", "-l", os.path.join(SOURCE, "docs/man/canopy-mount.8")],
                                       capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
            self.assertEqual((formatted.returncode, formatted.stderr), (0, ""))


@unittest.skipUnless(os.path.exists("/dev/fuse") and own_mounts(), "mount(8) cannot be tried here")
class Mount(unittest.TestCase):
    """In mounts of its own, where /sbin holds nothing but the helper and /etc/fstab is ours."""

    def run_with(self, fstab, script):
        with tempfile.TemporaryDirectory() as directory:
            helper, table = os.path.join(directory, "sbin"), os.path.join(directory, "fstab")
            os.mkdir(helper)
            os.symlink(PROGRAM, os.path.join(helper, "mount.fuse.canopy"))
            with open(table, "w", encoding="utf-8") as file:
                file.write(fstab)
            begin = f"set -e; mount --bind {helper} $(realpath /sbin); [ ! -e /etc/fstab ] || mount --bind {table} /etc/fstab; "
            # A file, as the mount in the background keeps what it was given.
            with open(os.path.join(directory, "out"), "w+", encoding="utf-8") as out:
                done = subprocess.run(["unshare", "-m", "sh", "-c", begin + script], stdout=out, stderr=out, timeout=120, check=False)
                out.seek(0)
                return done.returncode, out.read()

    def test_what_the_kernel_shall_know_comes_to_it(self):
        looked_for = {"nosuid", "nodev", "noexec", "noatime", "allow_other", "default_permissions"}
        always = {"nosuid", "nodev"}  # unless the opposite is said
        others = {"allow_other", "default_permissions"}  # who comes in is looked at
        with Stack() as stack, tempfile.TemporaryDirectory() as directory:
            url, target, log = "unix:" + stack.facts["socket"], os.path.join(directory, "at"), os.path.join(directory, "log")
            os.mkdir(target)
            file = f"{target}/SharedDomains/{stack.facts['domain']}/program"
            for given, wanted in (("noatime", always | {"noatime"}), ("noexec", always | {"noexec"}),
                                  ("suid", {"nodev"}), ("dev", {"nosuid"}), ("suid,dev,exec", set()),
                                  ("suid,nosuid,dev,nodev", always), ("allow_other", always | others),
                                  ("allow_root", always | others),  # which the kernel does not know: libfuse looks who asks
                                  ("nosuid,nodev,noexec,noatime", always | {"noexec", "noatime"})):
                with self.subTest(options=given), Mounted(stack, "-o", given) as mounted:
                    self.assertEqual(self.options_of(mounted.directory) & looked_for, wanted)
            look = (f"grep ' {target} ' /proc/mounts | cut -d' ' -f4; printf '#!/bin/sh\\necho ran\\n' > {file}; chmod 755 {file}; "
                    f"{file} 2>&1 || echo refused; umount {target}")
            for given, said_of_it in (("nosuid,nodev,noexec,noatime", "refused"), ("nosuid,exec,noatime", "ran")):
                status, said = self.run_with("", f"mount -t fuse.canopy -o {given},log_file={log} {url} {target}; {look}")
                self.assertEqual(status, 0, said)
                shown, *ran = said.splitlines()
                self.assertEqual(set(shown.split(",")) & looked_for, always | set(given.split(",")) - {"exec"})
                self.assertEqual(ran[-1], said_of_it)

    @staticmethod
    def options_of(directory):
        with open("/proc/mounts", encoding="utf-8") as mounts:
            return next(set(line.split()[3].split(",")) for line in mounts if line.split()[1] == directory)

    def test_mount_by_type_and_by_a_line_of_fstab(self):
        with Stack() as stack, tempfile.TemporaryDirectory() as directory:
            url, target, log = "unix:" + stack.facts["socket"], os.path.join(directory, "at"), os.path.join(directory, "log")
            os.mkdir(target)
            for options, expected in (("ro,rw", "rw"), ("rw,ro", "ro")):  # the last one counts
                status, said = self.run_with("", f"mount -t fuse.canopy -o {options},log_file={log} {url} {target}; "
                                                 f"grep -o ' {target} fuse.canopy r[ow]' /proc/mounts; umount {target}")
                self.assertEqual((status, said), (0, f" {target} fuse.canopy {expected}\n"))
            look = f"LC_ALL=C ls {target}; mkdir {target}/Settings/x || echo refused; umount {target}; ls {target} | wc -l"
            status, said = self.run_with("", f"mount -t fuse.canopy -o ro,_netdev,nofail,log_file={log} {url} {target}; {look}")
            self.assertEqual(status, 0, said)
            self.assertIn("Settings\nSharedDomains\naccounts\n", said)
            self.assertIn(os.strerror(errno.EROFS), said)
            self.assertTrue(said.endswith("refused\n0\n"), said)
            if not os.path.exists("/etc/fstab"):
                self.skipTest("there is no /etc/fstab to put another one in front of")
            line = f"{url} {target} fuse.canopy _netdev,noauto,x-systemd.automount,uid=7,log_file={log} 0 0\n"
            status, said = self.run_with(line, f"mount {target}; stat -c %u {target}/accounts; grep -c {target} /proc/mounts; umount {target}")
            self.assertEqual((status, said), (0, "7\n1\n"))
            with open(log, encoding="utf-8") as file:
                self.assertIn("mounted object=" + target, file.read())
            again = (f"mount -a -t fuse.canopy; mount -a -t fuse.canopy; grep -c {target} /proc/mounts; "
                     f"grep -c '^{url} ' /proc/mounts; umount {target}")
            self.assertEqual(self.run_with(line.replace("noauto,", ""), again), (0, "1\n1\n"))
            status, said = self.run_with(line.replace(url, url + ".not"), f"mount {target}")
            self.assertNotEqual(status, 0)
            self.assertIn(url + ".not", said)


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class Ending(unittest.TestCase):
    """While the daemon is gone, a program waits for it, and the thread that tells the kernel of changes for that program."""

    def waiting(self, stack, mounted):
        """That program, once all of them wait."""
        top = mounted.path("SharedDomains", stack.facts["domain"], "top")
        os.makedirs(os.path.join(top, "known"))
        os.stat(os.path.join(top, "known"))
        process = mounted.process()
        # First the program, which has the directory locked while it waits; the daemon stands still for that.
        daemon = self.child_of(stack.process.pid, "canopyd")
        os.kill(daemon, signal.SIGSTOP)
        program = subprocess.Popen([sys.executable, "-c", f"import os; print('now', flush=True); os.mkdir('{top}/new')"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.stderr.close)
        self.assertEqual(program.stdout.readline(), "now\n")
        self.until(lambda: self.states(program.pid) == ["S"])
        # Then the connection is lost, so that the kernel is told to ask for everything again.
        os.kill(stack.process.pid, signal.SIGSTOP)  # or else it starts canopyd again
        os.kill(daemon, signal.SIGKILL)
        stack.stop(signal.SIGKILL)
        self.until(lambda: "D" in self.states(process))
        return process, program

    @staticmethod
    def child_of(process, name):
        with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as file:
            for child in file.read().split():
                with open(f"/proc/{child}/comm", encoding="utf-8") as comm:
                    if comm.read().strip() == name:
                        return int(child)
        raise RuntimeError(f"{process} has no child {name}")

    def states(self, process):
        """Of a process' threads; none when it has ended."""
        found = []
        try:
            for thread in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{thread}/stat", encoding="utf-8") as file:
                    found.append(file.read().rsplit(")", 1)[1].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
        return [state for state in found if state not in "ZX"]

    def until(self, look):
        for _ in range(1200):
            if look():
                return
            time.sleep(0.05)
        self.fail("it does not come")

    def test_sigterm_ends_it_with_all_that_waits(self):
        with Stack() as stack:
            mounted = Mounted(stack, "-o", KEPT + ",wait=3600")
            process, program = self.waiting(stack, mounted)
            os.kill(process, signal.SIGTERM)
            self.until(lambda: not self.states(process))
            self.assertNotEqual(program.wait(60), 0)
            self.assertIn(os.strerror(errno.ECONNABORTED), program.stderr.read())
            self.assertFalse(os.path.ismount(mounted.directory))
            mounted.clean()

    def test_sigterm_ends_it_though_another_namespace_has_the_mount_too(self):
        with Stack() as stack:
            mounted = Mounted(stack)
            process = mounted.process()
            holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", "echo in; exec sleep 600"],
                                      stdout=subprocess.PIPE, text=True)
            self.addCleanup(holder.stdout.close)
            try:
                self.assertEqual(holder.stdout.readline(), "in\n")
                subprocess.run(["fusermount3", "-u", mounted.directory], check=True, timeout=60)
                os.kill(process, signal.SIGTERM)
                self.until(lambda: not self.states(process))
            finally:
                holder.kill()
                holder.wait(60)
            mounted.clean()

    def test_unmounted_lazily_it_ends_with_the_last_that_waits(self):
        with Stack() as stack:
            mounted = Mounted(stack, "-o", KEPT + ",wait=2")
            process, program = self.waiting(stack, mounted)
            subprocess.run(["fusermount3", "-u", "-z", mounted.directory], check=True, timeout=60)
            self.assertNotEqual(program.wait(60), 0)
            self.assertIn(os.strerror(errno.EIO), program.stderr.read())
            self.until(lambda: not self.states(process))
            mounted.clean()

    def test_the_daemon_back_all_go_on(self):
        with Stack() as stack, Mounted(stack, "-o", KEPT + ",wait=3600") as mounted:
            _, program = self.waiting(stack, mounted)
            stack.start()
            self.assertEqual(program.wait(60), 0)


if __name__ == "__main__":
    unittest.main()
