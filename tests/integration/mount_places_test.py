"""Directories that place domains and accounts, in the raw tree: they stay where they are unless they are empty."""
import errno
import os
import unittest

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

    def errno_of(self, attempt):
        try:
            attempt()
        except OSError as error:
            return errno.errorcode[error.errno]
        return "done"

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
                    "renamed": self.errno_of(lambda at=path: os.rename(at, at + ".new")),
                    "moved up": self.errno_of(lambda at=path: os.rename(at, elsewhere)),
                    "renamed to the name of such a directory":
                        self.errno_of(lambda at=path, to=above: os.rename(at, os.path.join(to, "zz.sub"))),
                    "something else in its place": self.errno_of(lambda at=path: os.rename(other, at)),
                    "removed": self.errno_of(lambda at=path: os.rmdir(at)),
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

    def test_a_link_is_no_way_around(self):
        """By the kernel's rules a directory has one name only; a symbolic link to it is a name of its own."""
        path = self.raw(FOLDED, "js.sub")
        self.assertIn(self.errno_of(lambda: os.link(path, self.raw("linked"))), ("EPERM",))
        link = self.raw("link")
        os.symlink(FOLDED, link)
        self.assertEqual(self.errno_of(lambda: os.rename(os.path.join(link, "js.sub"), self.raw("elsewhere"))), "EBUSY")
        self.assertEqual(self.errno_of(lambda: os.rmdir(link)), "ENOTDIR")
        os.unlink(link)


if __name__ == "__main__":
    unittest.main()
