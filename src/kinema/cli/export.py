"""`kinema export RECOGNIZER --to FORMAT --out FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json, add_recognizer
from kinema.cli.output import print_facts, print_json
from kinema.text import printable

if TYPE_CHECKING:
    from kinema.backends.description import Port, StatePort
    from kinema.export.files import Exported


def add_arguments(parser: ArgumentParser) -> None:
    """Adds RECOGNIZER, the format and the form of the input."""
    add_recognizer(parser)
    parser.add_argument("--to", type=str, required=True, help="onnx, openvino or torch (a torch.export program)")
    parser.add_argument("--out", type=str, required=True, help="ends in .onnx, .xml (weights in .bin) or .pt2; the "
                        "description goes to FILE.json")  # fmt: skip
    parser.add_argument("--preprocessing", action="store_true", help="export with the normalisation: the input is "
                        "cropped, resized pixels, uint8 N T H W 3; default: normalised float32, N 3 T H W")  # fmt: skip
    parser.add_argument("--streaming", action="store_true", help="export one step of a stream, with the state as "
                        "inputs and outputs")  # fmt: skip
    parser.add_argument("--state-rank", type=int, default=5, help="number of dimensions of each state tensor: 5 or 4")
    parser.add_argument("--fixed-length", action="store_true", help="fix the number of frames to the recognizer's, "
                        "even if the network accepts others")  # fmt: skip
    add_json(parser)


def run(args: Namespace) -> None:
    """Writes and checks the file, and prints its inputs and outputs."""
    from kinema.export.files import export
    from kinema.recognizer import Recognizer

    recognizer = Recognizer.load(args.recognizer)
    found = export(
        recognizer, args.to, args.out, preprocessing=args.preprocessing, streaming=args.streaming,
        state_rank=args.state_rank, fixed_length=args.fixed_length,
    )  # fmt: skip
    if args.json:
        print_json(found.to_dict())
    else:
        print_facts(_facts(found))


def _facts(found: Exported) -> dict[str, str]:
    about = found.description
    low, high = about.frames
    frames = f"{low} only" if low == high else f"{low} to {high}" if high else f"{low} or more"
    sizes = ", ".join(f"{a.batch} x {a.frames}" for a in found.checked)
    facts = {
        "files": printable(", ".join(map(str, (*found.files, f"{found.files[-1]}.json")))),
        "network": f"{about.architecture['name']}, {len(about.labels)} classes",
        "input": _port(about.input),
        "frames": frames,
        "output": _port(about.output),
    }
    if about.initial_state:
        facts["state"] = "; ".join(f"{_port(port)} -> {port.output}" for port in about.initial_state)
    facts["agreement"] = f"{found.difference:.1e} at most (clips x frames: {sizes})"
    return facts


def _port(port: Port | StatePort) -> str:
    from kinema.backends.description import StatePort

    name = port.input if isinstance(port, StatePort) else port.name
    return f"{name}, {port.dtype} {' '.join('any' if size is None else str(size) for size in port.shape)}"
