# SPDX-License-Identifier: Apache-2.0
"""What check.py runs: configurations of the model, and the steps that are left out on purpose.

A configuration is a name, the level from which on it is run ("quick" or "full"), and its -D switches
(explained in words.pml; what is not named there is left at one granule of one word, no faults).
"""

CONFIGURATIONS = {
    # -- two users
    "two-writers": ("quick", "ST0=2 CR0=1 ST1=1 LD1=1 CR1=1"),
    "two-words": ("quick", "NB=2 ST0=2 CR0=1 ST1=1 LD1=0"),
    "two-granules": ("full", "NG=2 ST0=2 CR0=1 ST1=1 LD1=1"),
    "two-words-read": ("full", "NB=2 ST0=2 CR0=1 ST1=1 LD1=1"),
    "reader": ("quick", "ST0=2 CR0=1 LD1=2"),
    "declared-crash": ("quick", "ASYNC=1 AMASK=1 ST0=2 LD1=1"),
    "declared-crash-writer": ("quick", "ASYNC=1 AMASK=1 ST0=2 ST1=1 LD1=1"),
    "declared-again": ("full", "ASYNC=1 AMASK=1 SC0=2 ST0=1 CR0=1 LD1=1"),
    "declared-twice": ("full", "ASYNC=2 AMASK=1 ST0=1 SC0=2 ST1=1 LD1=0"),
    "declared-both": ("full", "ASYNC=2 ST0=1 ST1=1 LD1=0"),
    "fault-anywhere": ("quick", "MIDFAULT=1 CURSOR=0 ST0=1 CR0=1 ST1=1 LD1=0"),
    "fault-anywhere-read": ("full", "MIDFAULT=1 CURSOR=0 ST0=2 CR0=1 ST1=1 LD1=1"),
    "generations": ("quick", "AGE=1 GENS=2 SC0=3 ST0=1 ST1=1 LD1=0"),
    "generations-granules": ("quick", "AGE=1 GENS=2 SC0=3 NG=2 ST0=1 LD1=1"),
    "generations-crash": ("full", "AGE=1 GENS=2 SC0=3 ST0=1 CR0=1 ST1=1 LD1=1"),
    "sweep": ("quick", "SWEEPS=1 WILDS=1 ST0=1 CR0=1 ST1=1 LD1=0"),
    "sweep-words": ("full", "SWEEPS=1 WILDS=1 NB=2 ST0=2 CR0=1 ST1=1 LD1=0"),
    "death": ("quick", "DEATHS=1 NG=2 ST0=2 LD1=1"),
    "death-writers": ("quick", "DEATHS=1 NG=2 ST0=1 ST1=1 LD1=0"),
    "death-both": ("full", "DEATHS=2 NG=2 ST0=2 ST1=1 LD1=0"),
    "damage": ("quick", "DAMAGES=1 ST0=1 ST1=1 LD1=0 CR1=1"),
    "damage-read": ("full", "DAMAGES=1 ST0=1 SC0=2 CR0=1 ST1=1 LD1=1"),
    "damage-words": ("full", "DAMAGES=1 NB=2 ST0=1 SC1=2 ST1=1 LD1=0"),
    "damage-twice": ("full", "DAMAGES=2 ST0=1 CR0=1 ST1=1 LD1=0"),
    "damage-death": ("full", "DAMAGES=1 DEATHS=1 ST0=1 ST1=1 LD1=0"),
    # -- committed loads
    "committed": ("quick", "CREADS=1 ST0=2 ST1=1 LD1=0"),
    "committed-crash": ("quick", "CREADS=1 ST0=1 CR0=1 ST1=1 LD1=0"),
    # -- store buffers
    "tso-contention": ("quick", "TSO=1 ST0=2 ST1=1 LD1=0"),
    "tso-declared-crash": ("quick", "TSO=1 ASYNC=1 AMASK=1 ST0=2 LD1=1"),
    "tso-generations": ("quick", "TSO=1 AGE=1 GENS=2 SC0=3 ST0=1 ST1=1 LD1=0"),
    "tso-damage": ("full", "TSO=1 DAMAGES=1 ST0=1 ST1=1 LD1=0"),
    "tso-crash": ("full", "TSO=1 ST0=2 CR0=1 ST1=2 CR1=1 LD1=0"),
    # -- windows that close late (instrumented code)
    "late-window": ("quick", "LATEWIN=1 ST0=2 CR0=1 ST1=1 LD1=0"),
    "late-window-declared": ("quick", "LATEWIN=1 ASYNC=1 AMASK=1 ST0=2 LD1=1"),
    # -- no access loops for ever
    "progress": ("full", "LIVE=1 SC0=2 ST0=1 LD0=1 ST1=1 LD1=0 ASYNC=1 AMASK=2"),
    "progress-crash": ("quick", "LIVE=1 ST0=1 CR0=1 ST1=1 LD1=1"),
    # -- three users
    "three-writers": ("full", "NU=3 ST0=1 ST1=1 LD1=0 ST2=1"),
    "three-reader": ("full", "NU=3 ST0=1 CR0=1 ST1=1 LD1=0 LD2=1"),
    "three-two-crash": ("quick", "NU=3 ST0=0 CR0=1 ST1=1 LD1=0 CR1=1 LD2=1"),
    "three-again": ("full", "NU=3 SC0=2 ST0=1 ST1=1 LD1=0 ST2=1"),
    "three-declared": ("full", "NU=3 ASYNC=1 AMASK=1 ST0=1 ST1=1 LD1=0 LD2=1"),
}

# Number: (name, configuration that must give a counter-example). 1 to 15 are the holes of the design's
# history; from 16 on, other steps that the model shows to be needed.
HOLES = {
    1: ("no drain before contention", "two-writers"),
    2: ("load compares the mode's bit, not its epoch", "two-writers"),
    3: ("user counts as crashed before the mode says so", "three-two-crash"),
    4: ("declared crash counts as drained at once", "declared-crash"),
    5: ("commit leaves older records", "two-writers"),
    6: ("write set after the store", "fault-anywhere"),
    7: ("no byte masks", "sweep-words"),
    8: ("sweep without LOCKED", "sweep"),
    9: ("old tags not cleared before a generation comes round", "generations-granules"),
    10: ("drain of an earlier freeze accepted", "three-again"),
    11: ("mask is not taken with the claim", "sweep-words"),
    12: ("repair trusts unconfirmed claims", "damage"),
    13: ("crashed thread takes the new mode for seen", "two-writers"),
    15: ("no staging, no single store", "death"),
    16: ("freeze by a plain store", "three-writers"),
    17: ("no membarrier before a contention's drain", "tso-contention"),
    18: ("no membarrier before a declared crash's drain", "tso-declared-crash"),
    19: ("repair without a drain of all", "damage"),
    20: ("stage survives contention", "two-writers"),
    21: ("no grace period before a generation comes round", "generations"),
    22: ("late drain report counts for the slot's next user", "declared-twice"),
    23: ("T_LOAD does not look at the mode again", "declared-again"),
    24: ("load in suppression does not look at the tag again", "declared-crash-writer"),
    25: ("load in suppression does not look at the mode again", "declared-crash-writer"),
    26: ("collection leaves the tag to the generation's end", "reader"),
    27: ("mode does not move when a crashed user is drained", "declared-crash-writer"),
    28: ("T_STORE with the window open", "two-writers"),
    29: ("load looks at the mode first", "declared-crash"),
    30: ("T_STORE restores before the owner is drained", "declared-crash-writer"),
    31: ("T_LOAD restores before the owner is drained", "declared-crash-writer"),
    32: ("store does not look at the mode", "two-writers"),
    33: ("collection leaves contended data", "two-writers"),
    34: ("T_LOAD takes a frozen tag of an ended generation for unowned", "progress"),
    35: ("contention leaves the confirmed mark", "damage-words"),
    39: ("granules that become nobody's are not counted", "committed-crash"),
    40: ("committed load does not look at the tag again", "committed"),
    41: ("committed load does not look at the count again", "committed-crash"),
    42: ("committed load reads the data before the tag", "committed"),
}
