"""One message in over LMTP, on disk, out over POP3: with the standard library's clients against the real programs."""
import os
import poplib
import signal
import smtplib
import unittest

from stack import Stack

MESSAGE = "From: sender@example.org\r\nSubject: Hello\r\n\r\nHello from LMTP.\r\n.a dot\r\n"


def deliver(stack, to, message=MESSAGE):
    with smtplib.LMTP(*stack.address("lmtp")) as client:
        refused = client.sendmail("sender@example.org", to, message)
        for _ in range(len(to) - len(refused) - 1):  # one reply a recipient (RFC 2033); smtplib reads the first
            code, text = client.getreply()
            if code != 250:
                raise smtplib.SMTPDataError(code, text)
        return refused


def messages_over_pop3(stack, index=0):
    """(unique id, content) of each message, over STLS."""
    client = poplib.POP3(*stack.address("pop3"), timeout=30)
    client.stls(stack.tls())
    name, password = stack.account(index)
    client.user(name)
    client.pass_(password)
    unique = [line.split()[1] for line in client.uidl()[1]]
    found = [(unique[i], b"\r\n".join(client.retr(i + 1)[1]) + b"\r\n") for i in range(len(unique))]
    client.quit()
    return found


class ThinLine(unittest.TestCase):
    def test_a_message_goes_in_over_lmtp_and_comes_out_over_pop3(self):
        with Stack() as stack:
            refused = deliver(stack, [stack.account(0)[0], stack.account(1)[0]])
            self.assertEqual(refused, {})
            for index in (0, 1):
                (_, content), = messages_over_pop3(stack, index)
                self.assertTrue(content.endswith(MESSAGE.encode()), content)
                self.assertTrue(content.startswith(b"Return-Path: <sender@example.org>\r\n"), content)
            secure = poplib.POP3_SSL(*stack.address("pop3s"), context=stack.tls(), timeout=30)
            secure.user(stack.account(0)[0])
            secure.pass_(stack.account(0)[1])
            self.assertEqual(secure.stat()[0], 1)
            secure.quit()

    def test_mail_lies_in_the_tree(self):
        with Stack() as stack:
            deliver(stack, [stack.account(0)[0]])
            found = []
            for folder, _, files in os.walk(os.path.join(stack.facts["base"], "SharedDomains")):
                for file in files:
                    with open(os.path.join(folder, file), "rb") as opened:
                        if b"Hello from LMTP." in opened.read():
                            found.append(os.path.join(folder, file))
            self.assertEqual(len(found), 1)
            self.assertIn("/company.com/jsmith.macnt/", found[0])

    def test_an_unknown_recipient_is_refused_and_the_others_get_the_message(self):
        with Stack() as stack:
            refused = deliver(stack, [stack.account(0)[0], "nobody@company.com"])
            self.assertEqual(refused["nobody@company.com"][0], 550)
            self.assertEqual(len(messages_over_pop3(stack)), 1)

    def test_killed_and_started_again_it_goes_on_where_it_was(self):
        with Stack() as stack:
            deliver(stack, [stack.account(0)[0]])
            before, accounts = messages_over_pop3(stack), stack.facts["accounts"]
            stack.stop(signal.SIGKILL)
            stack.start()
            self.assertEqual(stack.facts["accounts"], accounts)
            self.assertEqual(messages_over_pop3(stack), before)

    def test_it_ends_in_order_when_interrupted(self):
        with Stack() as stack:
            deliver(stack, [stack.account(0)[0]])
            self.assertEqual(stack.stop(signal.SIGINT), 0)
            with open(os.path.join(stack.directory, "logs", "canopyd.log"), encoding="utf-8") as log:
                self.assertIn(" stopped ", log.read())


if __name__ == "__main__":
    unittest.main()
