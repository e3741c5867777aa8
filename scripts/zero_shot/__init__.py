"""Measures the accuracy of zero-shot image classification of a model that the Flow serves: `make eval-zero-shot`."""
