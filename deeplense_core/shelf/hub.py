"""Models on the Hugging Face Hub: ``hf:org/name`` in place of a model's name, and the way there.

What comes from the Hub is a card in JSON and tensors in safetensors: names and numbers, never code. It is kept below
the workspace, so that what was fetched once works without a network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from deeplense_core.errors import UserError
from deeplense_core.workspace import home

PREFIX = "hf:"
FILES = ("model.json", "model.safetensors", "familiar.safetensors", "README.md")
"""All that is fetched and all that is pushed."""
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def is_hub_name(name: str) -> bool:
    """Whether a model's name is one on the Hub."""
    return name.startswith(PREFIX)


def fetch(name: str) -> Path:
    """The folder of ``hf:org/name``: its newest version, or without a network the one that was fetched last.

    Raises:
        UserError: no such model, no network and nothing fetched before, or a repository that holds no such model.
    """
    folder = _fetched(_repo(name), _cache(), _endpoint())
    for needed in FILES[:2]:
        if not (folder / needed).is_file():
            raise UserError(f"{name!r} has no {needed}: it is no model of DeepLense. Models made with `push` are.")
    return folder


@cache
def _fetched(repo: str, kept_in: Path, endpoint: str | None) -> Path:
    """Asked of the Hub once a process: pages look at a card many times."""
    with _told(PREFIX + repo):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repo, allow_patterns=list(FILES), cache_dir=kept_in, endpoint=endpoint))


def push(folder: Path, name: str, private: bool = False) -> str:
    """Uploads the model in ``folder`` to ``hf:org/name``, made where it is missing; returns its address.

    The token is the one of ``hf auth login``, or ``$HF_TOKEN``.

    Raises:
        UserError: not logged in, no right to write there, or no network.
    """
    repo = _repo(name)
    present = [file for file in FILES if (folder / file).is_file()]
    if "model.json" not in present:
        raise UserError(f"{folder.name!r} has no model card yet: there is nothing to push.")
    with _told(name):
        from huggingface_hub import HfApi

        api = HfApi(endpoint=_endpoint())
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns=present,
                          commit_message=f"DeepLense model {folder.name}")  # fmt: skip
    return str(address)


def _repo(name: str) -> str:
    repo = name.removeprefix(PREFIX)
    if not is_hub_name(name) or not _REPO.fullmatch(repo) or ".." in repo:
        raise UserError(f"{name!r} is no name on the Hugging Face Hub. They read hf:OWNER/MODEL.")
    return repo


def _cache() -> Path:
    path = home() / "hub"
    path.mkdir(exist_ok=True)
    return path


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _told(name: str) -> Iterator[None]:
    """The errors of the Hub in words that say what to do."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as err:
        raise UserError(f"There is no model {name!r} that you may see. Check its name; for a private one log in with: "
                        "hf auth login") from err  # fmt: skip
    except errors.HfHubHTTPError as err:
        denied = getattr(err.response, "status_code", 0) in (401, 403)
        why = "you may not write there. Log in with: hf auth login" if denied else str(err).strip().splitlines()[0]
        raise UserError(f"The Hugging Face Hub refused {name!r}. It says: {why}") from err
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled,
            errors.HTTPError) as err:  # pyright: ignore[reportPrivateImportUsage]
        raise UserError(f"The Hugging Face Hub cannot be reached for {name!r}, and no copy of it is here. Connect to a "
                        "network, or use a model that ships: models") from err  # fmt: skip
