"""What canopyctl does without a daemon: path, pki, and what documents it: --help, man page, completions."""
import json
import os
import re
import ssl
import subprocess
import tempfile
import unittest

from ctl_case import FAILED, NOT_FOUND, USAGE, run_ctl
from stack import BIN, SOURCE

SHARED_TABLE = os.path.join(SOURCE, "../shared/conformance/paths.tsv")
KEPT_TABLE = os.path.join(SOURCE, "tests/conformance/paths.tsv")


def path_rows():
    with open(SHARED_TABLE if os.path.exists(SHARED_TABLE) else KEPT_TABLE, encoding="utf-8") as table:
        for line in table:
            if line.strip() and not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


class Path(unittest.TestCase):
    def test_every_row_of_the_table_through_the_program(self):
        rows = list(path_rows())
        self.assertGreaterEqual(len(rows), 35)
        for domain, account, domains, accounts, index, directory, settings in rows:
            with self.subTest(row=(domain, account, domains, accounts, index)):
                command = ("path", domain, account, "--domain-foldering", domains, "--account-foldering", accounts,
                           "--fast-index", index)
                done = run_ctl(*command)
                if directory == "-":
                    self.assertNotEqual(done.returncode, 0)
                    self.assertEqual(done.stdout, "")
                    self.assertRegex(done.stderr, r"\Acanopyctl: [^\n]+\n\Z")
                    continue
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"{directory}\n{settings}\n", ""))
                printed = json.loads(run_ctl("--json", *command).stdout)
                self.assertEqual((printed["account_directory"], printed["settings_file"], printed["info_file"]),
                                 (directory, settings, settings[:-len(".settings")] + ".info"))

    def test_refusals_are_one_sentence_and_a_status_that_is_not_0(self):
        for command in (("company.com", "a", "--fast-index", "-1"), ("company.com", "a", "--fast-index", "x"),
                        ("company.com", "a", "--account-foldering", "1-"), ("company.com", "a" * 129),
                        ("", "a"), ("company.com", ""), ("company.com", "a\x01b"), ("company.com", "a@b"),
                        ("company.com", "a", "--account-foldering", "1-1-1-1-1"), ("fast", "a")):
            done = run_ctl("path", *command)
            self.assertEqual((done.returncode, done.stdout), (FAILED, ""), command)
            self.assertRegex(done.stderr, r"\Acanopyctl: [^\n]+\n\Z")
        self.assertEqual(run_ctl("path", "company.com").returncode, USAGE)


class Pki(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory()) if hasattr(self, "enterContext") else None
        if self.directory is None:
            holder = tempfile.TemporaryDirectory()
            self.addCleanup(holder.cleanup)
            self.directory = holder.name

    def pki(self, *arguments, status=0):
        done = run_ctl("--json", "pki", *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout) if status == 0 else json.loads(done.stderr)["error"]

    def test_a_ca_and_certificates_with_roles_that_openssl_accepts(self):
        ca = self.pki("init", "--dir", self.directory, "--cluster", "east")["certificate"]
        for role in ("frontend", "mount", "admin", "backend"):
            made = self.pki("issue", "--dir", self.directory, "--cluster", "east", "--role", role, "--name", role + "1",
                            "--dns", "host.example", "--ip", "127.0.0.1", "--ip", "::1")
            self.assertEqual(made["uri"], f"canopy://east/role/{role}/{role}1")
            self.assertEqual(os.stat(made["key"]).st_mode & 0o777, 0o600)
            checked = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", ca, made["certificate"]],
                                     capture_output=True, text=True, check=False)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
            names = subprocess.run(["openssl", "x509", "-in", made["certificate"], "-noout", "-ext", "subjectAltName"],
                                   capture_output=True, text=True, check=True).stdout
            self.assertIn(f"URI:{made['uri']}", names)
            self.assertIn("DNS:host.example", names)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(made["certificate"], made["key"])  # key and certificate belong together
            shown = self.pki("show", made["certificate"])
            self.assertEqual((shown["uris"], shown["ca"], shown["expired"]), ([made["uri"]], False, False))
        self.assertTrue(self.pki("show", ca)["ca"])
        self.assertIn("canopy://east/role/admin/admin1", run_ctl("pki", "show", self.directory + "/admin1.crt").stdout)

    def test_other_kinds_of_keys_and_lifetimes(self):
        self.pki("init", "--dir", self.directory, "--key-type", "ed25519", "--days", "10")
        made = self.pki("issue", "--dir", self.directory, "--role", "admin", "--name", "a", "--key-type", "ed25519",
                        "--days", "1")
        text = subprocess.run(["openssl", "x509", "-in", made["certificate"], "-noout", "-text"], capture_output=True,
                              text=True, check=True).stdout
        self.assertIn("ED25519", text)

    def test_nothing_is_overwritten_and_wrong_names_are_refused(self):
        self.pki("issue", "--dir", self.directory, "--role", "admin", "--name", "a", status=NOT_FOUND)
        self.pki("init", "--dir", self.directory)
        with open(self.directory + "/ca.key", encoding="ascii") as file:
            before = file.read()
        self.assertEqual(self.pki("init", "--dir", self.directory, status=FAILED)["name"], "already-exists")
        with open(self.directory + "/ca.key", encoding="ascii") as file:
            self.assertEqual(file.read(), before)
        for address in ("127.0.0.1", "::1"):
            error = self.pki("issue", "--dir", self.directory, "--role", "admin", "--name", "a", "--dns", address,
                             status=FAILED)
            self.assertEqual((error["object"], "--ip" in error["message"]), (address, True))
        for name in ("../evil", "a/b", "A", "", ".x"):
            self.pki("issue", "--dir", self.directory, "--role", "admin", "--name", name, status=FAILED)
        self.assertEqual(run_ctl("pki", "issue", "--dir", self.directory, "--role", "king", "--name", "a").returncode,
                         USAGE)
        self.assertEqual(sorted(os.listdir(self.directory)), ["ca.crt", "ca.key"])


def help_of(*command):
    done = run_ctl(*command, "--help")
    return done.returncode, done.stdout


def subcommands(text):
    after = text.split("Subcommands:\n", 1)
    return re.findall(r"^  ([a-z0-9]+) ", after[1], re.M) if len(after) == 2 else []


def all_commands(path=()):
    """Every command with its help text, the groups too."""
    status, text = help_of(*path)
    yield path, status, text
    for name in subcommands(text):
        yield from all_commands(path + (name,))


class Documentation(unittest.TestCase):
    COMMANDS = """domain account settings info mailbox locate check status top path pki completion man
        domain create|domain list|domain show|domain rename|domain delete|domain set|account create|account list
        |account show|account rename|account delete|account set|account password|account suspend|account resume
        |account alias|account alias set|account alias list|account alias remove|settings get|settings set|info get
        |info set|mailbox list|mailbox create|mailbox rename|mailbox delete|mailbox import|mailbox export|mailbox cat
        |pki init|pki issue|pki show"""

    @classmethod
    def setUpClass(cls):
        cls.commands = list(all_commands())
        cls.man = run_ctl("man").stdout

    def rendered(self, page):
        """The page as a reader sees it, hyphens as they are typed; fails on any warning of groff."""
        done = subprocess.run(["groff", "-man", "-ww", "-rLL=110n", "-Tascii", "-P-cbou"], input=page,
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_every_command_of_the_specification_is_there_and_has_help(self):
        known = {" ".join(path) for path, _, _ in self.commands}
        first, *others = self.COMMANDS.split("\n", 1)[0].split(), *self.COMMANDS.split("\n", 1)[1:]
        wanted = set(first) | {" ".join(each.split()) for each in others[0].split("|")}
        self.assertEqual(wanted - known, set())
        for path, status, text in self.commands:
            self.assertEqual(status, 0, path)
            self.assertIn("--help", text)
            self.assertIn("Exit status: 0 done", text)

    def test_the_man_page_renders_without_warnings_and_holds_every_command_and_option(self):
        text = self.rendered(self.man)
        for path, _, help_text in self.commands:
            if path:
                self.assertRegex(text, r"(?m)^ *(canopyctl )?" + " ".join(path) + r"\b", path)
            for option in re.findall(r"--[a-z][a-z-]*", help_text):
                self.assertIn(option, text, path)
        for status in ("0", "1", "2", "3", "4"):
            self.assertRegex(text.split("EXIT STATUS")[1], rf"(?m)^ +{status} ")
        self.assertNotIn(" in [", text)

    def test_the_daemons_have_man_pages_that_hold_every_option_of_theirs(self):
        for name in ("canopyd", "canopy-frontend"):
            with open(os.path.join(SOURCE, "docs/man", name + ".8"), encoding="utf-8") as file:
                text = self.rendered(file.read())
            done = subprocess.run([os.path.join(BIN, name), "--help"], capture_output=True, text=True, check=True)
            options = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
            self.assertGreater(len(options), 3)
            for option in options:
                self.assertIn(option, text, name)
            for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SIGNALS", "FILES"):
                self.assertRegex(text, rf"(?m)^{section}$")

    def test_every_log_event_and_every_code_has_its_line_in_the_operators_manual(self):
        with open(os.path.join(SOURCE, "docs/operations/troubleshooting.md"), encoding="utf-8") as file:
            manual = file.read()
        events = set()
        for part in ("daemon", "proto-frontends"):
            for folder, _, files in os.walk(os.path.join(SOURCE, part)):
                for name in files:
                    if name.endswith(".cpp"):
                        with open(os.path.join(folder, name), encoding="utf-8") as file:
                            for call in re.findall(r'log_event\(([^;]*?"[a-z-]+")', file.read()):
                                events.update(re.findall(r'"([a-z-]+)"', call))
        self.assertGreater(len(events), 25)
        self.assertEqual([event for event in sorted(events) if f"`{event}`" not in manual], [])
        with open(os.path.join(SOURCE, "docs/protocol/errors.md"), encoding="utf-8") as file:
            codes = re.findall(r"(?m)^\| \d+ \| ([a-z-]+) \|", file.read())
        self.assertGreater(len(codes), 25)
        section = manual.split("## What canopyctl says")[1].split("\n## ")[0]
        self.assertEqual([code for code in codes if not re.search(rf"(?m)^\|[a-z, -]*\b{code}\b", section)], [])

    def complete(self, shell, *words):
        """What the shell offers after these words, the last of which is being typed."""
        script = run_ctl("completion", shell).stdout
        if shell == "bash":
            quoted = " ".join(f"'{word}'" for word in words)
            program = (script + f"\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _canopyctl\n"
                       'printf "%s\\n" "${COMPREPLY[@]}"\n')
            done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, timeout=60,
                                  check=False, cwd="/")
        else:
            # compadd and _files belong to the completion system; here they print what they are given.
            quoted = " ".join(f"'{word}'" for word in words)
            program = ("compdef() { :; }; compadd() { [[ $1 == -- ]] && shift; print -l -- \"$@\"; }; _files() { :; }\n"
                       + script + f"\nwords=({quoted}); CURRENT={len(words)}; _canopyctl\n")
            done = subprocess.run(["zsh", "-f", "-c", program], capture_output=True, text=True, timeout=60, check=False,
                                  cwd="/")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(done.stdout.split())

    def test_completions_parse_and_complete_commands_and_options(self):
        for shell in ("bash", "zsh"):
            with self.subTest(shell=shell):
                script = run_ctl("completion", shell).stdout
                parsed = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
                self.assertEqual((parsed.returncode, parsed.stderr), (0, ""))
                for path, _, help_text in self.commands:
                    offered = self.complete(shell, "canopyctl", *path, "")
                    for name in subcommands(help_text):
                        self.assertIn(name, offered, path)
                    if not subcommands(help_text) and shell == "bash":
                        offered = self.complete(shell, "canopyctl", *path, "--")
                    if path:
                        self.assertIn("--json", offered | self.complete(shell, "canopyctl", *path, "--"), path)
        self.assertEqual(self.complete("bash", "canopyctl", "ma"), {"mailbox", "man"})
        self.assertEqual(self.complete("bash", "canopyctl", "--json", "account", "su"), {"suspend"})
        self.assertEqual(self.complete("bash", "canopyctl", "account", "alias", "r"), {"remove"})

    def test_wrong_usage_has_its_own_status(self):
        for command in ((), ("nonsense",), ("domain",), ("domain", "create"), ("--timeout", "x", "status"),
                        ("--timeout", "nan", "status"), ("top", "--interval", "nan"), ("top", "--interval", "0"),
                        ("domain", "list", "--nonsense")):
            done = run_ctl(*command)
            self.assertEqual((done.returncode, done.stdout), (USAGE, ""), command)
            self.assertRegex(done.stderr, r"\Acanopyctl: [^\n]+ --help\n\Z")
        as_json = run_ctl("domain", "create", "--json")
        self.assertEqual(as_json.returncode, USAGE)
        self.assertEqual(json.loads(as_json.stderr)["error"]["name"], "invalid-argument")


@unittest.skipUnless(os.path.exists(os.path.join(BIN, "../tools/packaging/cmake_install.cmake")),
                     "builds with sanitizers are not installed")
class Install(unittest.TestCase):
    def test_cmake_installs_programs_man_pages_completions_and_units(self):
        with tempfile.TemporaryDirectory() as prefix:
            done = subprocess.run(["cmake", "--install", os.path.dirname(BIN), "--prefix", prefix], capture_output=True,
                                  text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            version = subprocess.run([os.path.join(prefix, "bin/canopyctl"), "--version"], capture_output=True, text=True,
                                     check=True).stdout
            self.assertIn("canopyctl", version)
            for file in ("sbin/canopyd", "sbin/canopy-frontend", "share/man/man8/canopyctl.8",
                         "share/man/man8/canopyd.8", "share/man/man8/canopy-frontend.8",
                         "share/bash-completion/completions/canopyctl", "share/zsh/site-functions/_canopyctl",
                         "share/bash-completion/completions/canopy-mount", "share/zsh/site-functions/_canopy-mount",
                         "share/man/man8/canopy-mount.8", "sbin/mount.fuse.canopy",
                         "lib/systemd/system/canopyd.service", "lib/systemd/system/canopy-frontend.service",
                         "share/doc/canopy/frontend.example.toml"):
                self.assertGreater(os.path.getsize(os.path.join(prefix, file)), 0, file)
            with open(os.path.join(prefix, "share/man/man8/canopyctl.8"), encoding="utf-8") as file:
                self.assertEqual(file.read(), run_ctl("man").stdout)
            with open(os.path.join(prefix, "lib/systemd/system/canopyd.service"), encoding="utf-8") as file:
                self.assertIn(f"ExecStart={prefix}/sbin/canopyd ", file.read())


if __name__ == "__main__":
    unittest.main()
