"""What the tests of mail clients share: accounts of their own, raw sockets, and the system with parts that stop."""
import os
import poplib
import signal
import smtplib
import socket

from ctl_case import CtlCase


class Lines:
    """A raw connection that speaks in lines, for what no client library says."""

    def __init__(self, address, tls=None):
        self.socket = socket.create_connection(address, timeout=60)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def line(self):
        return self.file.readline().decode()

    def reply(self):
        """All lines of one SMTP reply."""
        text = ""
        while True:
            line = self.line()
            text += line
            if len(line) < 4 or line[3] != "-":
                return text

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def ask(self, command):
        self.send(command + "\r\n")
        return self.reply()


class MailCase(CtlCase):
    number = 0

    def account(self, *settings, password="secret"):
        MailCase.number += 1
        name = f"user{MailCase.number}@company.com"
        options = [word for setting in settings for word in ("--set", setting)]
        self.ctl("account", "create", name, "--password-file", "-", *options, stdin=password + "\n")
        return name

    def lmtp(self):
        return smtplib.LMTP(*self.stack.address("lmtp"))

    def deliver(self, to, message):
        """To one account; raises smtplib's exceptions."""
        with self.lmtp() as client:
            client.sendmail("sender@example.org", [to], message)

    def pop3(self, account=None, password="secret"):
        client = poplib.POP3_SSL(*self.stack.address("pop3s"), context=self.stack.tls(), timeout=120)
        if account is not None:
            try:
                client.user(account)
                client.pass_(password)
            except poplib.error_proto:
                client.close()
                raise
        return client

    def contents(self, account, password="secret"):
        client = self.pop3(account, password)
        found = [b"\r\n".join(client.retr(i + 1)[1]) + b"\r\n" for i in range(client.stat()[0])]
        client.quit()
        return found

    def service_pid(self, name):
        """The pid of canopyd or canopy-frontend: a child of the process that `tools/dev run` ends in."""
        with open(f"/proc/{self.stack.process.pid}/task/{self.stack.process.pid}/children", encoding="ascii") as file:
            for pid in file.read().split():
                with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    if comm.read().strip() == name[:15]:
                        return int(pid)
        raise AssertionError(f"{name} does not run")

    def pause(self, name):
        """Stops the program where it is (a backend that does not answer) until the test ends or resume() is called."""
        pid = self.service_pid(name)
        os.kill(pid, signal.SIGSTOP)
        resumed = []

        def resume():
            if not resumed:
                os.kill(pid, signal.SIGCONT)
                resumed.append(True)

        self.addCleanup(resume)
        return resume
