"""Prints the names that an import finds outside the directory given, one a line. For Python 2.7 and later."""

import os
import sys

if __name__ == "__main__":
    tree = os.path.realpath(sys.argv[1]) + os.sep
    names = set(sys.builtin_module_names)
    for entry in sys.path[1:]:  # the first is this program's own directory
        directory = os.path.realpath(entry) + os.sep
        is_installed = not directory.startswith(tree) or "-packages" + os.sep in directory
        for name in os.listdir(directory) if is_installed and os.path.isdir(directory) else ():
            stem, _, ending = name.partition(".")
            if not ending or ending.split(".")[-1] in ("py", "pyc", "so"):
                names.add(stem)
    print("\n".join(sorted(names)))
