# SPDX-License-Identifier: Apache-2.0
"""The committed catalogue is what its script makes: at least 1,000 different titles."""

import os
import subprocess
import sys
import unittest
from pathlib import Path


class Catalogue(unittest.TestCase):
    def test_is_what_the_script_makes(self) -> None:
        path = Path(os.environ["CATALOGUE"])
        made = subprocess.run([sys.executable, str(path.with_name("make_catalogue.py"))],
                              capture_output=True, check=True).stdout
        self.assertEqual(made, path.read_bytes())
        titles = [line.rsplit(b",", 2)[0] for line in made.splitlines()[1:]]
        self.assertGreaterEqual(len(set(titles)), 1000)
        self.assertEqual(len(set(titles)), len(titles))


if __name__ == "__main__":
    unittest.main()
