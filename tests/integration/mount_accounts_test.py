"""What is written under accounts/ of the mount: mail, mailboxes, settings, flags."""
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from files import read, write
from mount_case import MESSAGE, MountCase
from mounted import Mounted
from stack import BIN, Stack
from wire import Refused, Wire

SEEN, FLAGGED = 1, 4  # as the wire protocol has them
ADD = 1
INFO = 1


def shell(command, check=True):
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}: {done.stderr}")
    return done


class Accounts(MountCase):
    def setUp(self):
        self.box = self.account(self._testMethodName)
        os.mkdir(self.box)
        self.scratch = tempfile.mkdtemp(prefix="canopy-it.")
        self.addCleanup(shutil.rmtree, self.scratch)
        self.message = os.path.join(self.scratch, "a.eml")
        write(self.message, MESSAGE)
        os.utime(self.message, (1_600_000_000, 1_600_000_000))

    def deliver(self, box=None, content=MESSAGE):
        box = box or self.box
        before = set(os.listdir(box))
        write(os.path.join(box, "new.eml"), content)
        self.soon(lambda: set(os.listdir(box)) > before)
        new, = set(os.listdir(box)) - before
        return os.path.join(box, new)

    def soon(self, look):
        """Waits until it is true; how soon that is says docs/operations/mount.md."""
        for _ in range(600):
            try:
                if look():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.fail("it does not show")

    def test_copying_delivers(self):
        shell(f"cp -p {self.message} {self.box}/ && cp {self.message} {self.box}/x.eml")
        self.assertEqual(os.listdir(self.box), ["1.eml", "2.eml"])
        for name in ("1.eml", "2.eml", "a.eml", "x.eml"):  # the names that were written lead to it for a while
            self.assertEqual(read(os.path.join(self.box, name)), MESSAGE)
            self.assertEqual(os.stat(os.path.join(self.box, name)).st_size, len(MESSAGE))
        self.assertEqual(os.stat(os.path.join(self.box, "1.eml")).st_mtime, 1_600_000_000)
        self.assertLess(abs(os.stat(os.path.join(self.box, "2.eml")).st_mtime - time.time()), 3600)
        shell(f"cat {self.message} > {self.box}/redirected")
        self.assertEqual(read(os.path.join(self.box, "3.eml")), MESSAGE)
        write(os.path.join(self.box, "x.eml"), b"another: one\r\n\r\n")  # the same name is another message
        self.assertEqual(read(os.path.join(self.box, "x.eml")), b"another: one\r\n\r\n")
        self.assertEqual(read(os.path.join(self.box, "2.eml")), MESSAGE)
        self.assertEqual(len(os.listdir(self.box)), 4)

    def test_what_has_been_delivered_is_in_the_next_listing(self):
        for number in range(1, 101):
            write(os.path.join(self.box, f"m{number}"), MESSAGE)
            self.assertEqual(len(os.listdir(self.box)), number)
        for number in range(1, 101):
            os.unlink(os.path.join(self.box, f"{number}.eml"))
            self.assertEqual(len(os.listdir(self.box)), 100 - number)

    def test_what_has_been_delivered_does_not_change(self):
        message = self.deliver()
        self.refused(errno.EACCES, lambda: write(message, b"other"))
        self.refused(errno.EPERM, lambda: os.rename(message, os.path.join(self.box, "other")))
        write(os.path.join(self.box, ".new"), b"x: y\r\n\r\n")
        self.refused(errno.EPERM, lambda: os.rename(os.path.join(self.box, ".new"), message))
        self.assertEqual(read(message), MESSAGE)

    def test_a_forked_process_that_closes_its_copy_delivers_nothing(self):
        writing = os.open(os.path.join(self.box, "forked"), os.O_WRONLY | os.O_CREAT)
        os.write(writing, MESSAGE[:10])
        for _ in range(2):
            subprocess.run(["true"], check=True)  # closes its copies of what is open here
            if (child := os.fork()) == 0:
                os._exit(0)
            os.waitpid(child, 0)
        self.assertEqual(os.listdir(self.box), [])
        os.write(writing, MESSAGE[10:])
        os.close(writing)
        self.assertEqual([read(os.path.join(self.box, name)) for name in os.listdir(self.box)], [MESSAGE])

    def test_what_a_killed_program_has_written_is_no_message(self):
        path = os.path.join(self.box, "killed.eml")
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            writer = subprocess.Popen(["sh", "-c", f"exec cat > {path}"], stdin=subprocess.PIPE,
                                      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            writer.stdin.write(MESSAGE)
            writer.stdin.flush()
            self.soon(lambda: os.stat(path).st_size == len(MESSAGE))
            writer.send_signal(how)
            self.assertEqual(writer.wait(60), -how)
            writer.stdin.close()
            self.assertEqual(os.listdir(self.box), [])
            self.soon(lambda: not os.path.exists(path))
        self.assertIn("delivery-dropped object=" + self.name, self.mounted.logged())
        # Another program that has it open cannot make a message of the rest.
        held = os.open(path, os.O_WRONLY | os.O_CREAT)
        done = subprocess.run(["sh", "-c", "echo part; kill -9 $$"], stdout=held, check=False)
        self.assertEqual(done.returncode, -9)
        os.write(held, b"rest")
        self.refused(errno.EIO, lambda: os.close(held))
        self.assertEqual(os.listdir(self.box), [])
        # Who ends without closing has said all that it had to say, whatever its status.
        with open(os.path.join(self.box, "whole"), "wb") as whole:
            subprocess.run([sys.executable, "-c", f"import os; os.write(1, {MESSAGE!r}); os._exit(3)"], stdout=whole, check=False)
        self.assertEqual(read(os.path.join(self.box, "1.eml")), MESSAGE)
        # The same for settings.
        settings = self.account("settings")
        before = read(settings)
        with open(settings, "wb") as cut:
            subprocess.run(["sh", "-c", "echo '{Colour=cut;}'; kill -9 $$"], stdout=cut, check=False)
        self.assertEqual(read(settings), before)

    def test_an_empty_file_is_no_message(self):
        write(os.path.join(self.box, "empty"), b"")
        self.assertEqual(os.listdir(self.box), [])

    def test_a_temporary_name_is_delivered_when_it_is_renamed(self):
        temporary = os.path.join(self.box, ".a.eml.Xy12")
        write(temporary, MESSAGE)
        os.utime(temporary, (1_500_000_000, 1_500_000_000))
        self.assertEqual(os.listdir(self.box), [])
        os.rename(temporary, os.path.join(self.box, "a.eml"))
        self.assertEqual(os.listdir(self.box), ["1.eml"])
        self.assertEqual(os.stat(os.path.join(self.box, "1.eml")).st_mtime, 1_500_000_000)
        self.soon(lambda: read(os.path.join(self.box, "a.eml")) == MESSAGE)
        self.assertEqual(read(os.path.join(self.box, "a.eml")), MESSAGE)
        self.assertFalse(os.path.exists(temporary))

    def test_a_message_that_is_being_written_has_the_time_of_that(self):
        before = time.time_ns()
        temporary = os.path.join(self.box, ".a.eml.Xy12")
        write(temporary, MESSAGE)
        self.assertTrue(before <= os.stat(temporary).st_mtime_ns <= time.time_ns())
        os.unlink(temporary)

    def test_what_is_removed_before_it_is_closed_is_not_delivered(self):
        path = os.path.join(self.box, "gone.eml")
        with open(path, "wb", buffering=0) as file:
            file.write(MESSAGE)
            os.unlink(path)
            file.write(MESSAGE)
            time.sleep(0.1)  # the kernel's caches
            self.assertEqual(os.fstat(file.fileno()).st_size, 2 * len(MESSAGE))
            self.assertFalse(os.path.exists(path))
        self.assertEqual(os.listdir(self.box), [])
        # Its name is another message's.
        with open(path, "wb", buffering=0) as file:
            file.write(b"Subject: first\r\n\r\n")
            os.unlink(path)
            write(path, MESSAGE)
        self.assertEqual(os.listdir(self.box), ["1.eml"])
        self.assertEqual(read(os.path.join(self.box, "1.eml")), MESSAGE)

    def test_what_is_no_utf8_is_refused_with_a_sentence(self):
        for directory in ("accounts", os.path.join("accounts", self.domain), self.account(), self.box):
            path = os.fsencode(self.mounted.path(directory)) + b"/caf\xe9"
            self.refused(errno.ENOENT, lambda at=path: os.stat(at))
        self.refused(errno.EILSEQ, lambda: os.mkdir(os.fsencode(self.box) + b"/caf\xe9"))
        self.refused(errno.EILSEQ, lambda: os.mkdir(self.box + "/caf%E9"))
        message = self.deliver()
        self.refused(errno.EINVAL, lambda: os.setxattr(message, "user.canopy.flags", b"caf\xe9"))
        for name in ("settings", "info"):
            self.refused(errno.EINVAL, lambda at=name: write(self.account(at), b'{Name="caf\xe9";}'))
            self.assertIn(b"the text is no UTF-8", read(self.account(".last-error")))
        os.unlink(self.account(".last-error"))
        # Who asks the backend for such a thing itself is refused by it, and its log has lines of its own kind only.
        with Wire(self.stack.facts["socket"]) as wire, self.assertRaises(Refused):
            wire.call("Mailboxes.Status", {1: {1: self.name}, 2: b"caf\xe9"})
        self.assertNotIn(b"libprotobuf", read(os.path.join(self.stack.directory, "logs", "canopyd.log")))
        # A file that becomes a message may have any name: it is written nowhere.
        write(os.fsencode(self.box) + b"/caf\xe9.eml", MESSAGE)
        self.assertEqual(os.listdir(self.box), ["1.eml", "2.eml"])

    def test_mailboxes_with_names_that_no_file_can_have_are_left_out(self):
        self.refused(errno.ENAMETOOLONG, lambda: os.mkdir(os.path.join(self.box, "x" * 256)))
        self.refused(errno.ENAMETOOLONG, lambda: os.mkdir(os.path.join(self.box, "%25" * 86)))
        os.mkdir(os.path.join(self.box, "x" * 255))
        for name in (os.path.basename(self.box) + "/" + "y" * 256, "z" * 256):
            self.stack.ctl("mailbox", "create", self.name, name)
        self.assertEqual(os.listdir(self.box), ["x" * 255])
        for name in os.listdir(self.account()):
            os.stat(self.account(name))
        self.assertNotIn("z" * 256, os.listdir(self.account()))
        self.assertEqual(self.mounted.logged().count("mailbox-left-out object=" + self.name + " mailbox=" + "z" * 256), 1)

    def test_settings_info_and_location_have_the_times_of_their_files(self):
        raw = self.mounted.path("SharedDomains", self.domain, self.local + ".macnt")
        with Mounted(self.stack) as other:
            for name, key in (("settings", "Colour"), ("info", "Language")):
                for value in ("red", "tan"):  # of one size
                    before = time.time()
                    write(self.account(name), f"{{{key}={value};}}".encode())
                    self.soon(lambda at=name: os.stat(self.account(at)).st_mtime >= before - 1)
                    time.sleep(0.1)  # the kernel's caches
                    modified = os.stat(self.account(name)).st_mtime_ns
                    self.assertEqual(modified, os.stat(os.path.join(raw, "account." + name)).st_mtime_ns)
                    self.assertEqual(modified, os.stat(other.path("accounts", self.domain, self.local, name)).st_mtime_ns)
                    self.assertGreaterEqual(os.stat(self.account("location")).st_mtime_ns, modified)
            self.assertEqual(os.stat(self.account("location")).st_mtime_ns,
                             os.stat(other.path("accounts", self.domain, self.local, "location")).st_mtime_ns)

    def test_a_large_message_goes_in_pieces(self):
        content = MESSAGE + b"0123456789abcdef\r\n" * 400_000
        self.assertEqual(read(self.deliver(content=content)), content)

    def test_errors_come_with_close(self):
        other = self.stack.account(1)[0]
        self.stack.ctl("settings", "set", other, "StorageLimit=#1000")
        inbox = self.mounted.path("accounts", self.domain, other.split("@")[0], "INBOX")
        self.refused(errno.EDQUOT, lambda: write(os.path.join(inbox, "x"), bytes(5000)))
        self.assertIn("delivery-refused", self.mounted.logged())
        self.assertEqual(os.listdir(inbox), [])

    def test_removing_expunges(self):
        message = self.deliver()
        os.unlink(message)
        self.assertEqual(os.listdir(self.box), [])
        self.refused(errno.ENOENT, lambda: os.unlink(message))
        self.deliver()
        os.unlink(os.path.join(self.box, "new.eml"))  # by the name that was written
        self.assertEqual(os.listdir(self.box), [])

    def test_mailboxes_are_folders(self):
        sub = os.path.join(self.box, "Sub")
        os.mkdir(sub)
        self.assertIn(f'"{os.path.basename(self.box)}/Sub"', self.stack.ctl("mailbox", "list", self.name, "--json").stdout)
        self.refused(errno.EEXIST, lambda: os.mkdir(sub))
        for wrong in (".hidden", "7.eml"):
            self.refused(errno.EINVAL, lambda name=wrong: os.mkdir(os.path.join(self.box, name)))
        self.deliver(sub)
        renamed = self.account("Renamed")
        os.rename(sub, renamed)
        self.soon(lambda: not os.path.exists(sub))
        self.assertFalse(os.path.exists(sub))
        self.assertEqual(read(os.path.join(renamed, "1.eml")), MESSAGE)
        self.refused(errno.ENOTEMPTY, lambda: os.rmdir(renamed))
        self.refused(errno.EBUSY, lambda: os.rmdir(self.account("INBOX")))
        self.refused(errno.EBUSY, lambda: os.rename(self.account("INBOX"), self.account("Other")))
        os.unlink(os.path.join(renamed, "1.eml"))
        os.rmdir(renamed)
        self.assertFalse(os.path.exists(renamed))
        for wrong in (self.mounted.path("accounts", "new.example"), self.mounted.path("accounts", self.domain, "new")):
            self.refused(errno.EPERM, lambda path=wrong: os.mkdir(path))
        self.refused(errno.EPERM, lambda: os.rmdir(self.account()))

    def test_moving_between_mailboxes(self):
        target = os.path.join(self.box, "Target")
        os.mkdir(target)
        message = self.deliver()
        self.deliver(target)
        os.rename(message, os.path.join(target, "1.eml"))  # which is another message, and stays
        self.assertEqual(sorted(os.listdir(target)), ["1.eml", "2.eml"])
        self.assertEqual(os.listdir(self.box), ["Target"])
        message = self.deliver()
        os.rename(message, os.path.join(target, "named.eml"))
        self.assertEqual(read(os.path.join(target, "named.eml")), MESSAGE)
        self.stack.ctl("account", "create", "other@" + self.domain, "--no-password")
        other = self.mounted.path("accounts", self.domain, "other", "INBOX")
        message = self.deliver()
        self.refused(errno.EXDEV, lambda: os.rename(message, os.path.join(other, "x.eml")))
        shell(f"mv {message} {other}/")
        self.soon(lambda: os.listdir(other) == ["1.eml"])
        self.assertEqual(os.listdir(other), ["1.eml"])
        self.assertFalse(os.path.exists(message))

    def test_the_first_mail_of_an_account_shows_in_a_folder_that_was_looked_at_before(self):
        self.stack.ctl("account", "create", "first@" + self.domain, "--no-password")
        with Mounted(self.stack, "-o", "cache_ms=60000") as slow:  # the kernel looks nothing up again meanwhile
            inbox = slow.path("accounts", self.domain, "first", "INBOX")
            self.assertEqual(os.listdir(inbox), [])
            before = os.stat(inbox).st_ino
            write(os.path.join(inbox, "new.eml"), MESSAGE)
            self.assertEqual(read(os.path.join(inbox, "new.eml")), MESSAGE)
            self.assertEqual(read(os.path.join(inbox, "1.eml")), MESSAGE)
            self.assertEqual(os.stat(inbox).st_ino, before)
            os.unlink(os.path.join(inbox, "1.eml"))
        self.soon(lambda: os.listdir(self.account("..", "first", "INBOX")) == [])

    def test_moving_to_another_account_expunges_nothing_there(self):
        self.stack.ctl("account", "create", "kept@" + self.domain, "--no-password")
        other = self.mounted.path("accounts", self.domain, "kept", "INBOX")
        write(os.path.join(other, "new.eml"), b"Subject: theirs\r\n\r\n")
        theirs = os.path.join(other, "1.eml")
        self.soon(lambda: os.listdir(other) == ["1.eml"])
        write(os.path.join(other, "new.eml"), MESSAGE)
        message = self.deliver()
        self.assertEqual(os.path.basename(message), os.path.basename(theirs))
        self.assertNotEqual(shell(f"mv {message} {other}/", check=False).returncode, 0)
        self.refused(errno.EEXIST, lambda: os.rename(message, os.path.join(other, "new.eml")))  # as it was written
        self.assertEqual(read(theirs), b"Subject: theirs\r\n\r\n")
        self.assertEqual(read(message), MESSAGE)
        shell(f"mv {message} {other}/from-here.eml")
        self.soon(lambda: sorted(os.listdir(other)) == ["1.eml", "2.eml", "3.eml"])
        self.assertFalse(os.path.exists(message))

    def test_settings_are_checked_and_applied_whole_or_not_at_all(self):
        settings, last_error = self.account("settings"), self.account(".last-error")
        before, logged = read(settings), len(self.mounted.logged())
        write(settings, before)  # as it was read
        self.assertEqual(read(settings), before)
        shell(f"echo '{{Colour=green;}}' > {settings}")
        self.assertIn(b"Colour = green", read(settings))
        self.assertFalse(os.path.exists(last_error))
        good = read(settings)
        for wrong in ("nonsense", "{Colour=blue;State=suspended;}"):
            self.assertNotEqual(shell(f"printf '%s' '{wrong}' | dd of={settings} conv=fsync", check=False).returncode, 0)
            self.refused(errno.EINVAL, lambda text=wrong: write(settings, text.encode()))
            self.assertEqual(read(settings), good)
            self.assertIn(b"settings: ", read(last_error))
            self.assertIn(".last-error", os.listdir(self.account()))
        self.assertIn("State", read(last_error).decode())
        # The log says what .last-error says: the rule, and the key that broke it.
        said = [line.split(f"settings-refused object={self.name} ")[1] for line in self.mounted.logged()[logged:].splitlines()
                if "settings-refused" in line]
        rule = read(last_error).decode().removeprefix("settings: ").rstrip("\n")
        self.assertTrue(rule.startswith("State: this setting is changed by its own command"), rule)
        self.assertEqual(said[-1], f'file=settings error="{rule}"')
        self.assertIn("text:1:1: must be a dictionary", said[0])
        shell(f"sed -i s/green/red/ {settings}")
        self.soon(lambda: b"Colour = red" in read(settings))
        self.assertIn(b"Colour = red", read(settings))
        self.soon(lambda: not os.path.exists(last_error))
        shell(f"sed -i s/red/{{/ {settings}", check=False)
        self.assertTrue(os.path.exists(last_error))
        self.assertIn(b"Colour = red", read(settings))
        shell(f"echo '{{Language=fr;}}' > {self.account('info')}")
        self.assertIn(b"Language = fr", read(self.account("info")))
        self.refused(errno.EACCES, lambda: write(self.account("location"), b"x"))

    @unittest.skipUnless(shutil.which("vim"), "vim is not installed")
    def test_vim_writes_settings(self):
        shell(f"echo '{{Editor=none;}}' > {self.account('settings')}")
        shell(f"vim -u NONE -es -c '%s/none/vim/' -c wq {self.account('settings')} < /dev/null")
        self.assertIn(b"Editor = vim", read(self.account("settings")))

    def test_flags_are_an_attribute(self):
        message = self.deliver()
        os.setxattr(message, "user.canopy.flags", b"\\Seen $Forwarded")
        self.assertEqual(os.getxattr(message, "user.canopy.flags"), b"\\Seen $Forwarded")
        self.assertEqual(os.listxattr(message), ["user.canopy.flags"])
        self.refused(errno.EINVAL, lambda: os.setxattr(message, "user.canopy.flags", b"\\Nonsense"))
        self.refused(errno.EEXIST, lambda: os.setxattr(message, "user.canopy.flags", b"", os.XATTR_CREATE))
        self.refused(errno.EOPNOTSUPP, lambda: os.setxattr(message, "user.other", b""))
        os.removexattr(message, "user.canopy.flags")
        self.assertEqual(os.getxattr(message, "user.canopy.flags"), b"")

    def test_flags_that_others_set_show(self):
        message = self.deliver()
        self.assertEqual(os.getxattr(message, "user.canopy.flags"), b"")
        with Wire(self.stack.facts["socket"]) as wire:
            wire.store_flags(self.name, os.path.basename(self.box), [(1, 1)], ADD, system=SEEN | FLAGGED, keywords=["$Forwarded"])
        self.soon(lambda: set(os.getxattr(message, "user.canopy.flags").split()) == {b"\\Seen", b"\\Flagged", b"$Forwarded"})
        os.setxattr(message, "user.canopy.flags", b"\\Answered")
        with Wire(self.stack.facts["socket"]) as wire:
            wire.store_flags(self.name, os.path.basename(self.box), [(1, 1)], ADD, keywords=["later"])
        self.soon(lambda: set(os.getxattr(message, "user.canopy.flags").split()) == {b"\\Answered", b"later"})

    def test_location_tells_where_an_account_lies_and_what_it_holds(self):
        name = "located@" + self.domain
        self.stack.ctl("account", "create", name, "--no-password", "--set", "StorageLimit=#1000000")
        top = self.mounted.path("accounts", self.domain, "located")
        for number in range(3):
            write(os.path.join(top, "INBOX", f"m{number}"), MESSAGE * (number + 1))
        os.mkdir(os.path.join(top, "INBOX", "below"))
        write(os.path.join(top, "INBOX", "below", "m"), MESSAGE)

        def location():
            return dict(line.split(" ", 1) for line in read(os.path.join(top, "location")).decode().splitlines())

        self.soon(lambda: location()["messages"] == "4")
        shown, known = location(), json.loads(self.stack.ctl("--json", "account", "show", name).stdout)
        self.assertEqual((shown["account"], shown["state"], shown["store"]), (name, "active", "root"))
        self.assertEqual((shown["bytes"], shown["quota-bytes"], shown["quota-messages"]), (str(7 * len(MESSAGE)), "1000000", "none"))
        self.assertEqual(int(shown["bytes"]), known["bytes"])
        directory = self.mounted.path(shown["directory"])
        self.assertTrue([each for each in os.listdir(directory) if each.endswith(".slice")])
        self.assertIn(b"StorageLimit", read(self.mounted.path(shown["settings"])))
        # What du counts is that, but for what folders are said to take.
        folders = [os.path.join(top, "INBOX"), os.path.join(top, "INBOX", "below")]
        counted = int(shell(f"du --bytes --summarize {folders[0]}").stdout.split()[0])
        self.assertEqual(counted - sum(os.stat(folder).st_size for folder in folders), int(shown["bytes"]))
        self.stack.ctl("account", "suspend", name)
        self.soon(lambda: location()["state"] == "suspended")

    def test_the_space_is_that_of_the_store(self):
        store, shown = os.statvfs(self.stack.facts["base"]), os.statvfs(self.mounted.path())
        self.assertEqual(shown.f_blocks * shown.f_frsize, store.f_blocks * store.f_frsize // 4096 * 4096)
        self.assertEqual(shown.f_files, store.f_files)
        free = store.f_bavail * store.f_frsize
        self.assertLess(abs(shown.f_bavail * shown.f_frsize - free), free // 10 + (1 << 30))  # others write there
        line = shell(f"df --block-size=4096 --output=size,target {self.mounted.directory}").stdout.splitlines()[1].split()
        self.assertEqual(line, [str(shown.f_blocks), self.mounted.directory])

    def test_an_account_is_copied_out_by_usual_tools(self):
        name = "copied@" + self.domain
        self.stack.ctl("account", "create", name, "--no-password")
        top = self.mounted.path("accounts", self.domain, "copied")
        os.mkdir(os.path.join(top, "Box"))
        os.mkdir(os.path.join(top, "Box", "Sub"))
        for number, box in enumerate(("INBOX", "Box", "Box/Sub", "Box")):
            mail = os.path.join(self.scratch, f"m{number}.eml")
            write(mail, MESSAGE * (number + 1))
            os.utime(mail, (1_500_000_000 + number, 1_500_000_000 + number))
            shell(f"cp -p {mail} {os.path.join(top, box)}/")
        for command in (f"cp -a {top} {self.scratch}/cp", f"rsync -a {top}/ {self.scratch}/rsync/"):
            shell(command)
        for copy in ("cp", "rsync"):
            copy = os.path.join(self.scratch, copy)
            self.assertEqual(sorted(os.listdir(copy)), ["Box", "INBOX", "info", "location", "settings"])
            for mail, number in (("INBOX/1.eml", 0), ("Box/1.eml", 1), ("Box/Sub/1.eml", 2), ("Box/2.eml", 3)):
                self.assertEqual(read(os.path.join(copy, mail)), MESSAGE * (number + 1))
                self.assertEqual(os.stat(os.path.join(copy, mail)).st_mtime, 1_500_000_000 + number)
            for text in ("settings", "info", "location"):
                self.assertEqual(read(os.path.join(copy, text)), read(os.path.join(top, text)))
        self.assertEqual(shell(f"rsync -anic {top}/ {self.scratch}/cp/").stdout, "")

    def test_settings_and_info_of_a_fast_index_are_the_accounts(self):
        for index, place in ((1, "SharedDomains/fast/f1.example"), (2, "SharedDomains/f2.example/fast")):
            domain = f"f{index}.example"
            self.stack.ctl("domain", "create", domain, "--fast-index", str(index))
            self.stack.ctl("account", "create", "anna@" + domain, "--no-password")
            with Wire(self.stack.facts["socket"]) as wire:
                wire.call("Info.Set", {1: {1: "anna@" + domain}, 2: INFO, 3: "{Count=#0;}", 6: os.urandom(16)})
            directory = self.mounted.path(place)
            files = sorted(os.listdir(directory))
            self.assertEqual(files, ["anna.info", "anna.settings"])
            for file in files:
                path = os.path.join(directory, file)
                content = read(path)
                self.refused(errno.EBUSY, lambda path=path: open(path, "r+b").close())
                self.refused(errno.EBUSY, lambda path=path: os.truncate(path, 0))
                self.refused(errno.EBUSY, lambda path=path: os.unlink(path))
                self.refused(errno.EBUSY, lambda path=path: os.rename(path, path + ".old"))
                self.refused(errno.EBUSY, lambda path=path: os.chmod(path, 0o777))
                self.assertEqual(read(path), content)
            self.refused(errno.EBUSY, lambda: os.rename(directory, directory + ".old"))
            self.stack.ctl("account", "suspend", "anna@" + domain)
            with open(os.path.join(directory, "anna.info"), "r+b") as info:
                info.write(b"{Count=#1;}\n")
                info.truncate()
            self.stack.ctl("account", "resume", "anna@" + domain)
            self.refused(errno.EBUSY, lambda: os.truncate(os.path.join(directory, "anna.info"), 0))
            with Wire(self.stack.facts["socket"]) as wire:
                self.assertIn(b"#1", wire.call("Info.Get", {1: {1: "anna@" + domain}, 2: INFO})[1][0])

    def test_what_others_change_shows(self):
        directory = os.open(self.box, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.assertEqual(os.listdir(directory), [])
            self.stack.ctl("mailbox", "import", self.name, self.message, "--mailbox", os.path.basename(self.box))
            self.assertEqual(os.listdir(directory), ["1.eml"])
        finally:
            os.close(directory)
        self.stack.ctl("account", "create", "gone@" + self.domain, "--no-password")
        path = self.mounted.path("accounts", self.domain, "gone")
        self.assertEqual(os.listdir(os.path.join(path, "INBOX")), [])
        self.stack.ctl("account", "delete", "gone@" + self.domain)
        self.soon(lambda: not os.path.exists(path))
        self.soon(lambda: "gone" not in os.listdir(os.path.dirname(path)))
        self.assertFalse(os.path.exists(path))
        self.assertNotIn("gone", os.listdir(os.path.dirname(path)))


@unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
class AccountsAndDaemon(unittest.TestCase):
    def test_delivered_exactly_once_while_the_daemon_is_killed(self):
        with Stack() as stack, Mounted(stack) as mounted:
            local, domain = stack.account(0)[0].split("@")
            inbox = mounted.path("accounts", domain, local, "INBOX")
            contents = [MESSAGE + b"%d\r\n" % i + bytes(i % 3 * 1_200_000) for i in range(12)]
            failed = []

            def deliver():
                for i, content in enumerate(contents):
                    try:
                        write(os.path.join(inbox, f"m{i}"), content)
                    except OSError as error:
                        failed.append((i, error))

            writer = threading.Thread(target=deliver)
            writer.start()
            for _ in range(2):
                time.sleep(0.2)
                stack.stop(9)
                stack.start()
            writer.join()
            self.assertEqual(failed, [])
            names = sorted(os.listdir(inbox), key=lambda name: int(name.split(".")[0]))
            self.assertEqual([read(os.path.join(inbox, name)) for name in names], contents)
            for name in names:
                os.unlink(os.path.join(inbox, name))
            self.assertEqual(os.listdir(inbox), [])

    def test_a_domain_of_several_pages_is_listed_whole(self):
        with Stack() as stack, Mounted(stack) as mounted:
            stack.ctl("domain", "create", "many.example", "--account-foldering", "hash-1")
            names = {f"user-{i:04}" for i in range(3000)}  # a page has 1,000
            rows = os.path.join(stack.directory, "rows.csv")
            write(rows, "".join(name + "\n" for name in sorted(names)).encode())
            stack.ctl("account", "create", "--from-csv", rows, "--domain", "many.example")
            top = mounted.path("accounts", "many.example")
            listed = os.listdir(top)
            self.assertEqual((len(listed), set(listed)), (3000, names))
            with os.scandir(top) as entries:
                self.assertTrue(all(entry.is_dir() for entry in entries))
            self.assertEqual(shell(f"ls -l {top} | grep -c ^d").stdout, "3000\n")  # with attributes
            # What goes and comes behind the place that a reader has come to does not disturb the rest.
            with os.scandir(top) as entries:
                seen = [next(entries).name for _ in range(10)]
                stack.ctl("account", "delete", "user-2999@many.example")
                stack.ctl("account", "create", "zoe@many.example", "--no-password")
                seen += [entry.name for entry in entries]
            self.assertEqual(len(seen), len(set(seen)))
            self.assertLessEqual(names - {"user-2999"}, set(seen))
            self.soon(lambda: set(os.listdir(top)) == names - {"user-2999"} | {"zoe"})

    def soon(self, look):
        for _ in range(600):
            if look():
                return
            time.sleep(0.05)
        self.fail("it does not show")

    def test_the_helper_of_mount(self):
        # As mount(8) calls it for the type fuse.canopy, with what may stand in /etc/fstab.
        with Stack() as stack, tempfile.TemporaryDirectory() as directory:
            helper = os.path.join(directory, "mount.fuse.canopy")
            os.symlink(os.path.join(BIN, "canopy-mount"), helper)
            target = os.path.join(directory, "at")
            os.mkdir(target)
            command = [helper, "unix:" + stack.facts["socket"], target]
            options = ["-o", "ro,_netdev,nofail,noauto,x-systemd.automount,comment=mail"]
            subprocess.run([*command, "-fv", *options], check=True, timeout=60)
            self.assertEqual(os.listdir(target), [])
            subprocess.run([*command, "-sn", *options, "-t", "fuse.canopy"], check=True, timeout=60)
            try:
                self.assertIn("accounts", os.listdir(target))
                with self.assertRaises(OSError) as refused:
                    os.mkdir(os.path.join(target, "accounts", stack.facts["domain"], "jsmith", "New"))
                self.assertEqual(refused.exception.errno, errno.EROFS)
            finally:
                subprocess.run(["fusermount3", "-u", target], check=True, timeout=60)
            done = subprocess.run([*command, "-o", "nonsense"], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
