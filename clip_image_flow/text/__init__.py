"""From a text to the tokens that the model sees of it."""
