# SPDX-License-Identifier: Apache-2.0
"""The figures that are measured, who measures them, and what they should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    key: str
    program: str
    bound: float
    at_least: bool = False  # otherwise at most
    unit: str = ""

    def text(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


AIMS = (
    Aim("load_normal_extra_ns", "bench_operations", 0.3, unit="ns"),
    Aim("store_owned_extra_ns", "bench_operations", 1.2, unit="ns"),
    Aim("claim_extra_ns", "bench_operations", 8, unit="ns"),
    Aim("commit_granule_ns", "bench_operations", 20, unit="ns"),
    Aim("hosted_trap_ns", "bench_operations", 200, unit="ns"),
    Aim("load_suppression_extra_ns", "bench_operations", 3, unit="ns"),
    Aim("restore_ns", "bench_operations", 500, unit="ns"),
    Aim("fault_ratio", "bench_operations", 1.2),
    Aim("sweep_memcmp_ratio", "bench_operations", 0.85, at_least=True),
    Aim("shop_read90_ratio", "bench_shop", 0.99, at_least=True),
    Aim("shop_read50_ratio", "bench_shop", 0.97, at_least=True),
    Aim("shop_crashing_ratio", "bench_shop", 0.95, at_least=True),
    Aim("memory_ratio", "bench_operations", 1.3),
    Aim("scrape_ms", "bench_scrape", 5, unit="ms"),
    Aim("scraped_ratio", "bench_scrape", 0.99, at_least=True),
)
KEYS = {aim.key: aim for aim in AIMS}

# Benchmarks with many figures each, and no aim.
COMPARISONS = ("checkpoint", "curves")
NATIVE = (*KEYS, *COMPARISONS, "figure14")
# What is measured when it is named: it needs QEMU and a kernel.
NAMES = (*NATIVE, "figure14_icount", "transparency")
