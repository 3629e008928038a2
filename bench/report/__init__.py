# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks' programs and reports what they measured: table, JSON, CSV and plots."""

HEADING = "native, hosted platform, no nested paging"
