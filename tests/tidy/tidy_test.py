"""What every file of this tree keeps to, where a program can check it. Layers: tests/tree/layering_test.cpp;
formatting: tools/dev fmt --check; functions and names: .clang-tidy."""
import os
import re
import unittest
from pathlib import Path

ROOT = Path(os.environ.get("CANOPY_SOURCE_DIR") or Path(__file__).resolve().parents[2])
PARTS = ("daemon", "fuse", "proto-frontends", "tools", "tests")
COLUMNS_MAX = {".cpp": 110, ".h": 110, ".py": 150, ".proto": 125}
LINES_MAX = {".cpp": 600, ".h": 600, ".py": 600, ".proto": 900}  # the protocol is one file: a client takes one


def files(*suffixes, parts=PARTS):
    for part in parts:
        for path in sorted((ROOT / part).rglob("*")):
            if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts:
                yield path


def name_of(path):
    return str(path.relative_to(ROOT))


class Tidy(unittest.TestCase):
    def none(self, found, rule):
        """Fails with every finding, not only the first."""
        self.assertEqual([], found, rule)

    def test_there_are_sources(self):
        self.assertGreater(len(list(files(".cpp", ".h"))), 100)  # or the tests below see nothing

    def test_lines_and_files_are_short(self):
        found = []
        for path in files(*COLUMNS_MAX):
            lines = path.read_text(encoding="utf-8").split("\n")
            found += [f"{name_of(path)}:{number} has {len(line)} columns"
                      for number, line in enumerate(lines, 1) if len(line) > COLUMNS_MAX[path.suffix]]
            if len(lines) > LINES_MAX[path.suffix]:
                found.append(f"{name_of(path)} has {len(lines)} lines")
        self.none(found, f"columns of a line are at most {COLUMNS_MAX}, lines of a file {LINES_MAX}")

    def test_whitespace(self):
        found = []
        for path in files(".cpp", ".h", ".py", ".proto", ".txt", ".cmake"):
            text = path.read_text(encoding="utf-8")
            if text and not text.endswith("\n"):
                found.append(f"{name_of(path)} does not end with a newline")
            found += [f"{name_of(path)}:{number} has a tab or ends with a blank"
                      for number, line in enumerate(text.split("\n"), 1) if "\t" in line or line.endswith(" ")]
        self.none(found, "no tabs, no blanks at the end of lines, a newline at the end of files")

    def test_headers_say_what_they_are_for(self):
        found = [name_of(path) for path in files(".h", parts=PARTS[:-1])
                 if not re.match(r"// [^\n]+\n(//[^\n]*\n)*#pragma once\n", path.read_text(encoding="utf-8"))]
        self.none(found, "a header begins with a comment on what it is for, then #pragma once")

    def test_file_names(self):
        found = [name_of(path) for path in files(".cpp", ".h", ".py") if not re.fullmatch(r"[a-z0-9_]+", path.stem)]
        self.none(found, "names of source files are snake_case")

    def test_nothing_is_put_off(self):
        mark = re.compile(r"\b(TODO|FIXME|HACK)\b")
        found = [f"{name_of(path)}:{number}" for path in files(".cpp", ".h", ".py", ".proto") if path != Path(__file__)
                 for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1) if mark.search(line)]
        self.none(found, "what is missing is done or said in docs/status.md, not left as a note in the code")

    def test_no_header_opens_a_namespace_for_its_includers(self):
        found = [name_of(path) for path in files(".h")
                 if re.search(r"^using namespace ", path.read_text(encoding="utf-8"), re.MULTILINE)]
        self.none(found, "no `using namespace` in headers")

    def test_every_source_is_built_and_every_test_is_run(self):
        found = []
        for path in files(".cpp", parts=PARTS):
            lists = []
            for folder in (path.parent, path.parent.parent):
                lists += [*folder.glob("CMakeLists.txt"), *folder.glob("*.cmake")]
            if not any(path.name in each.read_text(encoding="utf-8") for each in lists):
                found.append(f"{name_of(path)} is in no CMakeLists.txt")
        for path in files(".py", parts=("tests",)):
            if path.stem.endswith("_test"):
                lists = path.parent / "CMakeLists.txt"
                if not lists.is_file() or path.stem not in lists.read_text(encoding="utf-8"):
                    found.append(f"{name_of(path)} is run by nobody")
        self.none(found, "no source that nothing builds")

    def test_every_fuzzer_has_inputs_and_words(self):
        found = []
        for path in sorted((ROOT / "tests/fuzz").glob("*_fuzz.cpp")):
            if not any((ROOT / "tests/fuzz/corpus" / path.stem).glob("*")):
                found.append(f"{path.stem} has no kept inputs in tests/fuzz/corpus")
            if not path.with_suffix(".dict").is_file():
                found.append(f"{path.stem} has no tests/fuzz/{path.stem}.dict")
        self.none(found, "fuzzers begin from kept inputs and know the words of the format")

    def test_links_in_the_documents_lead_somewhere(self):
        found = []
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
            for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
                if "://" not in link and not link.startswith("mailto:") and not (path.parent / link).exists():
                    found.append(f"{name_of(path)}: {link}")
        self.none(found, "links between files of this tree")


if __name__ == "__main__":
    unittest.main()
