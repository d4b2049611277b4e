"""Reads the configuration in a run folder, and every other YAML file of fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from kinema.errors import KinemaError

CONFIG = "config.yaml"


class _UniqueKeys(yaml.SafeLoader):
    """Rejects a key that is given twice in one mapping; YAML itself silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key} is given twice", node.value[i][0].start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(file: Path, fix: str = "correct it or give another file") -> dict[str, Any]:
    """Reads the fields of a YAML file.

    Args:
        file: a file in UTF-8, with or without a byte order mark.
        fix: how to fix an unusable file, for the message.

    Raises:
        KinemaError: the file cannot be read, is not UTF-8, is not YAML, has no fields, contains a part that includes
            itself, or gives a key twice.
    """
    try:
        found = yaml.load(file.read_text(encoding="utf-8-sig"), _UniqueKeys)
    except UnicodeDecodeError as error:
        raise KinemaError(f"{file}: not UTF-8 (byte {error.start}); {fix}") from error
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise KinemaError(f"{file}: not YAML{line} ({error.problem}); {fix}") from error
    except OSError as error:
        raise KinemaError(f"{file}: cannot be read ({error.strerror}); {fix}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an invalid date
        raise KinemaError(f"{file}: not YAML ({' '.join(str(error).split())}); {fix}") from error
    if not isinstance(found, dict):
        raise KinemaError(f"{file}: has no fields (one `name: value` per line); {fix}")
    try:
        json.dumps(found, default=str)
    except TypeError as error:
        raise KinemaError(f"{file}: the name of a field is not plain text ({error}); {fix}") from error
    except (RecursionError, ValueError) as error:
        raise KinemaError(f"{file}: a part contains itself (an alias *name inside its own anchor); {fix}") from error
    return found


def read_run_config(run: Path, fix: str = "restore it") -> dict[str, Any] | None:
    """Reads the configuration of a training from its run folder; None if the folder has no configuration.

    Args:
        run: the run folder.
        fix: how to fix a damaged file, for the message.

    Raises:
        KinemaError: the file is damaged.
    """
    file = run / CONFIG
    return read_yaml(file, fix) if file.is_file() else None
