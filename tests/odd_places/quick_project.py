"""A toy project whose runs leave out a plugin of this project's own tests."""

from __future__ import annotations

from toys import Project


class QuickProject(Project):
    """Without hypothesis, whose plugin takes longer to load than such a run lasts where nothing is cached."""

    def command(self, *arguments: str) -> list[str]:
        """Pytest with the plugin."""
        return super().command("-p", "no:hypothesispytest", *arguments)
