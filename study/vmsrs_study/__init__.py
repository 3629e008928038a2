# SPDX-License-Identifier: Apache-2.0
"""vmsrs-study: what a server's users share, how corrupted values spread, and what is worth monitoring."""
