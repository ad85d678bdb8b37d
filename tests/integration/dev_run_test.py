"""`tools/dev run` as a user meets it: what it prints works as printed, it survives kill -9, it ends on Ctrl-C."""
import os
import poplib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from stack import BIN, SOURCE, Stack, ports

KEYS = ["base", "socket", "wire", "lmtp", "pop3", "pop3s", "ca", "domain", "accounts"]


def start(directory, *options, **more):
    """What tools/dev run ends in, once everything is built."""
    return subprocess.Popen([sys.executable, os.path.join(SOURCE, "tools/stack.py"), "--bin", BIN, "--dir", directory,
                             *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True, **more)


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(each) for each in file.read().split()]


class DevRun(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="canopy-dev.")
        self.addCleanup(holder.cleanup)
        self.directory = os.path.join(holder.name, "a folder")

    def prose(self, *options):
        """Starts it without --json; the process and what it printed."""
        for _ in range(5):
            base = ports.reserve(4)
            process = start(self.directory, "--port-base", str(base), *options)
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "canopyctl" in line:
                    self.addCleanup(process.stdout.close)
                    self.addCleanup(process.stderr.close)
                    return process, base, "".join(lines)
            error = process.stderr.read()
            process.wait()
            process.stdout.close()
            process.stderr.close()
            self.assertRegex(error, "port |another process listens")
        raise AssertionError("no free ports")

    def end(self, process, how=signal.SIGINT):
        process.send_signal(how)
        return process.wait(60)

    def test_the_three_commands_work_as_they_are_printed(self):
        process, base, text = self.prose()
        try:
            for address in (base, base + 1, base + 2, base + 3):
                self.assertIn(f"127.0.0.1:{address}", text)
            commands = [line.strip() for line in text.split("Try in another terminal:\n")[1].splitlines() if line.strip()]
            self.assertEqual(len(commands), 3)
            outputs = []
            for command in commands:
                done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)
                self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
                outputs.append(done.stdout)
            self.assertIn("250", outputs[0])
            self.assertIn("Subject: Hello", outputs[1])
            self.assertIn("Hello from LMTP.", outputs[1])
            self.assertIn("SharedDomains/company.com/jsmith.macnt", outputs[2])
        finally:
            self.assertEqual(self.end(process), 0)

    @unittest.skipUnless(os.path.exists("/dev/fuse"), "this machine has no /dev/fuse")
    def test_with_a_mount_the_tree_is_there_as_files(self):
        at = os.path.join(os.path.dirname(self.directory), "a mount")
        process, _, text = self.prose("--mount", at)
        try:
            self.assertIn(f"mount  {at}\n", text)
            self.assertEqual(sorted(os.listdir(at)), ["Settings", "SharedDomains", "accounts"])
            self.assertIn("INBOX", os.listdir(os.path.join(at, "accounts", "company.com", "jsmith")))
        finally:
            self.assertEqual(self.end(process), 0)
        self.assertFalse(os.path.ismount(at))
        # Killed, it leaves a mount behind that the next start takes away.
        process, _, _ = self.prose("--mount", at)
        self.end(process, signal.SIGKILL)
        process, _, _ = self.prose("--mount", at)
        self.assertIn("company.com", os.listdir(os.path.join(at, "accounts")))
        self.assertEqual(self.end(process), 0)
        self.assertFalse(os.path.ismount(at))

    def test_json_is_one_line_with_every_address(self):
        with Stack(self.directory) as stack:
            self.assertEqual(list(stack.facts), KEYS)
            self.assertEqual([sorted(each) for each in stack.facts["accounts"]], [["name", "password"]] * 2)
            self.assertEqual(stack.facts["domain"], "company.com")
            for name in ("wire", "lmtp", "pop3", "pop3s"):
                socket.create_connection(stack.address(name), timeout=30).close()
            self.assertTrue(os.path.isdir(os.path.join(stack.facts["base"], "SharedDomains")))
            self.assertEqual(os.stat(os.path.join(self.directory, "accounts.json")).st_mode & 0o777, 0o600)

    def test_ctrl_c_ends_everything_at_any_moment(self):
        process, _, _ = self.prose()
        started = children(process.pid)
        self.assertEqual(len(started), 2)
        self.assertEqual(self.end(process), 0)
        self.assertTrue(all(gone(pid) for pid in started))
        # In the middle of its start too.
        for _ in range(3):
            process = start(self.directory, "--port-base", str(ports.reserve(4)))
            while not children(process.pid) and process.poll() is None:
                time.sleep(0.005)
            status = self.end(process)
            process.stdout.close()
            process.stderr.close()
            self.assertEqual(status, 0)

    def test_killed_it_takes_everything_with_it_and_goes_on_where_it_was(self):
        with Stack(self.directory) as stack:
            accounts = stack.facts["accounts"]
            for _ in range(2):
                pids = children(stack.process.pid)
                stack.stop(signal.SIGKILL)
                for _ in range(200):
                    if all(gone(pid) for pid in pids):
                        break
                    time.sleep(0.05)
                self.assertTrue(all(gone(pid) for pid in pids))
                stack.start()
                self.assertEqual(stack.facts["accounts"], accounts)
                client = poplib.POP3_SSL(*stack.address("pop3s"), context=stack.tls(), timeout=60)
                client.user(accounts[0]["name"])
                client.pass_(accounts[0]["password"])
                client.quit()

    def test_a_program_that_ends_is_started_again(self):
        with Stack(self.directory) as stack:
            for pid in children(stack.process.pid):
                os.kill(pid, signal.SIGKILL)
            for _ in range(300):
                try:
                    client = poplib.POP3_SSL(*stack.address("pop3s"), context=stack.tls(), timeout=60)
                    client.user(stack.account()[0])
                    client.pass_(stack.account()[1])
                    client.quit()
                    break
                except (OSError, poplib.error_proto):
                    time.sleep(0.1)
            else:
                self.fail("it did not come back")

    def test_a_port_in_use_is_named(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            process = start(self.directory, "--json", "--port-base", str(min(port, 65532)))
            out, error = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out), (1, ""))
            self.assertRegex(error, rf"port {port} .*--port-base")

    def test_wrong_usage_and_help(self):
        dev = os.path.join(SOURCE, "tools/dev")
        for command, status in (((), 2), (("nonsense",), 2), (("run", "--port-base", "x"), 2),
                                (("run", "--port-base", "0"), 2), (("run", "--over-nfs", "2"), 2)):
            program = [dev, *command] if command[:1] != ("run",) else [sys.executable,
                                                                     os.path.join(SOURCE, "tools/stack.py"), *command[1:]]
            done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, status, command)
        text = subprocess.run([dev, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
        for word in ("setup", "build", "test", "run", "bench", "fuzz", "fmt", "--dir", "--json", "--port-base"):
            self.assertIn(word, text)
        text = subprocess.run([dev, "run", "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
        for word in ("--dir", "--json", "--port-base"):
            self.assertRegex(text, re.escape(word))


if __name__ == "__main__":
    unittest.main()
