"""The whole system, started as `tools/dev run` starts it, in a directory of its own and on free ports."""
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile

BIN = os.environ["CANOPY_BIN"]
SOURCE = os.environ["CANOPY_SOURCE_DIR"]

sys.path.append(os.path.join(SOURCE, "tools"))
import ports  # pylint: disable=wrong-import-position

SANITIZED = bool(os.environ.get("CANOPY_SANITIZE"))  # such programs keep what they freed: their memory says nothing
OVER_NFS = os.environ.get("CANOPY_TEST_NFS")  # "3" or "4": every system of tools/stack.py keeps its tree on an NFS server
READY_SECONDS = 60  # a generous bound for machines that are busy; nothing is measured here


class Stack:
    """Use as a context manager. `facts` is the line of JSON that `tools/dev run --json` prints."""

    def __init__(self, directory=None, mount=None, script="tools/stack.py", options=()):
        nfs = ["--over-nfs", OVER_NFS] if OVER_NFS and script == "tools/stack.py" else []
        self.script, self.options = script, [*options, *nfs, *(["--mount", mount] if mount else [])]
        self.directory = directory or tempfile.mkdtemp(prefix="canopy-it.")
        self.owns_directory = directory is None
        self.process, self.facts = None, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        for attempt in range(5):
            self.process = subprocess.Popen(
                [sys.executable, os.path.join(SOURCE, self.script), "--json", "--bin", BIN, "--dir", self.directory,
                 "--port-base", str(ports.reserve(4)), *self.options],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
            line = self.process.stdout.readline()
            if line:
                self.facts = json.loads(line)
                return
            error = self.process.stderr.read()
            self.process.wait()
            if attempt == 4 or ("port " not in error and "another process listens" not in error):
                raise RuntimeError("the stack did not start: " + error)

    def stop(self, how=signal.SIGTERM):
        """Answers the exit status. SIGKILL reaches the daemon and the frontend too."""
        if self.process is None:
            return None
        self.process.send_signal(how)
        status = self.process.wait(60)
        self.process.stdout.close()
        self.process.stderr.close()
        self.process = None
        return status

    def address(self, name):
        host, port = self.facts[name].rsplit(":", 1)
        return host, int(port)

    def account(self, index=0):
        return self.facts["accounts"][index]["name"], self.facts["accounts"][index]["password"]

    def tls(self):
        return ssl.create_default_context(cafile=self.facts["ca"])

    def ctl(self, *arguments, check=True, stdin=None):
        """Runs canopyctl against the daemon; the finished process, with text output."""
        done = subprocess.run([os.path.join(BIN, "canopyctl"), "--server", "unix:" + self.facts["socket"], *arguments],
                              input=stdin, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"canopyctl {arguments}: status {done.returncode}: {done.stderr}")
        return done
