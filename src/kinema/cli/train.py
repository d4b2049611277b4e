"""`kinema train RECIPE | --model M --data D`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import device
from kinema.cli.output import say
from kinema.data.transforms import Augment
from kinema.training.config import Optim, TrainConfig


def add_arguments(parser: ArgumentParser) -> None:
    """A recipe, and every field of `TrainConfig` to override it."""
    parser.add_argument(
        "--recipe", action="config", help="a YAML file with the fields below; may stand without --recipe"
    )
    parser.add_class_arguments(TrainConfig, as_group=False)


def rewrite(words: list[str]) -> list[str]:
    """Lets the recipe stand as the first word, without its option."""
    return ["--recipe", *words] if words and not words[0].startswith("-") else words


def run(args: Namespace) -> None:
    """Trains, or resumes."""
    from kinema.training.run import train  # Lightning takes seconds to import, and --help should not

    values = {k: v for k, v in args.as_dict().items() if k != "recipe"}
    optim, augment = values.pop("optim"), values.pop("augment")
    config = TrainConfig(**values, optim=Optim(**optim), augment=Augment(**augment))
    device(config.device)
    train(config, say=say)
