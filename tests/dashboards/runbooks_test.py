# SPDX-License-Identifier: Apache-2.0
"""Each alert has its runbook, each runbook its alert, and the commands in it are commands.

usage: runbooks_test.py VMSRSCTL
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import unittest

from expressions import TOP, of_rules

RUNBOOKS = TOP / "docs" / "runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Action"]
CTL = ""
def alerts() -> dict[str, str]:
    """Each alert with the address of its runbook."""
    text = (TOP / "dashboards/rules/vmsrs.rules.yaml").read_text(encoding="utf-8")
    names = [rule.name for rule in of_rules() if rule.kind == "alert"]
    return dict(zip(names, re.findall(r"^\s+runbook_url: (\S+)$", text, flags=re.MULTILINE), strict=True))


def commands(text: str) -> set[str]:
    """What a text has of `vmsrsctl ...`, in blocks and within lines."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line.split("  #")[0] for line in blocks.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return {line.strip() for line in lines + inline if re.match(r"vmsrsctl\b", line.strip())}


@functools.cache
def helped(*words: str) -> str:
    done = subprocess.run([CTL, *words, "--help"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else ""


def objections(command: str) -> list[str]:
    """What of a command is none of vmsrsctl's own. Of words that it does not know --help alone says nothing."""
    words = command.split()[1:]
    everywhere = helped()
    text, left, verbs = everywhere, [], []
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            shown = re.search(rf"(?<![\w-]){word}\b(?: ([A-Z]\S*))?", text) or re.search(
                rf"(?<![\w-]){word}\b(?: ([A-Z]\S*))?", everywhere)
            if shown is None:
                return [f"{word} is no option there"]
            value = words.pop(0) if shown.group(1) else ""
            if word == "--type" and (unknown := set(value.split(",")) - event_types()):
                return [f"no events are of type {', '.join(unknown)}"]
        elif re.search(rf"^  {word}  ", text.split("Subcommands:")[-1], flags=re.MULTILINE) and "Subcommands:" in text:
            verbs.append(word)
            text = helped(*verbs)
        else:
            left.append(word)
    if not text:
        return ["--help fails"]
    return [f"{word} is no verb there" for word in left if "Positionals:" not in text]


def event_types() -> set[str]:
    metrics = (TOP / "tests/ops/golden/metrics.txt").read_text(encoding="utf-8")
    return set(re.findall(r'^vmsrs_events_total{type="(\w+)"}', metrics, flags=re.MULTILINE))


class Runbooks(unittest.TestCase):
    def test_each_alert_has_a_runbook_and_each_runbook_an_alert(self) -> None:
        for name, address in alerts().items():
            self.assertEqual(address, f"docs/runbooks/{name}.md")
            self.assertTrue((TOP / address).is_file(), address)
        self.assertEqual({file.stem for file in RUNBOOKS.glob("Vmsrs*.md")}, set(alerts()))
        index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, flags=re.MULTILINE), list(alerts()))

    def test_runbooks_have_their_sections(self) -> None:
        for name in alerts():
            text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
            self.assertTrue(text.startswith(f"# {name}\n"), name)
            found = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
            self.assertEqual([section for section, _ in found], SECTIONS, name)
            for section, body in found:
                self.assertTrue(body.strip(), f"{name}: {section} is empty")
            self.assertTrue(commands(dict(found)["Diagnosis"]), f"{name}: nothing to look at")

    def test_commands_are_commands(self) -> None:
        texts = [file.read_text(encoding="utf-8") for file in sorted(RUNBOOKS.glob("*.md"))]
        texts += [(TOP / "dashboards/rules/vmsrs.rules.yaml").read_text(encoding="utf-8")]
        found = set().union(*(commands(text) for text in texts))
        self.assertGreater(len(found), 20)
        for command in sorted(found):
            with self.subTest(command=command):
                self.assertEqual(objections(command), [])

    def test_what_is_no_command_is_found(self) -> None:
        self.assertEqual(commands("a `vmsrsctl gc` b\n```\nvmsrsctl user list  # x\n```\n"),
                         {"vmsrsctl gc", "vmsrsctl user list"})
        for wrong in ("vmsrsctl user list", "vmsrsctl users lists", "vmsrsctl gc --servr NAME",
                      "vmsrsctl events list --typ crash", "vmsrsctl events list --type crashes"):
            self.assertNotEqual(objections(wrong), [], wrong)


if __name__ == "__main__":
    CTL = sys.argv.pop()
    unittest.main()
