"""How a mount begins and ends: over TLS, for others, in the foreground, under a service manager, and with the daemon gone."""
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

    def helper(self, url, *options):
        """Mounts as mount(8) does for a line of /etc/fstab with these options; returns when it is mounted."""
        helper = os.path.join(self.scratch, "mount.fuse.canopy")
        if not os.path.lexists(helper):
            os.symlink(os.path.join(BIN, "canopy-mount"), helper)
        given = ",".join(["rw", "_netdev", "log_file=" + self.log, *options])
        subprocess.run([helper, url, self.at, "-o", given], check=True, timeout=SECONDS)
        self.addCleanup(subprocess.run, ["fusermount3", "-u", "-q", self.at], check=False, timeout=SECONDS)

    def unmount(self):
        subprocess.run(["fusermount3", "-u", self.at], check=True, timeout=SECONDS)

    def test_over_tls_with_a_certificate_for_mounts(self):
        with Stack() as stack:
            url = "tcp:" + stack.facts["wire"].removeprefix("tcp:")
            mounted = self.mount(url, self.at, "-f", *self.certificate(stack, "mount"))
            self.assertEqual(mounted.stdout.readline(), f"mounted {self.at}\n")
            path = os.path.join(self.at, "SharedDomains", stack.facts["domain"], "file")
            write(path, b"over TLS" * 100_000)
            self.assertEqual(read(os.path.join(stack.facts["base"], "SharedDomains", stack.facts["domain"], "file")),
                             b"over TLS" * 100_000)
            self.unmount()
            self.assertEqual(mounted.wait(SECONDS), 0)

    def test_a_line_of_fstab_names_the_files_of_tls_and_the_role_decides_on_flags(self):
        with Stack() as stack:
            url = "tcp:" + stack.facts["wire"].removeprefix("tcp:")
            name = stack.facts["accounts"][0]["name"].split("@")[0]
            inbox = os.path.join(self.at, "accounts", stack.facts["domain"], name, "INBOX")
            mail = os.path.join(inbox, "1.eml")
            for role, flags in (("mount", b""), ("admin", b"\\Seen")):
                with self.subTest(role=role):
                    given = self.certificate(stack, role)
                    names = [each.removeprefix("--") for each in given[::2]]
                    self.assertEqual(names, ["ca", "cert", "key"])
                    self.helper(url, *(f"{name}={file}" for name, file in zip(names, given[1::2])))
                    if not os.path.exists(mail):
                        write(os.path.join(inbox, "new.eml"), b"Subject: x\r\n\r\nbody\r\n")
                    self.assertIn(b"Subject: x", read(mail))
                    self.assertEqual(os.listxattr(mail), ["user.canopy.flags"])
                    self.assertEqual(os.getxattr(mail, "user.canopy.flags"), b"")
                    for attempt in (lambda: os.setxattr(mail, "user.canopy.flags", b"\\Seen"),
                                    lambda: os.removexattr(mail, "user.canopy.flags"),
                                    lambda: os.setxattr(mail, "user.canopy.flags", b"\\Seen")):
                        if role == "admin":
                            attempt()
                            continue
                        with self.assertRaises(OSError) as refused:
                            attempt()
                        self.assertEqual(refused.exception.errno, errno.EPERM)
                    self.assertEqual(os.getxattr(mail, "user.canopy.flags"), flags)
                    self.unmount()
            self.assertIn("role=admin", read(self.log).decode())
            for left_out in ("ca", "cert", "key"):
                options = [f"{name}={file}" for name, file in zip(names, given[1::2]) if name != left_out]
                refused = self.mount(url, self.at, "-o", ",".join(options))
                self.assertEqual(refused.wait(SECONDS), 1)
                self.assertIn("tcp needs --ca", refused.stderr.read())
                self.assertFalse(os.path.ismount(self.at))

    def as_user(self, user, script):
        """A shell's status, and what it says, as that user and in no group of root's."""
        done = subprocess.run(["sh", "-c", script], user=user, group=user, extra_groups=[], cwd="/", capture_output=True,
                              text=True, timeout=SECONDS, check=False)
        return done.returncode, done.stdout + done.stderr

    @unittest.skipIf(os.geteuid() != 0, "only root can become somebody else")
    def test_others_come_in_with_allow_other_only_and_the_modes_decide_further(self):
        os.chmod(self.scratch, 0o755)
        if self.as_user(USER, f"ls {self.at}")[0] != 0:
            self.skipTest("another user does not come to " + self.at)
        with Stack() as stack:
            url, domain = "unix:" + stack.facts["socket"], stack.facts["domain"]
            account = f"{self.at}/accounts/{domain}/{stack.facts['accounts'][0]['name'].split('@')[0]}"
            raw = f"{self.at}/SharedDomains/{domain}"
            denied = os.strerror(errno.EACCES)
            self.helper(url)
            os.chmod(os.path.join(stack.facts["base"], "SharedDomains"), 0o755)  # not to be changed in the mount
            os.chmod(raw, 0o755)
            until = time.monotonic() + 3 * SECONDS
            while os.stat(self.at + "/SharedDomains").st_mode & 0o777 != 0o755:  # Ganesha asks anew after 60 s
                self.assertLess(time.monotonic(), until, "the mode does not come through")
                time.sleep(0.1)
            write(raw + "/file", b"for all\n")
            os.chmod(raw + "/file", 0o644)
            write(raw + "/secret", b"for root\n")
            os.chmod(raw + "/secret", 0o600)
            write(account + "/INBOX/new", b"Subject: x\r\n\r\nbody\r\n")
            for path in (self.at, account, raw + "/file"):  # he does not come in at all
                status, said = self.as_user(USER, f"stat -c %s {path}")
                self.assertNotEqual(status, 0, said)
                self.assertIn(denied, said)
            self.unmount()
            self.helper(url, "allow_other")  # what accounts/ shows is root's
            self.assertEqual(self.as_user(USER, f"LC_ALL=C ls {self.at}"), (0, "Settings\nSharedDomains\naccounts\n"))
            self.assertEqual(self.as_user(USER, f"cat {raw}/file"), (0, "for all\n"))
            for attempt in (f"cat {raw}/secret", f"echo x > {raw}/file", f"rm {raw}/file", f"ls {self.at}/accounts",
                            f"cat {account}/settings", f"cat {account}/INBOX/1.eml"):
                with self.subTest(attempt=attempt):
                    status, said = self.as_user(USER, attempt)
                    self.assertNotEqual(status, 0)
                    self.assertRegex(said.lower(), denied.lower())
            self.unmount()
            self.helper(url, "allow_other", f"uid={USER}", f"gid={USER}")  # it is that user's
            status, said = self.as_user(USER, f"ls {account} && cat {account}/settings {account}/INBOX/1.eml && "
                                              f"stat -c %u:%a {account}/INBOX/1.eml")
            self.assertEqual(status, 0, said)
            for line in ("INBOX", "location", "body", f"{USER}:600"):
                self.assertIn(line, said.splitlines())
            status, said = self.as_user(USER - 1, f"ls {account}")
            self.assertNotEqual(status, 0)
            self.assertIn(denied, said)
            self.unmount()
            self.helper(url, "allow_root", "cache_ms=60000")  # who mounts and root
            os.chmod(raw, 0o700)
            for path in (raw + "/secret", account + "/INBOX"):
                for above in (os.path.dirname(raw), raw, os.path.dirname(account), account):
                    os.listdir(above)
                os.stat(path)  # the kernel knows it now, and asks nobody when another user looks
                status, said = self.as_user(USER, f"stat -c %s {path}")
                self.assertNotEqual(status, 0, said)
                self.assertIn(denied, said)
            self.unmount()

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
            user = f"set -e; export TMPDIR={self.scratch}; {BIN}/canopy-mount {url} {self.at} {given} --log-file {self.log}; " \
                   f"trap 'fusermount3 -u {self.at}' EXIT; stat -c %u:%g {self.at} {self.at}/accounts {account}/INBOX; " \
                   f"ls {self.at}/accounts/{domain}; cat {account}/location; " \
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
