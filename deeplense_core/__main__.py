"""``python -m deeplense_core ...``"""

import sys

from deeplense_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
