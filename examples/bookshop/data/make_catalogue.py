#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the shop's catalogue of invented titles: the same bytes at every run.

Usage: make_catalogue.py > catalogue.csv
"""

import random
import sys

TITLE_COUNT = 1200
SEED = 20  # any fixed number: the file is committed

ADJECTIVES = """Amber Borrowed Broken Careful Cold Crooked Distant Early Empty Feathered Gentle
Half-Forgotten Hidden Hollow Honest Iron Last Late Little Lost Narrow Northern Patient Quiet Restless
Salted Second Silver Sleeping Slow Stubborn Sunken Tidal Uncertain Unwritten Winter""".split()
NOUNS = """Almanac Archive Bakery Beacon Bridge Cartographer Clock Compass Cottage Ferryman Garden
Gardener Granary Harbour Inkwell Island Keeper Lantern Ledger Library Lighthouse Loom Meadow Miller
Orchard Postmaster Quarry Railway River Schoolhouse Signal Teacup Telescope Tram Valley Watchmaker""".split()
PLACES = """Aldermoor Brackwater Calder Duskfield Eastwold Fernhollow Greyhaven Hartlow Inverbeck
Juniper Kestrel Larkmere Millbrae Norwick Oakhythe Pellworm Quillon Ravensby Saltmarsh Thornby
Underhill Varley Westerby Yarrow""".split()


def main() -> None:
    source = random.Random(SEED)
    titles: list[str] = []
    seen: set[str] = set()
    while len(titles) < TITLE_COUNT:
        title = f"The {source.choice(ADJECTIVES)} {source.choice(NOUNS)} of {source.choice(PLACES)}"
        if title not in seen:
            seen.add(title)
            titles.append(title)
    sys.stdout.write("title,price_cents,stock\n")
    for title in titles:
        sys.stdout.write(f"{title},{source.randrange(450, 6000, 5)},{source.randint(60, 400)}\n")


if __name__ == "__main__":
    main()
