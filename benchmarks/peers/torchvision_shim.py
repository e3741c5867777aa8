"""Declares torchvision's operators just before torchvision is first imported; loaded by a .pth file.

A torchvision that was built for another torch cannot load its C++ library and fails with `operator torchvision::nms
does not exist`; its transforms need only the declarations.
"""

import importlib.abc
import sys
from typing import Any

_libraries: list[Any] = []  # a Library's declarations are removed when it is deleted


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, *_: Any) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")
            _libraries.append(library)


sys.meta_path.insert(0, _Finder())
