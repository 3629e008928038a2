# SPDX-License-Identifier: Apache-2.0
"""The result: one JSON document, or the same for people."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from .model import Verdict
from .observe import Observation
from .plan import Mode, Plan
from .scenario import Scenario

SHOWN = 5  # deviations printed of each kind


@dataclass
class Report:
    """Everything the result is made of."""

    plan: Plan
    mode: Mode
    facts: dict[str, Any]  # accelerator, cpus, fault: what only the caller knows
    scenario: Scenario
    verdict: Verdict
    seen: Observation | None
    server_alive: bool
    seconds: float
    problems: list[str] = field(default_factory=list)

    def find_problems(self) -> None:
        """Whatever keeps the run from being what was promised, a sentence each."""
        if self.mode is Mode.UNPROTECTED:
            if self.server_alive:
                self.problems.append("the server survived without VMSRS: nothing was shown")
            return
        self.problems.extend(self.scenario.errors[:SHOWN])
        if not self.server_alive:
            self.problems.append("the server does not answer any more")
        if self.mode is Mode.EARLY_UNLOCK:
            if not self.verdict.wrong_reads:
                self.problems.append("unlocking early went well: no anomaly was shown")
        else:
            self._require_clean()
        if self.mode.crashes:
            self._require_failure_told()
        if self.mode is not Mode.NO_FAULT:
            self._require_exercised()

    def _require_clean(self) -> None:
        verdict = self.verdict
        for name, found in (("wrong reads", verdict.wrong_reads),
                            ("wrong purchases", verdict.wrong_purchases),
                            ("differences from the model at the end", verdict.wrong_dump)):
            if found:
                self.problems.append(f"{len(found)} {name}; the first: {found[0]}")
        if self.scenario.history.dump is None:
            self.problems.append("the shop at the end was not seen")

    @property
    def crashing(self) -> list[int]:
        """Who has to crash. Where everything about recovery that the process can reach is written
        over, what somebody was just then buying may become undecidable: it is taken back, and that
        buyer is told."""
        bystanders: set[int] = set()
        if self.facts.get("fault") == "scribble" and self.seen is not None:
            bystanders = set(self.seen.undecidable_users) & set(self.plan.buying)
        return sorted({*self.plan.crashing, *bystanders})

    def _require_failure_told(self) -> None:
        history = self.scenario.history
        if sorted(history.failed) != self.crashing:
            self.problems.append(f"told that they failed: {sorted(history.failed)}, should be "
                                 f"{self.crashing}")
        elif sorted(history.served_after_failure) != list(self.plan.crashing):
            self.problems.append("a failed user's thread did not go on serving its client")

    def _require_exercised(self) -> None:
        seen = self.seen
        if seen is None:
            self.problems.append("vmsrsd was not asked: nothing shows that the mechanism was used")
            return
        for name in ("faults", "suppressed_stores", "restores", "hidden_region_bytes"):
            if getattr(seen, name) <= 0:
                self.problems.append(f"{name} is {getattr(seen, name)}: the mechanism was not used")
        if seen.crashed_users != self.crashing:
            self.problems.append(f"vmsrsctl lists {seen.crashed_users} as crashed users, not "
                                 f"{self.crashing}")
        self.problems.extend(f"vmsrsctl check: {name} is {result}"
                             for name, result in seen.checks.items() if result != "ok")
        if not seen.checks:
            self.problems.append("vmsrsctl check named no invariant")

    @property
    def ok(self) -> bool:
        return not self.problems

    def document(self) -> dict[str, Any]:
        seen = self.seen or Observation()
        history = self.scenario.history
        return {
            "hypervisor": self.mode in (Mode.PROTECTED, Mode.EARLY_UNLOCK),
            **self.facts,
            "mode": self.mode.value,
            "seed": self.plan.seed,
            "users": self.plan.users,
            "crashed_users": sorted(history.failed) if self.seen is None else seen.crashed_users,
            "undecidable_users": seen.undecidable_users,
            "told_failed": sorted(history.failed),
            "faults": seen.faults,
            "suppressed_stores": seen.suppressed_stores,
            "restores": seen.restores,
            "orders": len(history.purchases),
            "reads": history.read_count(),
            "wrong_reads": len(self.verdict.wrong_reads),
            "wrong_purchases": len(self.verdict.wrong_purchases),
            "shop_equals_model": history.dump is not None and not self.verdict.wrong_dump,
            "server_alive": self.server_alive,
            "hidden_region_bytes": seen.hidden_region_bytes,
            "checks": seen.checks,
            "explanation": self.explanation(),
            "problems": self.problems,
            "seconds": round(self.seconds, 1),
            "ok": self.ok,
        }

    def explanation(self) -> str:
        history = self.scenario.history
        if self.mode is Mode.UNPROTECTED:
            return ("The same shop, the same fault, no hypervisor and no library: the fault of one user "
                    "ended the process, and with it every other user's connection.")
        if self.mode is Mode.EARLY_UNLOCK:
            return (
                f"Users 1 and 7 changed titles {_numbers(self.plan.unfinished)} and let go of the locks "
                "before their orders were finished. Others read the unfinished values, and user "
                f"{self.plan.buying[0]} bought on top of them; then 1 and 7 crashed at their next title. "
                "VMSRS took back what 1 and 7 had written, but it cannot take back what others had "
                "already seen, nor the numbers that a normal user had computed from it: "
                f"{len(self.verdict.wrong_reads)} of {history.read_count()} reads are wrong, and the "
                f"shop at the end differs from the model in {len(self.verdict.wrong_dump)} lines. A "
                "server that must not show unfinished data holds its locks to the end of the user's "
                "scope: without --early-unlock the same run has no wrong read.")
        return ""

    def text(self) -> str:
        seen = self.seen or Observation()
        history = self.scenario.history
        verdict = self.verdict
        rows = [
            ("users", f"{self.plan.users} (seed {self.plan.seed}); told that they failed: "
                      f"{_numbers(sorted(history.failed))}"),
            ("server", "alive" if self.server_alive else "dead"),
            ("reads", f"{history.read_count()}, wrong: {len(verdict.wrong_reads)}"),
            ("orders", f"{len(history.purchases)}, wrong: {len(verdict.wrong_purchases)}"),
        ]
        if history.dump is not None:
            rows.append(("at the end", "the shop equals the model byte for byte" if not
                         verdict.wrong_dump else f"{len(verdict.wrong_dump)} lines differ from the model"))
        if self.seen is not None:
            rows += [
                ("hypervisor", f"{seen.faults} faults, {seen.suppressed_stores} suppressed stores, "
                               f"{seen.restores} restores, {seen.hidden_region_bytes >> 20} MiB hidden"),
                ("crashed users", _numbers(seen.crashed_users)),
                *([("undecidable", f"{_numbers(seen.undecidable_users)}: bought while a crashing user "
                                   "wrote over the recovery data; taken back, and told")]
                  if seen.undecidable_users else []),
                ("check", ", ".join(f"{name} {result}" for name, result in seen.checks.items())),
            ]
        rows.append(("time", f"{self.seconds:.1f} s"))
        lines = [f"  {name:<14} {value}" for name, value in rows]
        if self.explanation():
            lines += ["", textwrap.fill(self.explanation(), 96, initial_indent="  ",
                                        subsequent_indent="  ")]
        lines += [f"  NOT OK: {problem}" for problem in self.problems]
        lines.append("  OK" if self.ok else "  FAILED")
        return "\n".join(lines)


def _numbers(numbers: list[int] | tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers) or "none"
