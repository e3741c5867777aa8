import sys

from scripts.watch.story import main

sys.exit(main())
