import sys

from scripts.demo.story import main

sys.exit(main())
