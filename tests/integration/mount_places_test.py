"""Directories that place domains and accounts, and files of the daemon's own, in the raw tree: they stay as they are, the
directories unless they are empty."""
import os
import subprocess
import unittest

from files import error_of, read, write
from mount_case import MountCase

FOLDED = "folded.example"  # its accounts lie in folders, and their settings under `fast`
AWAKE, ASLEEP = "jsmith", "sleeper"


class Places(MountCase):
    @classmethod
    def prepare(cls):
        cls.stack.ctl("domain", "create", FOLDED, "--account-foldering", "2-1", "--fast-index", "2")
        for name in (AWAKE, ASLEEP):
            cls.stack.ctl("account", "create", f"{name}@{FOLDED}", "--no-password")

    def raw(self, *parts):
        return self.mounted.path("SharedDomains", *parts)

    def places(self):
        """Every directory that holds something of a domain or an account, by what it is."""
        places = {
            "a domain": self.raw(self.domain),
            "a domain with folders": self.raw(FOLDED),
            "a folder of folders": self.raw(FOLDED, "js.sub"),
            "a folder of accounts": self.raw(FOLDED, "js.sub", "m.sub"),
            "an account": self.raw(FOLDED, "js.sub", "m.sub", AWAKE + ".macnt"),
            "another account": self.raw(FOLDED, "sl.sub", "e.sub", ASLEEP + ".macnt"),
            "fast": self.raw(FOLDED, "fast"),
            "a folder of folders under fast": self.raw(FOLDED, "fast", "js.sub"),
            "a folder under fast": self.raw(FOLDED, "fast", "js.sub", "m.sub"),
        }
        for kind, path in places.items():
            self.assertTrue(os.path.isdir(path), f"{kind}: {path}")
        return places

    def test_none_that_holds_something_is_renamed_or_removed(self):
        self.stack.ctl("account", "suspend", f"{ASLEEP}@{FOLDED}")
        self.addCleanup(self.stack.ctl, "account", "resume", f"{ASLEEP}@{FOLDED}")
        with open(self.raw(FOLDED, "sl.sub", "e.sub", ASLEEP + ".macnt", "by hand"), "wb"):
            pass
        elsewhere, other = self.raw("elsewhere"), self.raw("other")
        os.mkdir(other)
        self.addCleanup(os.rmdir, other)
        before = sorted(os.walk(self.stack.facts["base"] + "/SharedDomains"))
        for kind, path in self.places().items():
            above = os.path.dirname(path)
            with self.subTest(kind=kind):
                seen = {
                    "renamed": error_of(lambda at=path: os.rename(at, at + ".new")),
                    "moved up": error_of(lambda at=path: os.rename(at, elsewhere)),
                    "renamed to the name of such a directory":
                        error_of(lambda at=path, to=above: os.rename(at, os.path.join(to, "zz.sub"))),
                    "something else in its place": error_of(lambda at=path: os.rename(other, at)),
                    "removed": error_of(lambda at=path: os.rmdir(at)),
                }
                wanted = {"renamed": "EBUSY", "moved up": "EBUSY", "renamed to the name of such a directory": "EBUSY",
                          "something else in its place": "ENOTEMPTY", "removed": "ENOTEMPTY"}
                if kind == "an account":  # its files are not for other hands at all
                    wanted = dict.fromkeys(wanted, "EBUSY")
                self.assertEqual(seen, wanted)
        self.assertEqual(sorted(os.walk(self.stack.facts["base"] + "/SharedDomains")), before)
        self.assertIn("moves by canopyctl only, unless it is empty", self.mounted.logged())

    def test_empty_ones_are_directories_like_others(self):
        for name in ("empty.example", "em.sub", "fast"):
            for above in (self.raw(), self.raw(FOLDED)) if name == "em.sub" else (self.raw(),):
                path = os.path.join(above, name)
                with self.subTest(path=path):
                    os.mkdir(path)
                    os.rename(path, self.raw("zz.sub"))
                    self.assertFalse(os.path.exists(path))
                    os.rename(self.raw("zz.sub"), path)
                    os.rmdir(path)
        # An account's is its account, empty or not, until that is suspended; then it is a directory, too.
        name = f"{ASLEEP}@{FOLDED}"
        self.stack.ctl("account", "suspend", name)
        path, aside = self.raw(FOLDED, "sl.sub", "e.sub", ASLEEP + ".macnt"), self.raw("aside")
        os.mkdir(aside)
        kept = os.listdir(path)
        for each in kept:
            os.rename(os.path.join(path, each), os.path.join(aside, each))
        os.rename(path, self.raw("emptied"))
        os.rename(self.raw("emptied"), path)
        os.rmdir(path)
        os.mkdir(path)
        for each in kept:
            os.rename(os.path.join(aside, each), os.path.join(path, each))
        os.rmdir(aside)
        self.stack.ctl("account", "resume", name)

    def refusals(self, path):
        """What each kind of change of it answers."""
        other, elsewhere = self.raw("other file"), self.raw("elsewhere")
        attempts = {
            "open": lambda: os.close(os.open(path, os.O_RDWR)),
            "create": lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
            "truncate": lambda: os.truncate(path, 0),
            "chmod": lambda: os.chmod(path, 0o777),
            "chown": lambda: os.chown(path, 7, 7),
            "utimes": lambda: os.utime(path, (1, 1)),
            "set an attribute": lambda: os.setxattr(path, "user.x", b"1"),
            "remove an attribute": lambda: os.removexattr(path, "user.x"),
            "unlink": lambda: os.unlink(path),
            "rmdir": lambda: os.rmdir(path),
            "rename": lambda: os.rename(path, path + "-new"),
            "move": lambda: os.rename(path, elsewhere),
            "move onto": lambda: os.rename(other, path),
            "link": lambda: os.link(path, elsewhere),
            "link onto": lambda: os.link(other, path),
            "mkdir": lambda: os.mkdir(path),
            "symlink": lambda: os.symlink("x", path),
        }
        return {what: error_of(attempt) for what, attempt in attempts.items()}

    def test_the_files_of_the_daemon_and_the_two_roots_stay_as_they_are(self):
        write(self.raw("other file"), b"other")
        self.addCleanup(os.unlink, self.raw("other file"))
        register = ["SharedDomains/" + name for name in os.listdir(self.raw()) if name.startswith("heartbeat.data")]
        self.assertEqual(len(register), 2, register)  # itself, and the claim of this generation
        daemons = ["Settings/Cluster.settings", f"SharedDomains/{self.domain}/domain.settings",
                   f"SharedDomains/{FOLDED}/domain.settings"]

        def state():
            found = {}
            for name in daemons + register:
                path = os.path.join(self.stack.facts["base"], name)
                at = os.stat(path)
                found[name] = [at.st_mode, at.st_uid, at.st_gid, at.st_nlink, os.listxattr(path)]
                if name in daemons:  # the register is written all the time
                    found[name] += [at.st_mtime_ns, read(path)]
            return found

        before = state()
        for name in daemons + register:
            with self.subTest(name=name):
                seen = self.refusals(self.mounted.path(name))
                by_the_kernel = {"rmdir": "ENOTDIR", "link onto": "EEXIST", "mkdir": "EEXIST", "symlink": "EEXIST"}
                self.assertEqual(seen, dict.fromkeys(seen, "EBUSY") | by_the_kernel)
        self.assertEqual(state(), before)
        for name in ("Settings/Tree.settings", "Settings/New.settings", "Settings/New.data"):  # such a name is the daemon's, too
            with self.subTest(name=name):
                seen = self.refusals(self.mounted.path(name))
                of_new_ones = ("create", "move onto", "link onto", "mkdir", "symlink")
                self.assertEqual(seen, dict.fromkeys(seen, "ENOENT") | dict.fromkeys(of_new_ones, "EBUSY"))
        for name in ("SharedDomains", "Settings"):
            with self.subTest(name=name):
                seen = self.refusals(self.mounted.path(name))
                of_attributes = ("chmod", "chown", "utimes", "set an attribute", "remove an attribute")
                self.assertEqual({seen[what] for what in of_attributes}, {"EBUSY"}, seen)
                self.assertEqual((seen["rmdir"], seen["rename"], seen["unlink"]), ("EPERM", "EPERM", "EISDIR"))
                self.assertNotIn("done", seen.values())
        self.assertEqual(sorted(os.listdir(self.mounted.directory)), ["Settings", "SharedDomains", "accounts"])
        self.assertEqual(read(self.raw("other file")), b"other")
        for said in ("canopyctl settings set", "canopyctl domain set " + FOLDED, "the backends' own register"):
            self.assertIn(said, self.mounted.logged())

    def test_other_files_in_settings_are_files_like_others(self):
        path = self.mounted.path("Settings", "notes.txt")
        lies = os.path.join(self.stack.facts["base"], "Settings", "notes.txt")
        write(path, b"written by hand")
        self.assertEqual((read(path), read(lies)), (b"written by hand", b"written by hand"))
        self.assertIn("notes.txt", os.listdir(self.mounted.path("Settings")))
        os.chmod(path, 0o640)
        os.rename(path, path + ".old")
        self.assertEqual(os.stat(lies + ".old").st_mode & 0o777, 0o640)
        os.unlink(path + ".old")
        self.assertFalse(os.path.exists(path) or os.path.exists(lies + ".old"))

    def test_an_account_is_found_by_its_name_and_says_which_folders_it_lies_in(self):
        found = subprocess.run(["find", self.mounted.path("accounts"), "-name", AWAKE], capture_output=True, text=True,
                               timeout=60, check=True).stdout.splitlines()
        directory = self.mounted.path("accounts", FOLDED, AWAKE)
        self.assertIn(directory, found)
        said = dict(line.split(" ", 1) for line in read(os.path.join(directory, "location")).decode().splitlines())
        self.assertEqual(said["account"], f"{AWAKE}@{FOLDED}")
        self.assertEqual(said["directory"], f"SharedDomains/{FOLDED}/js.sub/m.sub/{AWAKE}.macnt")
        self.assertEqual(said["settings"], f"SharedDomains/{FOLDED}/fast/js.sub/m.sub/{AWAKE}.settings")
        self.assertTrue(os.path.isdir(self.mounted.path(said["directory"])))
        self.assertIn(b"Created", read(self.mounted.path(said["settings"])))

    def test_a_link_is_no_way_around(self):
        """By the kernel's rules a directory has one name only; a symbolic link to it is a name of its own."""
        path = self.raw(FOLDED, "js.sub")
        self.assertIn(error_of(lambda: os.link(path, self.raw("linked"))), ("EPERM",))
        link = self.raw("link")
        os.symlink(FOLDED, link)
        self.assertEqual(error_of(lambda: os.rename(os.path.join(link, "js.sub"), self.raw("elsewhere"))), "EBUSY")
        self.assertEqual(error_of(lambda: os.rmdir(link)), "ENOTDIR")
        os.unlink(link)


if __name__ == "__main__":
    unittest.main()
