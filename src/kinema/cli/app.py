"""`kinema app RECOGNIZER...`."""

from __future__ import annotations

import time

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, device
from kinema.errors import KinemaError
from kinema.media.limits import UploadLimits

DEMO = (
    "The two networks of kinema demo have learned the actions of generated figures, and know nothing else: try the "
    "examples. On videos of people their answers mean nothing."
)
_LOCAL = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the RECOGNIZERs, the address, the accounts and the limits of uploads."""
    parser.add_argument("recognizers", nargs="*", type=str, default=[], help="run folders, recognizer folders or "
                        "hf-hub:org/name")  # fmt: skip
    parser.add_argument("--data", type=list[str], default=[], help="data sets that the tab Data may show, separated by "
                        "commas")  # fmt: skip
    parser.add_argument("--label", type=list[str], default=[], help="folders of videos that the tab Label may show and "
                        "write segments into, separated by commas")  # fmt: skip
    parser.add_argument("--demo", type=str | None, default=None, help="folder of kinema demo: its two recognizers and "
                        "its clips; created first if missing, which takes minutes")  # fmt: skip
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0 allows access "
                        "from other machines")  # fmt: skip
    parser.add_argument("--port", type=int, default=7860, help="port to listen on; 0: any free port")
    parser.add_argument("--auth", type=list[str], default=[], help="NAME:PASSWORD of each account that may log in, "
                        "separated by commas; default: anyone, without a password")  # fmt: skip
    parser.add_argument("--limit-megabytes", type=float, default=500.0, help="largest upload, in megabytes")
    parser.add_argument("--limit-seconds", type=float, default=600.0, help="longest video, in seconds")
    parser.add_argument(
        "--limit-megapixels", type=float, default=9.0, help="largest frame size of a video, in megapixels"
    )
    parser.add_argument("--limit-queue", type=int, default=64, help="jobs that may wait at the same time")
    add_device(parser)


def run(args: Namespace) -> int:
    """Serves the page until it is interrupted."""
    began = time.perf_counter()
    if not args.recognizers and args.demo is None:
        raise KinemaError(
            "RECOGNIZER is missing: give a run folder, or --demo demo, which first trains two small networks on "
            "generated clips (about five minutes on two cores)"
        )
    limits = UploadLimits(args.limit_megabytes, args.limit_seconds, args.limit_megapixels, args.limit_queue)
    auth = [_account(text, number) for number, text in enumerate(args.auth, 1)]
    from kinema.app.packages import require_packages

    require_packages()
    from kinema.annotation.desk import require_folder
    from kinema.app.names import short_names
    from kinema.app.server import bind, make_site, serve
    from kinema.data.manifest import read_manifest
    from kinema.data.video_search import find_videos
    from kinema.recognizer import Recognizer

    about = ""
    if args.demo is not None:
        from kinema.demo.run import DemoConfig, demo_recognizers

        runs, puppets = demo_recognizers(DemoConfig(out=args.demo))
        args.recognizers += [str(run) for run in runs]
        args.data.append(str(puppets))
        about = DEMO
    for data in args.data:
        read_manifest(data)
    for folder in args.label:
        find_videos([require_folder(folder)])
    listening = bind(args.host, args.port)
    try:
        where = device(args.device)
        names = short_names(list(dict.fromkeys(args.recognizers)))
        recognizers = {name: Recognizer.load(path, where) for name, path in names.items()}
        folders = short_names(list(dict.fromkeys(args.data)))
        to_label = short_names(list(dict.fromkeys(args.label)))
        site = make_site(recognizers, limits=limits, folders=folders, to_label=to_label, auth=auth, about=about)
    except BaseException:
        listening.close()
        raise
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{port} is ready after {time.perf_counter() - began:.1f} s; press Ctrl-C to stop", flush=True)
    if host not in _LOCAL and not auth:
        print("anyone who can reach this address can use the page; set a password with --auth NAME:PASSWORD")
    serve(site, listening)
    return 0


def _account(text: str, number: int) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise KinemaError(f"--auth, account {number}: write it as NAME:PASSWORD")  # the password is not repeated
    return name, password
