"""How often a model finds the class of a picture by its name, as the Flow serves it: `make eval-zero-shot`."""
