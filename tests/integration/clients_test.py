"""Clients that nobody here wrote, against the real programs: curl, swaks, mpop, Python's smtplib and poplib, and the Go
example client over Debian's ttrpc."""
import mailbox
import os
import poplib
import re
import shutil
import subprocess
import unittest

from mail_case import MailCase
from stack import BIN


def run(*command, stdin=None, check=True):
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=240, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def message(number, lines=3):
    body = "".join(f"line {i} of message {number}\r\n.dotted\r\n" for i in range(lines))
    return f"From: a@example.org\r\nSubject: number {number}\r\n\r\n{body}".encode()


class Curl(MailCase):
    def test_it_lists_and_reads_over_tls_and_starttls(self):
        account = self.account()
        for number in range(3):
            self.deliver(account, message(number))
        port = self.stack.address("pop3s")[1]
        base = ("curl", "-sS", "--cacert", self.stack.facts["ca"], "-u", account + ":secret")
        listed = run(*base, f"pop3s://localhost:{port}/").stdout.split(b"\r\n")
        self.assertEqual([line.split()[0] for line in listed if line], [b"1", b"2", b"3"])
        for number in range(3):
            got = run(*base, f"pop3s://localhost:{port}/{number + 1}").stdout
            self.assertTrue(got.endswith(message(number)), got)
        plain = self.stack.address("pop3")[1]
        got = run(*base, "--ssl-reqd", f"pop3://localhost:{plain}/2").stdout
        self.assertTrue(got.endswith(message(1)))
        run(*base, "--login-options", "AUTH=PLAIN", f"pop3s://localhost:{port}/")  # RFC 5034
        top = run(*base, "-X", "TOP 1 1", f"pop3s://localhost:{port}/").stdout
        self.assertIn(b"Subject: number 0", top)
        self.assertNotIn(b"line 1 of", top)
        unique = run(*base, "-X", "UIDL", f"pop3s://localhost:{port}/").stdout
        self.assertEqual(len(set(re.findall(rb"(?m)^\d+ (\S+)", unique))), 3)

    def test_a_wrong_password_and_a_password_in_the_clear_are_refused(self):
        account = self.account()
        port = self.stack.address("pop3s")[1]
        wrong = run("curl", "-sS", "--cacert", self.stack.facts["ca"], "-u", account + ":wrong",
                    f"pop3s://localhost:{port}/", check=False)
        self.assertEqual(wrong.returncode, 67, wrong.stderr)  # login denied
        plain = run("curl", "-sS", "-u", account + ":secret", f"pop3://localhost:{self.stack.address('pop3')[1]}/",
                    check=False)
        self.assertNotEqual(plain.returncode, 0)


class Swaks(MailCase):
    def swaks(self, to, *options, check=True):
        host, port = self.stack.address("lmtp")
        return run("swaks", "--protocol", "LMTP", "--server", f"{host}:{port}", "--from", "you@example.org", "--to", to,
                   *options, check=check)

    def test_it_delivers_plain_and_pipelined_to_several_recipients(self):
        first, second = self.account(), self.account()
        self.swaks(first, "--header", "Subject: plain", "--body", "Hello.")
        self.swaks(f"{first},{second}", "--pipeline", "--header", "Subject: pipelined", "--body", ".starts with a dot")
        self.assertEqual([b"Subject: plain" in each for each in self.contents(first)], [True, False])
        (only,) = self.contents(second)
        self.assertIn(b"Subject: pipelined", only)
        self.assertIn(b"\r\n.starts with a dot\r\n", only)

    def test_a_large_message(self):
        account = self.account()
        path = os.path.join(self.stack.directory, "large.txt")
        with open(path, "wb") as file:
            file.write(b"".join(b"%09d " % i + b"y" * 60 + b"\n" for i in range(100_000)))
        self.swaks(account, "--body", path, "--header", "Subject: large", "--suppress-data")
        (got,) = self.contents(account)
        self.assertEqual(len(re.findall(rb"(?m)^\d{9} y{60}\r$", got)), 100_000)

    def test_it_is_told_who_is_not_there(self):
        done = self.swaks("nobody@company.com", "--body", "x", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout, rb"(?m)^<\*\* 550 5\.1\.1 ")


class Mpop(MailCase):
    def configuration(self, account, delivery, keep):
        directory = os.path.join(self.stack.directory, "mpop-" + account)
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, "mpoprc")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(f"account test\nhost localhost\nport {self.stack.address('pop3s')[1]}\ntls on\ntls_starttls off\n"
                       f"tls_trust_file {self.stack.facts['ca']}\nuser {account}\npassword secret\nauth user\n"
                       f"keep {'on' if keep else 'off'}\nuidls_file {directory}/uidls\ndelivery {delivery}\n")
        return path

    def mpop(self, path):
        return run("mpop", "--file", path, "test")

    def test_all_mail_goes_into_a_maildir_once_also_over_a_restart(self):
        account = self.account()
        for number in range(25):
            self.deliver(account, message(number))
        target = os.path.join(self.stack.directory, "mpop-maildir")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(target, part))
        path = self.configuration(account, "maildir " + target, keep=True)
        self.mpop(path)
        subjects = [each["Subject"] for each in mailbox.Maildir(target, create=False)]
        self.assertEqual(sorted(subjects), sorted(f"number {number}" for number in range(25)))
        self.mpop(path)
        self.assertEqual(len(os.listdir(os.path.join(target, "new"))), 25)
        self.stack.stop(9)
        self.stack.start()
        path = self.configuration(account, "maildir " + target, keep=True)  # the ports are others
        self.deliver(account, message(99))
        self.mpop(path)
        self.assertEqual(len(os.listdir(os.path.join(target, "new"))), 26)

    def test_all_mail_goes_into_an_mbox_and_is_deleted(self):
        account = self.account()
        for number in range(10):
            self.deliver(account, message(number))
        target = os.path.join(self.stack.directory, "mpop-mbox")
        self.mpop(self.configuration(account, "mbox " + target, keep=False))
        self.assertEqual([each["Subject"] for each in mailbox.mbox(target, create=False)],
                         [f"number {number}" for number in range(10)])
        self.assertEqual(self.contents(account), [])
        # And what mpop wrote is read back.
        self.ctl("mailbox", "import", account, target)
        got = self.contents(account)
        self.assertEqual(len(got), 10)
        self.assertTrue(all(each.endswith(message(number)) for number, each in enumerate(got)))


class Python(MailCase):
    def test_smtplib_speaks_lmtp_on_one_connection_for_many_messages(self):
        accounts = [self.account() for _ in range(3)]
        with self.lmtp() as client:
            self.assertIn("pipelining", client.esmtp_features or (client.ehlo() and client.esmtp_features))
            for number in range(20):
                client.mail("sender@example.org")
                self.assertEqual(client.rcpt(accounts[number % 3])[0], 250)
                self.assertEqual(client.data(message(number))[0], 250)
        for index, account in enumerate(accounts):
            got = self.contents(account)
            self.assertEqual(len(got), len(range(index, 20, 3)))
            for number, each in zip(range(index, 20, 3), got):
                self.assertTrue(each.endswith(message(number)))

    def test_poplib_speaks_every_command(self):
        account = self.account()
        for number in range(3):
            self.deliver(account, message(number, lines=10))
        client = poplib.POP3(*self.stack.address("pop3"), timeout=60)
        self.assertIn("STLS", client.capa())
        with self.assertRaises(poplib.error_proto):
            client.user(account)
            client.pass_("secret")  # in the clear
        client.stls(self.stack.tls())
        client.user(account)
        client.pass_("secret")
        count, size = client.stat()
        self.assertEqual(count, 3)
        self.assertEqual(sum(int(line.split()[1]) for line in client.list()[1]), size)
        self.assertEqual(len(set(line.split()[1] for line in client.uidl()[1])), 3)
        self.assertEqual(len(client.top(1, 2)[1]), len(client.top(1, 0)[1]) + 2)
        client.dele(2)
        with self.assertRaises(poplib.error_proto):
            client.retr(2)
        client.rset()
        client.retr(2)
        client.noop()
        client.dele(1)
        client.quit()
        left = self.contents(account)
        self.assertEqual([b"number 1" in left[0], b"number 2" in left[1], len(left)], [True, True, 2])

    def test_utf8_mode(self):
        account = self.account()
        self.deliver(account, "Subject: grüße\r\n\r\näöü\r\n".encode())
        client = self.pop3()
        client.utf8()
        client.user(account)
        client.pass_("secret")
        self.assertIn("äöü".encode(), client.retr(1)[1])
        client.quit()


class Go(MailCase):
    PROGRAM = os.path.join(BIN, "go-client")

    def check(self, *options):
        account = self.account()
        done = run(self.PROGRAM, *options, "-account", account, "-password", "secret")
        self.assertIn(b"role frontend", done.stdout)
        self.assertIn(b"the message that was delivered came back", done.stdout)
        (content,) = self.contents(account)
        self.assertIn(b"Hello from Go.", content)
        wrong = run(self.PROGRAM, *options, "-account", account, "-password", "wrong", check=False)
        self.assertNotEqual(wrong.returncode, 0)
        self.assertIn(b"unauthenticated", wrong.stderr)

    def pki(self, *arguments):
        return self.ctl("pki", "issue", "--dir", os.path.dirname(self.stack.facts["ca"]), *arguments)

    @unittest.skipUnless(os.path.exists(PROGRAM), "no Go here")
    def test_over_the_unix_socket(self):
        self.check("-socket", self.stack.facts["socket"])

    @unittest.skipUnless(os.path.exists(PROGRAM), "no Go here")
    def test_over_tls_with_a_certificate_of_canopyctl(self):
        made = self.pki("--role", "frontend", "--name", "go")
        ca = self.stack.facts["ca"]
        self.check("-address", self.stack.facts["wire"], "-ca", ca, "-cert", made["certificate"], "-key", made["key"])
        # A frontend's certificate takes no other role.
        done = run(self.PROGRAM, "-address", self.stack.facts["wire"], "-ca", ca, "-cert", made["certificate"], "-key",
                   made["key"], "-role", "admin", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"permission-denied", done.stderr)

    @unittest.skipUnless(os.path.exists(PROGRAM), "no Go here")
    def test_a_certificate_of_another_ca_is_refused(self):
        other = os.path.join(self.stack.directory, "other-pki")
        self.ctl("pki", "init", "--dir", other)
        made = self.ctl("pki", "issue", "--dir", other, "--role", "frontend", "--name", "evil")
        done = run(self.PROGRAM, "-address", self.stack.facts["wire"], "-ca", self.stack.facts["ca"], "-cert",
                   made["certificate"], "-key", made["key"], check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_canopyctl_over_tls(self):
        pki = os.path.dirname(self.stack.facts["ca"])
        options = ("--server", "tcp:" + self.stack.facts["wire"], "--ca", self.stack.facts["ca"])
        admin = run(os.path.join(BIN, "canopyctl"), *options, "--cert", pki + "/admin.crt", "--key", pki + "/admin.key",
                    "domain", "list")
        self.assertIn(b"company.com", admin.stdout)
        frontend = run(os.path.join(BIN, "canopyctl"), *options, "--cert", pki + "/frontend.crt", "--key",
                       pki + "/frontend.key", "domain", "list", check=False)
        self.assertEqual(frontend.returncode, 1)
        self.assertIn(b"--role admin", frontend.stderr)
        without = run(os.path.join(BIN, "canopyctl"), *options, "domain", "list", check=False)
        self.assertNotEqual(without.returncode, 0)


if __name__ == "__main__":
    for program in ("curl", "swaks", "mpop"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: tools/dev setup installs it")
    unittest.main()
