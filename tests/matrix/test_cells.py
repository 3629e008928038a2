# SPDX-License-Identifier: Apache-2.0
"""The verdicts on cells: each thing that may be wrong in one must be seen."""

from __future__ import annotations

import unittest

import cells
import document

RIGHT = {"answered": 1, "outcome": cells.SUPPRESSED, "went_on": 1, "fault": 1, "crashes": 1, "provoked": 0, "during": 9,
         "others": 1, "wrong": 0, "told": 0, "ended": 0, "signal": 0, "ms": 5}
CONTROL = {"possible": 1, "endless": 0, "signal": 11}


def kind(name: str = "wild_write", signal: int = 11, fault: int = 1, traits: int = 0) -> cells.Kind:
    return cells.Kind(name, signal, fault, traits, "a store", "")


def line(word: str, pairs: dict[str, int], head: str) -> str:
    return f"{word} {head} " + " ".join(f"{name}={value}" for name, value in pairs.items())


def lines_of(control: dict[str, int], cell: dict[str, int] | None) -> cells.Lines:
    lines = cells.Lines()
    lines.add([line("control", control, "kind=wild_write")])
    if cell is not None:
        lines.add([line("cell", cell, "style=pool kind=wild_write"), "something that the server said"])
    return lines


class Cells(unittest.TestCase):
    def problems(self, changed: dict[str, int], of: cells.Kind | None = None, style: str = "pool") -> list[str]:
        return cells.cell_problems(of or kind(), "hosted", style, {**RIGHT, **changed})

    def test_right(self) -> None:
        self.assertEqual(self.problems({}), [])
        self.assertEqual(self.problems({"during": 0}, style="loop"), [])
        self.assertEqual(self.problems({"outcome": cells.FINISHED, "fault": 0, "crashes": 0},
                                       kind(fault=0, traits=cells.NO_FAULT)), [])

    def test_each_error_is_seen(self) -> None:
        for changed in ({"wrong": 1}, {"ended": 1}, {"others": 0}, {"answered": 0}, {"outcome": cells.FINISHED},
                        {"told": 1}, {"fault": 2}, {"crashes": 0}, {"crashes": 2}, {"during": 0}):
            self.assertNotEqual(self.problems(changed), [], changed)

    def test_data_must_be_exact_whatever_else_is(self) -> None:
        self.assertNotEqual(self.problems({"wrong": 1}, kind(traits=cells.NOT_CONTAINED)), [])

    def test_bounds(self) -> None:
        endless = kind("endless_faults")
        right = {"outcome": cells.UNWOUND, "went_on": 0, "provoked": cells.FAULT_LIMIT["hosted"]}
        self.assertEqual(self.problems(right, endless), [])
        self.assertNotEqual(self.problems({**right, "provoked": 3}, endless), [])
        self.assertNotEqual(self.problems({**right, "went_on": 1}, endless), [])

    def test_verdicts(self) -> None:
        for changed, said in (({}, cells.RUNS_ON), ({"went_on": 0}, cells.TO_ITS_END),
                              ({"ended": 1}, "**server ends**"), ({"others": 0}, "**server hangs**"),
                              ({"answered": 0}, "**thread hangs**"), ({"wrong": 2}, "**wrong data**")):
            self.assertEqual(cells.verdict({**RIGHT, **changed}), said)

    def test_what_was_not_provoked_is_no_evidence(self) -> None:
        for control in ({**CONTROL, "signal": 0}, {**CONTROL, "endless": 1}):
            lines = lines_of(control, RIGHT)
            self.assertNotEqual(cells.style_problems([kind()], lines, "hosted", "pool"), [], control)
        lines = lines_of({**CONTROL, "signal": 0}, RIGHT)
        self.assertEqual(cells.text_of(kind(), "svm", "pool", lines), cells.NOT_PROVOKED)

    def test_document(self) -> None:
        kinds = [kind(), kind("abort", 6, 7)]
        lines = lines_of(CONTROL, RIGHT)
        text = f"words\n{cells.BEGIN}{cells.table(kinds, {'hosted': lines, 'svm': lines})}{cells.END}words\n"

        def seen(changed: str) -> bool:
            return document.differences(changed, kinds, lines, "hosted", "pool") != []

        self.assertFalse(seen(text))
        right = next(line for line in text.splitlines() if "`wild_write`" in line)
        for wrong in (right.replace(cells.RUNS_ON, cells.TO_ITS_END), right.replace("a store", "a load"),
                      right.replace("SIGSEGV", "SIGBUS"), right.replace("| wild", "| null")):
            self.assertTrue(seen(text.replace(right, wrong)), wrong)
        self.assertTrue(seen(text.replace(right + "\n", "")))
        self.assertTrue(seen(text.replace(cells.BEGIN, "")))

    def test_what_was_not_played_is_seen(self) -> None:
        self.assertNotEqual(cells.style_problems([kind()], lines_of(CONTROL, None), "hosted", "pool"), [])
        self.assertEqual(cells.style_problems([kind()], lines_of(CONTROL, RIGHT), "hosted", "pool"), [])


if __name__ == "__main__":
    unittest.main()
