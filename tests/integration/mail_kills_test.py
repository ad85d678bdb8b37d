"""Mail clients at work while the backend is killed again and again: what they are told is true or temporary."""
import os
import poplib
import random
import re
import signal
import smtplib
import threading
import time
import unittest

from mail_case import Lines, MailCase
from stack import OVER_NFS

# `tools/dev run` gives up after five in a short time. On an NFS server each is followed by two leases' wait.
KILLS = 1 if OVER_NFS else 4
ACCOUNTS = 4
LINE = "line of text\r\n"


class Deliverer(threading.Thread):
    """Delivers numbered messages to one account; `acknowledged` are those that were taken with a 250."""

    def __init__(self, case, account, stopped):
        super().__init__()
        self.case, self.account, self.stopped = case, account, stopped
        self.acknowledged, self.deferred, self.wrong = [], 0, []

    def message(self, number):
        return f"Subject: {number} of {self.account}\r\n\r\n".encode() + LINE.encode() * (number % 50)

    def run(self):
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                with self.case.lmtp() as client:
                    client.sendmail("sender@example.org", [self.account], self.message(number))
                self.acknowledged.append(number)
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
                codes = [code for code, _ in error.recipients.values()] if hasattr(error, "recipients") else [error.smtp_code]
                if any(not 400 <= code < 500 for code in codes):
                    self.wrong.append(repr(error))
                self.deferred += 1
                time.sleep(0.05)
            except (OSError, smtplib.SMTPException) as error:
                self.wrong.append(repr(error))  # the frontend is not killed: it has an answer always
                time.sleep(0.05)


class Reader(threading.Thread):
    """Reads the whole maildrop again and again and holds it against what was acknowledged before the session began."""

    def __init__(self, case, deliverer, stopped):
        super().__init__()
        self.case, self.deliverer, self.stopped = case, deliverer, stopped
        self.sessions, self.refused, self.wrong = 0, 0, []

    def read(self, pop, due):
        def ask(command):
            pop.send(command + "\r\n")
            return pop.line()

        pop.line()
        ask(f"USER {self.deliverer.account}")
        answer = ask("PASS secret")
        if not answer.startswith("+OK"):
            return answer
        answer = ask("STAT")
        if not answer.startswith("+OK"):
            return answer
        count = int(answer.split()[1])
        if count < due:
            self.wrong.append(f"STAT says {count}, {due} were acknowledged")
        for number in range(max(1, count - 10), count + 1):
            answer = ask(f"RETR {number}")
            if not answer.startswith("+OK"):
                return answer
            lines = []
            while (line := pop.line()) not in (".\r\n", ""):
                lines.append(line)
            if not line:
                return "cut"
            subject = [line for line in lines if line.startswith("Subject: ")]
            if lines.count(LINE) != int(subject[0].split()[1]) % 50:
                self.wrong.append(f"message {subject} has {len(lines)} lines")
        self.sessions += 1
        return None

    def run(self):
        while not self.stopped.is_set():
            due = len(self.deliverer.acknowledged)
            with Lines(self.case.stack.address("pop3s"), self.case.stack.tls()) as pop:
                answer = self.read(pop, due)
            if answer is None:
                continue
            self.refused += 1
            # In the middle of a message nothing but an end of the connection can say that the rest does not come.
            if answer not in ("", "cut") and not answer.startswith(("-ERR [SYS/TEMP]", "-ERR [IN-USE]")):
                self.wrong.append(answer)
            time.sleep(0.05)


class Kills(MailCase):
    def test_nothing_is_lost_and_every_refusal_is_temporary(self):
        stopped = threading.Event()
        deliverers = [Deliverer(self, self.account(), stopped) for _ in range(ACCOUNTS)]
        readers = [Reader(self, deliverer, stopped) for deliverer in deliverers]
        for thread in deliverers + readers:
            thread.start()
        try:
            for _ in range(KILLS):
                time.sleep(random.uniform(0.3, 1.2))
                killed = self.service_pid("canopyd")
                os.kill(killed, signal.SIGKILL)
                self.wait_for_another(killed)
                if OVER_NFS:
                    self.wait_until_it_serves()
            time.sleep(1)
        finally:
            stopped.set()
            for thread in deliverers + readers:
                thread.join()
        self.assertEqual([wrong for thread in deliverers + readers for wrong in thread.wrong], [])
        for deliverer in deliverers:
            self.assertGreater(len(deliverer.acknowledged), KILLS)
            found = [re.search(rb"^Subject: (\d+)", content, re.MULTILINE)[1] for content in self.whole(deliverer.account)]
            self.assertEqual([number for number in deliverer.acknowledged if str(number).encode() not in found], [])
        self.assertTrue(all(reader.sessions for reader in readers))

    def wait_for_another(self, killed):
        for _ in range(600):
            try:
                if self.service_pid("canopyd") != killed:
                    return
            except AssertionError:
                pass
            time.sleep(0.05)
        self.fail("canopyd was not started again")

    def wait_until_it_serves(self):
        for _ in range(600):
            if self.stack.ctl("status", check=False).returncode == 0:
                return
            time.sleep(0.1)
        self.fail("canopyd does not serve")

    def whole(self, account):
        for _ in range(300):  # the last session of the reader may be held for a moment
            try:
                return self.contents(account)
            except poplib.error_proto as error:
                self.assertRegex(str(error), r"\[(SYS/TEMP|IN-USE)\]")
                time.sleep(0.1)
        return self.fail("the maildrop did not open")


if __name__ == "__main__":
    unittest.main()
