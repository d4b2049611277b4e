"""Write a recognizer as an ONNX file for programs that do not have Kinema.

    python examples/export_model.py RECOGNIZER OUT.onnx

Needs `pip install 'kinema[export]'`. `run_exported.py` is such a program.
"""

from __future__ import annotations

import argparse

from kinema import Recognizer
from kinema.export import export

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizer")
    parser.add_argument("out")
    args = parser.parse_args()

    exported = export(Recognizer.load(args.recognizer), "onnx", args.out, preprocessing=True)
    print(f"largest difference from the network: {exported.difference:.1e}")
    print("input:", exported.description.input)
