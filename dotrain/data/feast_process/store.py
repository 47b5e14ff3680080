"""Feast itself, imported, with a repository of the user's."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, final

from dotrain.data.feast_asking import APPLIED
from dotrain.data.feast_process.repo import SETTINGS, Settings, held, registry_bytes
from dotrain.data.source import BadData


@final
class Store:
    """A repository, as Feast reads it.

    Attributes:
        registry: What was in its registry when this was made; what is joined later is joined by that.
    """

    def __init__(self, repo: Path, settings: Settings, folder: Path, apply: bool) -> None:
        """Read the registry.

        Args:
            repo: The repository's folder.
            settings: What it says.
            folder: For a copy of the registry.
            apply: Whether `feast apply` comes first.

        Raises:
            BadData: If that fails, or there is no registry.
        """
        import feast  # noqa: F401 - before the registry's classes alone are, without it

        self._repo = repo
        self._settings = settings
        sys.path.append(str(repo))
        os.chdir(repo)  # Feast's own command is run from there, and paths are relative to it
        if apply:
            self._apply()
            (folder / APPLIED).touch()
        self._copy: Path | None = None
        if settings.registry is None:
            self.registry: bytes = self.feast.registry.proto().SerializeToString()
        else:
            self.registry = registry_bytes(settings, repo)
            # What is joined is what was described, whoever applies meanwhile.
            self._copy = folder / "registry.db"
            self._copy.write_bytes(self.registry)

    @cached_property
    def feast(self) -> Any:
        """Feast's `FeatureStore`."""
        from feast import FeatureStore

        config = self._config()
        if self._copy is not None:
            config.registry.path = str(self._copy)
        return FeatureStore(repo_path=str(self._repo), config=config)

    def _config(self) -> Any:
        from feast.errors import FeastModuleImportError
        from feast.repo_config import load_repo_config

        try:
            return load_repo_config(self._repo, self._repo / SETTINGS)
        except FeastModuleImportError:
            kind = self._settings.offline_store
            raise BadData(
                f"the offline store '{kind}' of {self._repo} can't be imported: pip install 'feast[{kind}]'",
                *("feast", "repo"),
            ) from None

    def _apply(self) -> None:
        from feast.repo_operations import apply_total

        said = io.StringIO()
        # It may say why on stdout, and exit.
        with held(self._repo, fcntl.LOCK_EX), contextlib.redirect_stdout(said):
            try:
                apply_total(self._config(), self._repo, skip_source_validation=False)
            except SystemExit as error:
                words = said.getvalue().strip().splitlines()[-1:] or [f"exit code {error.code}"]
                raise BadData(
                    f"`feast apply` in {self._repo}: {words[0]}", "feast", "repo"
                ) from None
