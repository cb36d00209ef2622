"""python -m tests.corpus: precision and recall on the corpus and on random keys, as tables."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from corpus.measure import main

main()
