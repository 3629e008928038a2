# SPDX-License-Identifier: Apache-2.0
"""The judge of the book shop scenario.

Many clients outside the guest use the shop over real sockets and write down everything they were
told. Then what they were told is compared with a model in which nobody ever failed.
"""
