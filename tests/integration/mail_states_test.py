"""What mail clients get in every state of an account and of the backend, by raw sockets where no library says it."""
import hashlib
import os
import poplib
import signal
import smtplib
import socket
import threading
import time
import unittest

from mail_case import Lines, MailCase
from stack import SANITIZED

MIB = 1 << 20


def simple(text):
    return f"Subject: {text}\r\n\r\n{text}\r\n".encode()


class Maildrops(MailCase):
    def uidl(self, account):
        client = self.pop3(account)
        unique = [line.split()[1] for line in client.uidl()[1]]
        client.quit()
        return unique

    def test_unique_ids_stay_over_restarts_and_deletions(self):
        account = self.account()
        for number in range(5):
            self.deliver(account, simple(str(number)))
        before = self.uidl(account)
        self.assertEqual(len(set(before)), 5)
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.stack.stop(how)
            self.stack.start()
            self.assertEqual(self.uidl(account), before)
        client = self.pop3(account)
        client.dele(2)
        client.quit()
        self.deliver(account, simple("new"))
        after = self.uidl(account)
        self.assertEqual(after[:4], before[:1] + before[2:])
        self.assertNotIn(after[4], before)

    def test_a_maildrop_has_one_session_at_a_time(self):
        account = self.account()
        self.deliver(account, simple("x"))
        first = self.pop3(account)
        with self.assertRaises(poplib.error_proto) as refused:
            self.pop3(account)
        self.assertIn(b"[IN-USE]", refused.exception.args[0])
        self.deliver(account, simple("meanwhile"))  # mail goes on coming in
        self.assertEqual(first.stat()[0], 1)
        first.quit()
        second = self.pop3(account)
        self.assertEqual(second.stat()[0], 2)
        second.sock.shutdown(socket.SHUT_RDWR)  # gone without QUIT
        second.close()
        for _ in range(200):  # the frontend sees the end in its own time
            try:
                third = self.pop3(account)
                break
            except poplib.error_proto as error:
                self.assertIn(b"[IN-USE]", error.args[0])
                time.sleep(0.1)
        third.quit()

    def test_over_quota_mail_is_deferred_and_fits_again_after_a_deletion(self):
        account = self.account("MessageLimit=#2")
        self.deliver(account, simple("one"))
        self.deliver(account, simple("two"))
        with self.assertRaises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
            self.deliver(account, simple("three"))
        self.assertEqual(self.reply_of(refused.exception, account)[0], 452)
        self.assertIn(b"4.2.2", self.reply_of(refused.exception, account)[1])
        client = self.pop3(account)
        client.dele(1)
        client.quit()
        self.deliver(account, simple("three"))
        small = self.account("StorageLimit=#2000")
        with self.assertRaises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
            self.deliver(small, simple("x" * 900) + b"y" * 1500 + b"\r\n")
        self.assertEqual(self.reply_of(refused.exception, small)[0], 452)
        self.deliver(small, simple("fits"))
        self.assertEqual(len(self.contents(small)), 1)

    @staticmethod
    def reply_of(error, account):
        return error.recipients[account] if hasattr(error, "recipients") else error.args

    def test_one_recipient_over_quota_does_not_keep_the_others_from_their_mail(self):
        full, free = self.account("MessageLimit=#1"), self.account()
        self.deliver(full, simple("first"))
        with self.lmtp() as client:
            client.ehlo()
            client.mail("a@example.org")
            codes = [client.rcpt(full)[0], client.rcpt(free)[0]]
            code, _ = client.data(simple("second"))
            replies = [code]
            for _ in range(codes.count(250) - 1):
                replies.append(client.getreply()[0])
        self.assertEqual(codes[1], 250)
        self.assertIn(250, replies)
        self.assertIn(452, codes + replies)
        self.assertEqual(len(self.contents(free)), 1)

    def test_suspended_and_disabled_accounts(self):
        account = self.account()
        self.ctl("account", "suspend", account)
        with self.assertRaises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
            self.deliver(account, simple("x"))
        self.assertEqual(self.reply_of(refused.exception, account)[0], 450)
        with self.assertRaises(poplib.error_proto) as denied:
            self.pop3(account)
        self.assertIn(b"[SYS/TEMP]", denied.exception.args[0])
        self.ctl("account", "resume", account)
        self.ctl("account", "suspend", account, "--disable")
        self.deliver(account, simple("kept"))
        with self.assertRaises(poplib.error_proto) as denied:
            self.pop3(account)
        self.assertIn(b"[SYS/TEMP]", denied.exception.args[0])
        self.ctl("account", "resume", account)
        self.assertEqual(len(self.contents(account)), 1)

    def test_a_new_password_counts_at_once_although_the_old_one_was_remembered(self):
        account = self.account()
        for _ in range(2):
            self.contents(account)
        self.ctl("account", "password", account, "--password-file", "-", stdin="other\n")
        with self.assertRaises(poplib.error_proto) as refused:
            self.contents(account)
        self.assertIn(b"[AUTH]", refused.exception.args[0])
        self.assertEqual(self.contents(account, "other"), [])

    def test_who_fails_to_log_in_waits_longer_each_time_and_others_do_not(self):
        account = self.account()
        spent = []
        with Lines(self.stack.address("pop3s"), self.stack.tls()) as client:
            client.line()
            for _ in range(3):
                client.send(f"USER {account}\r\n")
                client.line()
                start = time.monotonic()
                client.send("PASS wrong\r\n")
                self.assertIn("[AUTH]", client.line())
                spent.append(time.monotonic() - start)
        # Lower bounds only: 0, 0.5 and 1 s.
        self.assertGreaterEqual(spent[1], 0.5)
        self.assertGreaterEqual(spent[2], 1.0)
        self.contents(account)  # succeeds, after its wait, and ends the waiting
        start = time.monotonic()
        self.contents(account)
        self.assertLess(time.monotonic() - start, 60)


class Backend(MailCase):
    def test_a_backend_that_does_not_answer_is_a_temporary_failure_everywhere(self):
        account = self.account()
        self.deliver(account, simple("kept"))
        recipient = Lines(self.stack.address("lmtp"))
        content = Lines(self.stack.address("lmtp"))
        for client in (recipient, content):
            client.reply()
            client.ask("LHLO test")
            client.ask("MAIL FROM:<a@example.org>")
        self.assertEqual(content.ask(f"RCPT TO:<{account}>")[:3], "250")
        self.assertEqual(content.ask("DATA")[:3], "354")
        login = Lines(self.stack.address("pop3s"), self.stack.tls())
        login.line()
        login.send(f"USER {account}\r\n")
        login.line()
        reader = self.pop3(account)
        resume = self.pause("canopyd")
        answers = {}

        def ask(name, client, text):
            client.send(text)
            answers[name] = client.line()

        def retrieve():
            try:
                answers["retr"] = reader.retr(1)[0].decode()
            except (poplib.error_proto, OSError, EOFError) as error:
                answers["retr"] = str(error)

        threads = [threading.Thread(target=ask, args=("rcpt", recipient, "RCPT TO:<somebody@company.com>\r\n")),
                   threading.Thread(target=ask, args=("data", content, simple("lost?") + b".\r\n")),
                   threading.Thread(target=ask, args=("pass", login, "PASS secret\r\n")),
                   threading.Thread(target=retrieve)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(200)
            self.assertFalse(thread.is_alive(), answers)
        resume()
        self.assertRegex(answers["rcpt"], r"^4\d\d ")
        self.assertRegex(answers["data"], r"^4\d\d ")
        self.assertRegex(answers["pass"], r"^-ERR \[SYS/TEMP\]")
        self.assertNotIn("+OK", answers["retr"])
        for client in (recipient, content, login):
            client.__exit__()
        reader.close()
        # The message whose delivery was answered 4xx may have arrived; the other must be there.
        for _ in range(100):
            try:
                got = self.contents(account)
                break
            except (poplib.error_proto, OSError):
                time.sleep(0.2)
        self.assertIn(b"Subject: kept", got[0])

    def test_a_backend_that_is_gone_is_a_temporary_failure_and_comes_back_for_open_connections(self):
        account = self.account()
        # The frontend takes an address for 10 s without asking when it has seen it on the same loop: one that it never saw.
        unseen = self.account()
        self.deliver(account, simple("kept"))
        os.kill(self.stack.process.pid, signal.SIGSTOP)  # or else it starts canopyd again at once
        self.addCleanup(os.kill, self.stack.process.pid, signal.SIGCONT)
        os.kill(self.service_pid("canopyd"), signal.SIGKILL)
        lmtp = Lines(self.stack.address("lmtp"))
        lmtp.reply()
        lmtp.ask("LHLO test")
        lmtp.ask("MAIL FROM:<a@example.org>")
        self.assertRegex(lmtp.ask(f"RCPT TO:<{unseen}>"), r"^4\d\d ")
        pop = Lines(self.stack.address("pop3s"), self.stack.tls())
        self.assertTrue(pop.line().startswith("+OK"))
        pop.send(f"USER {account}\r\nPASS secret\r\n")
        pop.line()
        self.assertRegex(pop.line(), r"^-ERR \[SYS/TEMP\]")
        os.kill(self.stack.process.pid, signal.SIGCONT)
        for _ in range(300):
            reply = lmtp.ask(f"RCPT TO:<{unseen}>")
            self.assertNotEqual(reply[:1], "5", reply)
            if reply.startswith("250"):
                break
            time.sleep(0.1)
        self.assertEqual(lmtp.ask(f"RCPT TO:<{account}>")[:3], "250")
        self.assertEqual(lmtp.ask("DATA")[:3], "354")
        lmtp.send(simple("after") + b".\r\n")
        for _ in (unseen, account):
            self.assertEqual(lmtp.reply()[:3], "250")
        pop.send(f"USER {account}\r\nPASS secret\r\nSTAT\r\n")
        pop.line()
        self.assertTrue(pop.line().startswith("+OK"))
        self.assertTrue(pop.line().startswith("+OK 2 "))
        lmtp.__exit__()
        pop.__exit__()


class Content(MailCase):
    def session(self, *greeting):
        client = Lines(self.stack.address("lmtp"))
        self.addCleanup(client.__exit__)
        client.reply()
        self.extensions = client.ask("LHLO test.example")
        return client

    def test_8_bit_utf8_addresses_and_binary_chunks(self):
        account = self.account()
        self.ctl("account", "create", "jörg@company.com", "--password-file", "-", stdin="secret\n")
        client = self.session()
        for extension in ("PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "ENHANCEDSTATUSCODES", "SIZE"):
            self.assertIn(extension, self.extensions)
        eight_bit = b"Subject: \xc3\xa4\r\n\r\n\xe4\xf6\xfc latin-1\r\n"
        self.assertEqual(client.ask("MAIL FROM:<a@example.org> BODY=8BITMIME")[:3], "250")
        self.assertEqual(client.ask(f"RCPT TO:<{account}>")[:3], "250")
        self.assertEqual(client.ask("DATA")[:3], "354")
        client.send(eight_bit + b"..dot-stuffed\r\n.\r\n")
        self.assertEqual(client.reply()[:3], "250")
        self.assertEqual(client.ask("MAIL FROM:<müller@example.org> SMTPUTF8")[:3], "250")
        self.assertEqual(client.ask("RCPT TO:<jörg@company.com>")[:3], "250")
        self.assertEqual(client.ask("DATA")[:3], "354")
        client.send("Subject: grüße\r\n\r\nan jörg\r\n.\r\n")
        self.assertEqual(client.reply()[:3], "250")
        binary = b"Subject: binary\r\n\r\n\x00\x01\xff.\r\n.\r\nnot the end\r\n"
        self.assertEqual(client.ask("MAIL FROM:<> BODY=BINARYMIME")[:3], "250")
        self.assertEqual(client.ask(f"RCPT TO:<{account}>")[:3], "250")
        client.send(b"BDAT 20\r\n" + binary[:20])
        self.assertEqual(client.reply()[:3], "250")
        client.send(b"BDAT %d LAST\r\n" % (len(binary) - 20) + binary[20:])
        self.assertEqual(client.reply()[:3], "250")
        got = self.contents(account)
        self.assertTrue(got[0].endswith(eight_bit + b".dot-stuffed\r\n"), got[0])
        self.assertTrue(got[1].endswith(binary), got[1])
        pop = self.pop3()
        pop.encoding = "utf-8"
        pop.utf8()
        pop.user("jörg@company.com")
        pop.pass_("secret")
        self.assertIn("an jörg".encode(), pop.retr(1)[1])
        self.assertIn("Return-Path: <müller@example.org>".encode(), pop.retr(1)[1])
        pop.quit()

    def test_pipelined_transactions_in_one_write(self):
        accounts = [self.account() for _ in range(3)]
        client = self.session()
        text = ""
        for number in range(10):
            text += "MAIL FROM:<a@example.org>\r\n" + "".join(f"RCPT TO:<{each}>\r\n" for each in accounts)
            text += "RCPT TO:<nobody@company.com>\r\n"
            content = f"Subject: {number}\r\n\r\nx\r\n"
            text += f"BDAT {len(content)} LAST\r\n{content}"
        client.send(text)
        for _ in range(10):
            self.assertEqual([client.reply()[:3] for _ in range(5)], ["250", "250", "250", "250", "550"])
            self.assertEqual([client.reply()[:3] for _ in range(3)], ["250"] * 3)
        for account in accounts:
            self.assertEqual([each.split(b"Subject: ")[1][:1] for each in self.contents(account)],
                             [b"%d" % number for number in range(10)])

    def test_a_bare_line_feed_ends_no_message(self):
        account = self.account()
        client = self.session()
        client.ask("MAIL FROM:<a@example.org>")
        client.ask(f"RCPT TO:<{account}>")
        client.ask("DATA")
        client.send(b"Subject: smuggled\r\n\r\nx\n.\nMAIL FROM:<evil@example.org>\r\n.\r\n")
        self.assertEqual(client.reply()[:3], "250")
        (content,) = self.contents(account)
        self.assertIn(b"evil@example.org", content)

    def peak(self, name):
        with open(f"/proc/{self.service_pid(name)}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024

    def test_100_mib_in_and_out_in_bounded_memory(self):
        account = self.account()
        self.deliver(account, simple("warm"))
        self.contents(account)
        before = {name: self.peak(name) for name in ("canopyd", "canopy-frontend")}
        line = b"z" * 1022 + b"\r\n"
        header = b"Subject: large\r\n\r\n"
        lines = (100 * MIB - len(header)) // len(line)
        last = b"e" * (100 * MIB - len(header) - lines * len(line) - 2) + b"\r\n"
        sent = hashlib.sha256(header)
        client = self.session()
        self.assertEqual(client.ask(f"MAIL FROM:<a@example.org> SIZE={100 * MIB}")[:3], "250")
        self.assertEqual(client.ask(f"RCPT TO:<{account}>")[:3], "250")
        self.assertEqual(client.ask("DATA")[:3], "354")
        client.send(header)
        block = line * 64
        for at in range(0, lines, 64):
            piece = block[:len(line) * min(64, lines - at)]
            sent.update(piece)
            client.send(piece)
        sent.update(last)
        client.send(last + b".\r\n")
        self.assertEqual(client.reply()[:3], "250")
        with Lines(self.stack.address("pop3s"), self.stack.tls()) as pop:
            pop.line()
            pop.send(f"USER {account}\r\nPASS secret\r\nRETR 2\r\n")
            for _ in range(3):
                self.assertTrue(pop.line().startswith("+OK"))
            got, taking, size = hashlib.sha256(), False, 0
            for text in pop.file:
                if text == b".\r\n":
                    break
                taking = taking or text.startswith(b"Subject:")
                if taking:
                    got.update(text)
                    size += len(text)
        self.assertEqual((size, got.hexdigest()), (100 * MIB, sent.hexdigest()))
        for name, peak in before.items():
            if not SANITIZED:
                self.assertLess(self.peak(name) - peak, 48 * MIB, name)
        self.assertEqual(client.ask(f"MAIL FROM:<a@example.org> SIZE={100 * MIB + 1}")[:3], "552")


if __name__ == "__main__":
    unittest.main()
