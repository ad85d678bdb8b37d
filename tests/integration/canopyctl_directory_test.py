"""canopyctl domain, account, alias, settings and info against a real daemon."""
import json
import os
import poplib
import subprocess
import unittest

from ctl_case import FAILED, NOT_FOUND, USAGE, CtlCase


def directory_tree(path):
    return sorted(os.path.relpath(os.path.join(folder, name), path)
                  for folder, folders, files in os.walk(path) for name in folders + files)


class Domains(CtlCase):
    def test_a_domain_is_made_shown_listed_and_deleted(self):
        made = self.ctl("domain", "create", "one.example", "--account-foldering", "2-1", "--fast-index", "2")
        self.assertEqual(made["directory"], "SharedDomains/one.example")
        shown = self.ctl("domain", "show", "one.example")
        self.assertEqual((shown["account_foldering"], shown["fast_index"], shown["version"]), ("2-1", 2, 1))
        self.assertTrue(os.path.isfile(self.base("SharedDomains/one.example/domain.settings")))
        self.assertIn("one.example", self.ctl("domain", "list"))
        self.assertEqual(self.ctl("domain", "list", "--prefix", "one."), ["one.example"])
        self.assertIn("2-1", self.text("domain", "show", "one.example"))
        self.assertEqual(self.ctl("domain", "delete", "one.example"), {"deleted": "one.example"})
        self.assertNotIn("one.example", self.text("domain", "list").split())
        self.assertFalse(os.path.exists(self.base("SharedDomains/one.example")))
        self.refused(NOT_FOUND, "domain", "show", "one.example")
        self.refused(NOT_FOUND, "domain", "delete", "one.example")

    def test_a_name_of_another_script_is_stored_as_its_a_label(self):
        self.assertEqual(self.ctl("domain", "create", "Bücher.example")["name"], "xn--bcher-kva.example")
        self.assertEqual(self.ctl("domain", "show", "bücher.example")["name"], "xn--bcher-kva.example")

    def test_refused_names_and_settings_leave_nothing_behind(self):
        before = directory_tree(self.base("SharedDomains"))
        for name in ("", "fast", "x.sub", "x.macnt", ".org", "org.", "a/b", "heartbeat.data.org", "a" * 129):
            self.refused(FAILED, "domain", "create", name)
        self.assertIn("foldering", self.refused(FAILED, "domain", "create", "f.example", "--account-foldering", "9")
                      ["message"] + " foldering")
        self.refused(FAILED, "domain", "create", "f.example", "--fast-index", "9")
        self.refused(FAILED, "domain", "create", "company.com")
        for command in (("create", "cluster"), ("create", "Cluster"), ("rename", "company.com", "cluster")):
            error = self.refused(FAILED, "domain", *command)
            self.assertEqual((error["name"], error["object"]), ("invalid-argument", "cluster"))
            self.assertIn("whole cluster", error["message"])
        self.assertEqual(directory_tree(self.base("SharedDomains")), before)

    def test_a_domain_with_accounts_is_deleted_only_when_asked_for_all_of_it(self):
        self.ctl("domain", "create", "full.example", "--account-foldering", "1-1", "--fast-index", "1")
        self.ctl("account", "create", "anna@full.example", "--no-password")
        refusal = self.refused(FAILED, "domain", "delete", "full.example")
        self.assertEqual(refusal["name"], "not-empty")
        self.assertIn("--recursive", refusal["advice"])
        self.assertEqual(self.ctl("account", "list", "full.example"), ["anna"])
        self.ctl("domain", "delete", "full.example", "--recursive")
        left = [path for path in directory_tree(self.base("SharedDomains")) if "full.example" in path]
        self.assertEqual(left, [])
        self.ctl("domain", "create", "full.example", "--account-foldering", "1-1", "--fast-index", "1")
        self.refused(NOT_FOUND, "account", "show", "anna@full.example")

    def test_folders_that_deleted_accounts_have_left_do_not_keep_a_domain(self):
        self.ctl("domain", "create", "left.example", "--account-foldering", "2-1", "--fast-index", "3")
        self.ctl("account", "create", "anna@left.example", "--no-password")
        self.ctl("account", "delete", "anna@left.example")
        self.ctl("domain", "delete", "left.example")

    def test_renaming_takes_accounts_settings_info_and_aliases_along(self):
        for index, foldering in ((0, "flat"), (1, "1"), (2, "2-1"), (3, "1")):
            with self.subTest(fast_index=index):
                old, new = f"old{index}.example", f"new{index}.example"
                self.ctl("domain", "create", old, "--account-foldering", foldering, "--fast-index", str(index))
                self.ctl("account", "create", "anna@" + old, "--password-file", "-", "--set", "MessageLimit=#7",
                         stdin="secret\n")
                self.ctl("info", "set", "anna@" + old, "Theme=dark")
                self.ctl("mailbox", "create", "anna@" + old, "Work")
                self.ctl("account", "alias", "set", "ann@" + old, "anna@" + old)
                self.assertEqual(self.ctl("domain", "rename", old, new)["name"], new)
                self.refused(NOT_FOUND, "domain", "show", old)
                self.refused(NOT_FOUND, "account", "show", "anna@" + old)
                self.assertEqual(self.ctl("account", "show", "ann@" + new)["quota_messages"], 7)
                self.assertEqual(self.ctl("info", "get", "anna@" + new, "--key", "Theme"), "dark")
                self.assertEqual([each["name"] for each in self.ctl("mailbox", "list", "anna@" + new)],
                                 ["INBOX", "Work"])
                self.assertEqual(self.log_in("anna@" + new, "secret"), 0)
                left = [path for path in directory_tree(self.base("SharedDomains")) if old in path]
                self.assertEqual(left, [])
        self.refused(FAILED, "domain", "rename", "new0.example", "new1.example")
        self.refused(NOT_FOUND, "domain", "rename", "none.example", "other.example")

    def log_in(self, account, password):
        """How many messages its maildrop has."""
        client = poplib.POP3_SSL(*self.stack.address("pop3s"), context=self.stack.tls(), timeout=60)
        try:
            client.user(account)
            client.pass_(password)
            return client.stat()[0]
        finally:
            client.quit()

    def test_settings_of_a_domain_are_the_defaults_of_its_accounts(self):
        self.ctl("domain", "create", "class.example")
        self.ctl("account", "create", "anna@class.example", "--no-password")
        self.ctl("domain", "set", "class.example", "AccountDefaults={MessageLimit=#5;StorageLimit=#1000;}", "Note=x")
        self.assertEqual(self.ctl("account", "show", "anna@class.example")["quota_messages"], 5)
        self.ctl("account", "set", "anna@class.example", "MessageLimit=#6")
        shown = self.ctl("account", "show", "anna@class.example")
        self.assertEqual((shown["quota_messages"], shown["quota_bytes"]), (6, 1000))
        self.assertEqual(self.ctl("domain", "show", "class.example")["settings"]["Note"], "x")
        self.ctl("domain", "set", "class.example", "--unset", "Note")
        self.assertNotIn("Note", self.ctl("domain", "show", "class.example")["settings"])

    def test_keys_of_a_layout_may_be_typed_as_the_options_are(self):
        made = self.ctl("domain", "create", "typed.example", "foldering=1", "fast-index=2")
        self.assertEqual((made["account_foldering"], made["fast_index"]), ("1", 2))
        self.ctl("domain", "set", "typed.example", "foldering=2-1", "fast-index=1",
                 "account-defaults={MessageLimit=#5;}")
        shown = self.ctl("domain", "show", "typed.example")
        self.assertEqual((shown["account_foldering"], shown["fast_index"]), ("2-1", 1))
        self.assertEqual(shown["settings"]["AccountDefaults"], {"MessageLimit": 5})
        self.assertEqual([key for key in shown["settings"] if key in ("foldering", "fast-index")], [])
        self.ctl("domain", "set", "typed.example", "FastIndex=0")
        self.assertEqual(self.ctl("domain", "show", "typed.example")["fast_index"], 0)
        self.ctl("domain", "set", "typed.example", "--unset", "Foldering", "--unset", "AccountDefaults")
        shown = self.ctl("domain", "show", "typed.example")
        self.assertEqual((shown["account_foldering"], shown["settings"].get("AccountDefaults")), ("flat", None))
        self.refused(FAILED, "domain", "set", "typed.example", "fast-index=two")
        for layout, wrong in (("foldering=9", "9"), ("fast-index=-1", "FastIndex"), ("fast-index=9", ""),
                              ("Note=x", "Note"), ("foldering=#1", "Foldering"), ("fast-index", "fast-index")):
            self.assertIn(wrong, self.refused(FAILED, "domain", "create", "untyped.example", layout)["object"], layout)
        self.assertEqual(self.stack.ctl("domain", "create", "untyped.example", "foldering=1", "--fast-index", "2",
                                        check=False).returncode, USAGE)
        self.refused(NOT_FOUND, "domain", "show", "untyped.example")
        self.ctl("relocation", "show", "typed.example", "--wait")  # other tests look at the tree

    def test_another_spelling_of_a_key_is_refused_with_the_right_one(self):
        self.ctl("domain", "create", "spelt.example")
        before = self.ctl("settings", "get", "spelt.example")
        for command, key, right in ((("domain", "set"), "FOLDERING", "Foldering"),
                                    (("domain", "set"), "fastIndex", "FastIndex"),
                                    (("settings", "set"), "foldering", "Foldering"),
                                    (("settings", "set"), "account-foldering", "Foldering"),
                                    (("settings", "set"), "fast-index", "FastIndex"),
                                    (("settings", "set"), "account_defaults", "AccountDefaults"),
                                    (("domain", "set", "--replace"), "relocation", "Relocation")):
            for change in ((f"{key}=1",), ("--unset", key)):
                error = self.refused(FAILED, *command, "spelt.example", *change)
                self.assertEqual(error["object"], key)
                self.assertTrue(error["message"].endswith(f" {right}"), error)
        self.assertEqual(self.ctl("settings", "get", "spelt.example"), before)
        # One that lies there from before may come back with the others, or go.
        self.ctl("domain", "set", "spelt.example", "Folderings=kept")
        path = self.base("SharedDomains/spelt.example/domain.settings")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.stack.stop()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("Folderings", "foldering"))
        self.stack.start()
        self.ctl("settings", "set", "spelt.example", "--replace", "Foldering=1", "foldering=back")
        self.assertEqual(self.ctl("domain", "show", "spelt.example")["settings"]["foldering"], "back")
        self.ctl("domain", "set", "spelt.example", "--replace", "Foldering=1")
        self.ctl("relocation", "show", "spelt.example", "--wait")
        self.assertEqual(self.ctl("domain", "show", "spelt.example")["settings"].get("foldering"), None)

    def test_bad_settings_are_refused_by_key_and_rule_and_change_nothing(self):
        self.ctl("domain", "create", "bad.example")
        before = self.ctl("settings", "get", "bad.example")
        for assignment, key, rule in (
                ("FastIndex=two", "FastIndex", "number"), ("FastIndex=#-1", "bad.example", "small number"),
                ("Foldering=#1", "Foldering", "text"), ("Foldering=9-9", "9-9", ""),
                ("AccountDefaults=none", "bad.example", "AccountDefaults is a dictionary"),
                ("AccountDefaults={MessageLimit=many;}", "MessageLimit", "a number"),
                ("AccountDefaults={State=asleep;}", "State", "active, suspended or disabled"),
                ("AccountDefaults={Password=x;}", "Password", "account's own"),
                (".Version=#9", ".Version", "reserved")):
            error = self.refused(FAILED, "domain", "set", "bad.example", assignment)
            self.assertIn(key, error["object"], error)
            self.assertIn(rule, error["message"], error)
        self.assertEqual(self.ctl("settings", "get", "bad.example"), before)
        self.refused(FAILED, "domain", "set", "bad.example")


class Accounts(CtlCase):
    def test_an_account_is_made_shown_listed_renamed_and_deleted(self):
        self.assertEqual(self.ctl("account", "create", "Anna@company.com", "--no-password"),
                         {"name": "anna@company.com", "existed": False})
        self.refused(FAILED, "account", "create", "anna@company.com", "--no-password")
        self.assertTrue(self.ctl("account", "create", "anna@company.com", "--no-password", "--exist-ok")["existed"])
        shown = self.ctl("account", "show", "anna@company.com")
        self.assertEqual((shown["name"], shown["domain"], shown["state"], shown["messages"]),
                         ("anna", "company.com", "active", 0))
        self.assertTrue(self.text("account", "show", "anna@company.com").startswith("anna@company.com\n"))
        self.assertIn("anna", self.ctl("account", "list", "company.com"))
        self.assertEqual(self.ctl("account", "list", "company.com", "--prefix", "ann"), ["anna"])
        self.ctl("account", "rename", "anna@company.com", "hanna@company.com")
        self.refused(NOT_FOUND, "account", "show", "anna@company.com")
        self.refused(FAILED, "account", "rename", "hanna@company.com", "jsmith@company.com")
        self.ctl("account", "delete", "hanna@company.com")
        self.refused(NOT_FOUND, "account", "show", "hanna@company.com")
        self.refused(NOT_FOUND, "account", "delete", "hanna@company.com")
        self.refused(NOT_FOUND, "account", "create", "x@nowhere.example", "--no-password")
        self.assertEqual(self.ctl("account", "list", "company.com", "--prefix", "h"), [])

    def test_refused_names_leave_nothing_behind(self):
        before = directory_tree(self.base("SharedDomains"))
        for name in (".x@company.com", "x.@company.com", "a/b@company.com", "@company.com", "nodomain",
                     "a" * 129 + "@company.com", "tab\there@company.com"):
            self.refused(FAILED, "account", "create", name, "--no-password")
        self.assertEqual(directory_tree(self.base("SharedDomains")), before)

    def test_an_account_moves_between_domains_of_any_layout(self):
        layouts = {"apart.example": ("1", "1"), "plain.example": ("flat", "0"), "inside.example": ("2", "2")}
        for domain, (foldering, index) in layouts.items():
            self.ctl("domain", "create", domain, "--account-foldering", foldering, "--fast-index", index)
        self.ctl("account", "create", "w0@plain.example", "--no-password", "--set", "Nick=Wanda")
        self.ctl("info", "set", "w0@plain.example", "Theme=dark")
        self.ctl("mailbox", "create", "w0@plain.example", "Work")
        before = "w0@plain.example"
        for step, domain in enumerate(("plain.example", "apart.example", "apart.example", "inside.example",
                                       "inside.example", "plain.example", "inside.example", "apart.example",
                                       "plain.example"), 1):
            after = f"w{step}@{domain}"
            self.ctl("account", "rename", before, after)
            self.refused(NOT_FOUND, "account", "show", before)
            self.assertEqual(self.ctl("settings", "get", after, "--key", "Nick"), "Wanda")
            self.assertEqual(self.ctl("info", "get", after, "--key", "Theme"), "dark")
            self.assertEqual([box["name"] for box in self.ctl("mailbox", "list", after)], ["INBOX", "Work"])
            old_name = before.split("@")[0] + "."
            left = [path for path in directory_tree(self.base("SharedDomains"))
                    if os.path.basename(path).startswith(old_name) and not path.endswith(".sub")]
            self.assertEqual(left, [])
            before = after
        located = self.ctl("locate", before)
        files = [os.path.basename(each["path"]) for each in located["files"]]
        self.assertEqual(files.count("account.settings"), 1)
        self.assertEqual(self.ctl("check", before)["damages"], [])

    def test_passwords_are_set_by_file_standard_input_and_not_at_all(self):
        account = "pw@company.com"
        self.ctl("account", "create", account, "--password-file", "-", stdin="first\n")
        self.assertTrue(self.logs_in(account, "first"))
        path = os.path.join(self.stack.directory, "password")
        with open(path, "w", encoding="utf-8") as file:
            file.write("sécond with blanks\nignored\n")
        self.ctl("account", "password", account, "--password-file", path)
        self.assertTrue(self.logs_in(account, "sécond with blanks"))
        self.assertFalse(self.logs_in(account, "first"))
        self.refused(NOT_FOUND, "account", "password", account, "--password-file", path + ".absent")
        self.refused(FAILED, "account", "password", account, "--password-file", "-", stdin="\n")
        self.ctl("account", "password", account, "--no-password")
        self.assertFalse(self.logs_in(account, "sécond with blanks"))
        self.refused(NOT_FOUND, "account", "password", "none@company.com", "--password-file", "-", stdin="x\n")
        self.assertNotIn("sécond", self.text("settings", "get", account))

    def logs_in(self, account, password):
        client = poplib.POP3_SSL(*self.stack.address("pop3s"), context=self.stack.tls(), timeout=60)
        client.encoding = "utf-8"
        try:
            client.user(account)
            client.pass_(password)
            return True
        except poplib.error_proto as error:
            self.assertIn(b"[AUTH]", error.args[0])
            return False
        finally:
            client.quit()

    def test_a_suspended_account_is_out_of_use_and_a_disabled_one_takes_mail(self):
        account = "sleeper@company.com"
        self.ctl("account", "create", account, "--password-file", "-", stdin="pw\n")
        self.assertEqual(self.ctl("account", "suspend", account)["state"], "suspended")
        self.assertEqual(self.ctl("account", "show", account)["state"], "suspended")
        self.assertEqual(self.refused(FAILED, "mailbox", "list", account)["name"], "suspended")
        self.assertEqual(self.ctl("account", "resume", account)["state"], "active")
        self.assertEqual(len(self.ctl("mailbox", "list", account)), 1)
        self.assertEqual(self.ctl("account", "suspend", "--disable", account)["state"], "disabled")
        self.assertEqual(len(self.ctl("mailbox", "list", account)), 1)
        self.assertFalse(self.logs_in_or_is_refused(account, "pw"))
        self.ctl("account", "resume", account)
        self.assertTrue(self.logs_in_or_is_refused(account, "pw"))
        self.refused(FAILED, "settings", "set", account, "State=suspended")
        self.refused(NOT_FOUND, "account", "suspend", "none@company.com")

    def logs_in_or_is_refused(self, account, password):
        client = poplib.POP3_SSL(*self.stack.address("pop3s"), context=self.stack.tls(), timeout=60)
        try:
            client.user(account)
            client.pass_(password)
            return True
        except poplib.error_proto:
            return False
        finally:
            client.quit()

    def test_aliases(self):
        self.ctl("account", "create", "real@company.com", "--no-password")
        self.ctl("account", "alias", "set", "other@company.com", "real@company.com")
        self.assertEqual(self.ctl("account", "alias", "list", "company.com"),
                         [{"alias": "other@company.com", "account": "real@company.com"}])
        self.assertEqual(self.text("account", "alias", "list", "company.com"),
                         "other@company.com -> real@company.com\n")
        self.assertEqual(self.ctl("account", "show", "other@company.com")["name"], "real")
        self.refused(FAILED, "account", "create", "other@company.com", "--no-password")
        self.refused(FAILED, "account", "alias", "set", "jsmith@company.com", "real@company.com")
        self.refused(NOT_FOUND, "account", "alias", "set", "more@company.com", "none@company.com")
        self.ctl("account", "rename", "real@company.com", "realer@company.com")
        self.assertEqual(self.ctl("account", "show", "other@company.com")["name"], "realer")
        self.ctl("account", "alias", "remove", "other@company.com")
        self.assertEqual(self.ctl("account", "alias", "list", "company.com"), [])
        self.refused(NOT_FOUND, "account", "alias", "remove", "other@company.com")
        self.ctl("domain", "create", "far.example")
        self.ctl("account", "alias", "set", "info@far.example", "realer@company.com")
        self.assertEqual(self.ctl("account", "show", "info@far.example")["domain"], "company.com")


class SettingsAndInfo(CtlCase):
    def test_settings_are_merged_removed_and_replaced(self):
        name = "jsmith@company.com"
        first = self.ctl("settings", "set", name, "Color=blue", "Count=#3", "Tags=(a,b)", "Nested={x=#1;}")
        got = self.ctl("settings", "get", name)
        self.assertEqual(got["version"], first["version"])
        values = got["values"]
        self.assertEqual((values["Color"], values["Count"], values["Tags"], values["Nested"]),
                         ("blue", 3, ["a", "b"], {"x": 1}))
        self.ctl("settings", "set", name, "Count=#4", "--unset", "Color")
        values = self.ctl("settings", "get", name)["values"]
        self.assertEqual((values["Count"], "Color" in values), (4, False))
        self.ctl("settings", "set", name, "--file", "-", stdin='{Text="two words"; When=#T23-10-2026_12:30:00;}')
        self.assertEqual(self.text("settings", "get", name, "--key", "Text"), "two words\n")
        self.ctl("settings", "set", name, "--replace", "Only=this")
        values = self.ctl("settings", "get", name)["values"]
        self.assertEqual(values["Only"], "this")
        self.assertNotIn("Count", values)
        self.assertIn("Password", values)  # only its own command changes it
        self.assertEqual(values["Password"], "***")

    def test_a_change_from_an_old_version_is_refused(self):
        name = "albert@company.com"
        version = self.ctl("settings", "set", name, "A=1")["version"]
        self.ctl("settings", "set", name, "A=2", "--expect-version", str(version))
        error = self.refused(FAILED, "settings", "set", name, "A=3", "--expect-version", str(version))
        self.assertEqual(error["name"], "conflict")
        self.assertEqual(self.ctl("settings", "get", name, "--key", "A"), "2")

    def test_bad_input_is_refused_by_key_and_rule_and_changes_nothing(self):
        name = "jsmith@company.com"
        before = self.ctl("settings", "get", name)
        for assignment, key, rule in (
                ("StorageLimit=much", "StorageLimit", "a number"), ("MessageLimit=#-1", "MessageLimit", "a number"),
                ("Password=x", "Password", "own command"), ("State=disabled", "State", "own command"),
                ("Created=x", "Created", "own command"), (".Epoch=x", ".Epoch", "reserved"),
                ("NoValue", "NoValue", "KEY=VALUE"), ("=x", "=x", "KEY=VALUE")):
            error = self.refused(FAILED, "settings", "set", name, assignment)
            self.assertIn(key, error["object"], error)
            self.assertIn(rule, error["message"], error)
        for text in ("{A=1;", "A=1", "{A=#x;}", "{A=(1,;}", "{A={B={C=1;};}"):
            self.refused(FAILED, "settings", "set", name, "--file", "-", stdin=text)
        self.refused(NOT_FOUND, "settings", "set", name, "--file", "/nonexistent/file")
        self.refused(NOT_FOUND, "settings", "get", name, "--key", "Nothing")
        self.refused(NOT_FOUND, "settings", "get", "none@company.com")
        self.refused(NOT_FOUND, "settings", "get", "none.example")
        self.refused(USAGE, "settings", "set", name, "A=1", "--expect-version", "x")
        self.assertEqual(self.ctl("settings", "get", name), before)

    def test_defaults_of_the_cluster_hold_below_those_of_domain_and_account(self):
        self.ctl("domain", "create", "tiers.example")
        self.ctl("account", "create", "anna@tiers.example", "--no-password")
        self.ctl("settings", "set", "cluster", "Tier=cluster", "Level=cluster", "Rank=cluster")
        self.ctl("settings", "set", "tiers.example", "AccountDefaults={Tier=domain;Level=domain;}")
        self.ctl("settings", "set", "anna@tiers.example", "Tier=account")
        effective = self.ctl("settings", "get", "anna@tiers.example", "--effective")["values"]
        self.assertEqual((effective["Tier"], effective["Level"], effective["Rank"]), ("account", "domain", "cluster"))
        own = self.ctl("settings", "get", "anna@tiers.example")["values"]
        self.assertNotIn("Rank", own)
        error = self.refused(FAILED, "settings", "set", "cluster", "MessageLimit=many")
        self.assertEqual(error["object"], "MessageLimit")
        self.assertEqual(self.ctl("settings", "get", "cluster", "--key", "Rank"), "cluster")

    def test_info_is_a_dictionary_of_its_own(self):
        name = "albert@company.com"
        self.ctl("info", "set", name, "LastLogin=#T23-10-2026_12:30:00", "Data=[aGVsbG8=]")
        got = self.ctl("info", "get", name)["values"]
        self.assertEqual(got["LastLogin"], {"$date": "2026-10-23T12:30:00Z"})
        self.assertNotIn("LastLogin", self.ctl("settings", "get", name)["values"])
        self.ctl("info", "set", name, "--unset", "Data")
        self.assertNotIn("Data", self.ctl("info", "get", name)["values"])
        with open(self.base("SharedDomains/company.com/albert.macnt/account.info"), encoding="utf-8") as file:
            self.assertIn("#T23-10-2026_12:30:00", file.read())

    def test_a_domain_and_the_cluster_have_settings_but_no_info(self):
        for target in ("company.com", "cluster"):
            for command in (("get", target), ("set", target, "A=1")):
                error = self.refused(FAILED, "info", *command)
                self.assertEqual((error["name"], error["object"]), ("invalid-argument", target))
                self.assertIn("only accounts have info", error["message"])
            self.ctl("settings", "get", target)

    def test_effective_settings_larger_than_an_answer_are_refused_by_the_limit(self):
        self.ctl("domain", "create", "huge.example")
        name, large = "anna@huge.example", "x" * 3_000_000
        self.ctl("account", "create", name, "--no-password")
        self.ctl("settings", "set", "huge.example", "--file", "-", stdin="{AccountDefaults={Theirs=%s;};}" % large)
        self.ctl("settings", "set", name, "--file", "-", stdin="{Own=%s;Small=here;}" % large)
        for more in ((), ("--key", "Small")):
            error = self.refused(FAILED, "settings", "get", name, "--effective", *more)
            self.assertEqual((error["name"], error["object"]), ("too-large", name))
            self.assertIn("effective settings have", error["message"])
            self.assertIn("4194304", error["message"])
        self.assertEqual(self.ctl("settings", "get", name, "--key", "Small"), "here")

    def test_what_the_disk_refuses_the_daemon_is_not_told_as_a_missing_role(self):
        directory = self.base("SharedDomains/company.com/albert.macnt")
        self.ctl("info", "set", "albert@company.com", "Before=1")
        both = [os.path.join(directory, "account.info"), directory]  # the file could be overwritten
        if subprocess.run(["chattr", "+i", *both], capture_output=True, check=False).returncode != 0:
            self.skipTest("this file system has no immutable directories")
        try:
            done = self.stack.ctl("--json", "info", "set", "albert@company.com", "After=1", check=False)
        finally:
            subprocess.run(["chattr", "-i", *both], check=True)
        self.assertEqual(done.returncode, FAILED, done.stdout + done.stderr)
        error = json.loads(done.stderr)["error"]
        self.assertEqual(error["name"], "permission-denied")
        self.assertIn("rename to SharedDomains/company.com/albert.macnt/account.info", error["message"])
        self.assertNotIn("role", error["advice"])
        self.assertIn("the operating system refused it", error["advice"])

    def test_text_that_is_no_utf_8_is_refused_before_it_is_sent(self):
        bad = os.fsdecode(b"a\xff@company.com")
        for command in (("account", "show", bad), ("account", "create", bad, "--no-password"),
                        ("domain", "show", bad), ("settings", "set", "jsmith@company.com", bad + "=1"),
                        ("mailbox", "create", "jsmith@company.com", bad), ("check", bad),
                        ("account", "list", "company.com", "--prefix", bad)):
            error = self.refused(USAGE, *command)
            self.assertEqual(error["name"], "invalid-argument")
            self.assertIn("no UTF-8", error["message"])
        path = os.path.join(self.stack.directory, os.fsdecode(b"latin-\xe4"))
        with open(path, "wb") as file:
            file.write(b"p\xe4ss\n")
        error = self.refused(FAILED, "account", "password", "jsmith@company.com", "--password-file", path)
        self.assertEqual((error["object"], "no UTF-8" in error["message"]), ("password", True))


if __name__ == "__main__":
    unittest.main()
