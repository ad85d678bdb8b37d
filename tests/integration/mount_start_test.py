"""How a mount begins and ends: over TLS, in the foreground, under a service manager, and with the daemon gone."""
import errno
import mmap
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from files import read, write
from mounted import Mounted
from stack import BIN, Stack

SECONDS = 60  # a generous bound
USER = 65534  # nobody


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class Starting(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="canopy-start.")
        self.addCleanup(scratch.cleanup)
        self.at, self.log = os.path.join(scratch.name, "at"), os.path.join(scratch.name, "log")
        self.scratch = scratch.name
        os.mkdir(self.at)

    def mount(self, *arguments, **options):
        process = subprocess.Popen([os.path.join(BIN, "canopy-mount"), *arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **options)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait, SECONDS)
        self.addCleanup(subprocess.run, ["fusermount3", "-u", "-q", self.at], check=False, timeout=SECONDS)
        return process

    def certificate(self, stack, role):
        pki = os.path.dirname(stack.facts["ca"])
        subprocess.run([os.path.join(BIN, "canopyctl"), "pki", "issue", "--dir", pki, "--role", role, "--name", role + "-1"],
                       capture_output=True, check=True, timeout=SECONDS)
        return ["--ca", stack.facts["ca"], "--cert", f"{pki}/{role}-1.crt", "--key", f"{pki}/{role}-1.key"]

    def test_over_tls_with_a_certificate_for_mounts(self):
        with Stack() as stack:
            url = "tcp:" + stack.facts["wire"].removeprefix("tcp:")
            mounted = self.mount(url, self.at, "-f", *self.certificate(stack, "mount"))
            self.assertEqual(mounted.stdout.readline(), f"mounted {self.at}\n")
            path = os.path.join(self.at, "SharedDomains", stack.facts["domain"], "file")
            write(path, b"over TLS" * 100_000)
            self.assertEqual(read(os.path.join(stack.facts["base"], "SharedDomains", stack.facts["domain"], "file")),
                             b"over TLS" * 100_000)
            # That role may read mail; flags are for the role admin.
            name = stack.facts["accounts"][0]["name"].split("@")[0]
            inbox = os.path.join(self.at, "accounts", stack.facts["domain"], name, "INBOX")
            write(os.path.join(inbox, "new.eml"), b"Subject: x\r\n\r\nbody\r\n")
            mail = os.path.join(inbox, sorted(os.listdir(inbox))[-1])
            self.assertIn(b"Subject: x", read(mail))
            with self.assertRaises(OSError) as refused:
                os.setxattr(mail, "user.canopy.flags", b"\\Seen")
            self.assertEqual(refused.exception.errno, errno.EPERM)
            subprocess.run(["fusermount3", "-u", self.at], check=True, timeout=SECONDS)
            self.assertEqual(mounted.wait(SECONDS), 0)

    @unittest.skipIf(os.geteuid() != 0 or not shutil.which("setpriv"), "only root can become somebody else")
    def test_what_a_user_mounts_is_the_users(self):
        with Stack() as stack:
            options = self.certificate(stack, "mount")
            files = {each: os.path.join(self.scratch, os.path.basename(each)) for each in options if not each.startswith("--")}
            for source, copy in files.items():  # for the user to read, wherever they lie
                shutil.copy(source, copy)
            for each in (self.scratch, self.at, *files.values()):
                os.chown(each, USER, USER)
            domain, name = stack.facts["domain"], stack.facts["accounts"][0]["name"].split("@")[0]
            account, url = f"{self.at}/accounts/{domain}/{name}", "tcp:" + stack.facts["wire"].removeprefix("tcp:")
            given = " ".join(files.get(each, each) for each in options)
            user = f"set -e; {BIN}/canopy-mount {url} {self.at} {given} --log-file {self.log}; trap 'fusermount3 -u {self.at}' EXIT; " \
                   f"stat -c %u:%g {self.at} {self.at}/accounts {account}/INBOX; ls {self.at}/accounts/{domain}; cat {account}/location; " \
                   f"printf 'Subject: x\\r\\n\\r\\nbody\\r\\n' > {account}/INBOX/m; cat {account}/INBOX/1.eml; " \
                   f"ls {self.at}/SharedDomains/{domain}/{name}.macnt || echo refused"
            # Not every machine lets users open /dev/fuse.
            own = f"mknod -m 666 {self.scratch}/fuse c 10 229 && mount --bind {self.scratch}/fuse /dev/fuse && cd / && " \
                  f"exec setpriv --reuid={USER} --regid={USER} --clear-groups sh -c \"$1\""
            done = subprocess.run(["unshare", "-m", "sh", "-c", own, "sh", user], capture_output=True, text=True, check=False,
                                  timeout=SECONDS)
            self.assertEqual(done.returncode, 0, done.stderr)
            lines = done.stdout.splitlines()
            self.assertEqual(lines[:3], [f"{USER}:{USER}"] * 3)
            for line in (name, f"account {name}@{domain}", "body"):
                self.assertIn(line, lines)
            self.assertEqual(lines[-1], "refused")  # the raw tree's modes and owners are what they are
            self.assertIn(os.strerror(errno.EACCES), done.stderr)

    def test_other_roles_and_tls_without_a_certificate_are_refused(self):
        with Stack() as stack:
            url = "tcp:" + stack.facts["wire"].removeprefix("tcp:")
            for options, said in ((self.certificate(stack, "frontend"), "the role frontend may not mount"),
                                  ([], "tcp needs --ca")):
                refused = self.mount(url, self.at, "-f", *options)
                self.assertEqual(refused.wait(SECONDS), 1)
                self.assertIn(said, refused.stderr.read())
                self.assertFalse(os.path.ismount(self.at))

    def test_a_service_manager_is_told_when_it_is_there(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(os.path.join(self.scratch, "notify"))
        manager.settimeout(SECONDS)
        with Stack() as stack:
            mounted = self.mount("unix:" + stack.facts["socket"], self.at, "--foreground", "-o", "uid=7,gid=9",
                                 env={**os.environ, "NOTIFY_SOCKET": os.path.join(self.scratch, "notify")})
            self.assertEqual(manager.recv(100), b"READY=1")
            self.assertTrue(os.path.ismount(self.at))
            there = os.stat(os.path.join(self.at, "accounts"))
            self.assertEqual((there.st_uid, there.st_gid), (7, 9))
            mounted.send_signal(signal.SIGTERM)
            self.assertEqual(mounted.wait(SECONDS), 0)
            self.assertFalse(os.path.ismount(self.at))

    def test_it_is_unmounted_at_once_while_the_daemon_is_gone(self):
        for program in (["umount"], ["fusermount3", "-u"]):
            with Stack() as stack:
                mounted = Mounted(stack, "-o", "wait=3600")
                process = mounted.process()
                top = mounted.path("SharedDomains", stack.facts["domain"])
                write(os.path.join(top, "file"), b"written")
                self.assertIn("file", os.listdir(top))
                with open(os.path.join(top, "file"), "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
                    mapped[0] = ord("W")
                stack.stop(signal.SIGKILL)
                subprocess.run([*program, mounted.directory], check=True, timeout=SECONDS)
                end = time.monotonic() + SECONDS
                while os.path.exists(f"/proc/{process}"):
                    self.assertLess(time.monotonic(), end, "canopy-mount stays")
                    time.sleep(0.05)
                mounted.clean()
                self.assertEqual(read(os.path.join(stack.facts["base"], "SharedDomains", stack.facts["domain"], "file")),
                                 b"Written")


if __name__ == "__main__":
    unittest.main()
