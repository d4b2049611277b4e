"""`kinema demo`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.output import say
from kinema.demo.run import DemoConfig, run_demo


def add_arguments(parser: ArgumentParser) -> None:
    """Adds every field of `DemoConfig`."""
    parser.add_class_arguments(DemoConfig, as_group=False)


def run(args: Namespace) -> None:
    """Runs the demo."""
    run_demo(DemoConfig(**args.as_dict()), say=say)
